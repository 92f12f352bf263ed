"""Schedulers that are functions: a pod and the nodes in, the name of a node out, or None to leave it pending."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cybernetes.core.client.factory import InformerFactory
from cybernetes.core.client.informer import Handler, Informer
from cybernetes.core.client.interface import Client
from cybernetes.core.client.workqueue import WorkQueue
from cybernetes.core.clock import Clock, Random
from cybernetes.core.errors import ApiError, is_conflict, is_not_found
from cybernetes.core.objects import NODES, PODS, Object, key_of
from cybernetes.services.kubelet.keyed import KeyedWorkers

Place = Callable[[Object, list[Object]], "str | None"]


class FunctionSchedulers:
    """Asks the function of a pod's ``schedulerName`` when the pod appears; again when a node changes or a pod goes."""

    name = "function schedulers"

    def __init__(
        self,
        client: Client,
        clock: Clock,
        random: Random,
        *,
        informers: InformerFactory,
        functions: Mapping[str, Place],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self._client = client
        self._functions = functions
        self._on_failure = on_failure
        self._pods = informers.informer(PODS)
        self._nodes = informers.informer(NODES)
        self._handlers: list[tuple[Informer, Handler]] = []
        self._workers = KeyedWorkers(self.name, clock, self._process, limit=1)

    @property
    def queue(self) -> WorkQueue[str]:
        return self._workers.queue

    async def start(self) -> None:
        self._follow(self._pods, self._pod_changed, self._look_again)
        self._follow(self._nodes, self._look_again, self._look_again)
        for informer, _ in self._handlers:
            informer.start()
            await informer.wait_synced()

    async def stop(self) -> None:
        for informer, handler in self._handlers:
            informer.remove_handler(handler)
        self._handlers.clear()
        await self._workers.stop()

    def _follow(self, informer: Informer, put: Callable[[Object], None], gone: Callable[[Object], None]) -> None:
        self._handlers.append((informer, informer.add_handler(put, lambda old, new: put(new), gone)))

    def _is_ours(self, pod: Object) -> bool:
        spec = pod["spec"]
        return not spec.get("nodeName") and spec.get("schedulerName") in self._functions

    def _pod_changed(self, pod: Object) -> None:
        if self._is_ours(pod):
            self._workers.add(key_of(pod))

    def _look_again(self, _: Object) -> None:
        for pod in self._pods.list():
            self._pod_changed(pod)

    async def _process(self, key: str) -> None:
        namespace, _, name = key.partition("/")
        try:
            pod = await self._client.get(PODS, name, namespace)
        except ApiError as error:
            if is_not_found(error):
                return
            raise
        if not self._is_ours(pod):
            return
        nodes = list((await self._client.list(NODES)).items)
        try:
            node = self._functions[pod["spec"]["schedulerName"]](pod, nodes)
        except Exception as error:  # noqa: BLE001  # the test's own bug: it is told, and the pod stays pending
            self._on_failure(error)
            return
        if not node:
            return
        target = {"apiVersion": "v1", "kind": "Node", "name": node}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
        try:
            await self._client.create(PODS, binding, namespace, name=name, subresource="binding")
        except ApiError as error:
            if not is_conflict(error) and not is_not_found(error):
                raise

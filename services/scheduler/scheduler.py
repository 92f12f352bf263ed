"""The scheduler service: a thin loop around ``core/scheduling/engine.py``.

    informers ──> Engine.observe_…            one loop: next() ──> bind (many writes in flight)
                                                            └───> event and PodScheduled condition

Decisions are made in short bursts, so that the event loop is never held for long; bindings overlap, bounded, and share
the store's commits. A binding that failed gives back what was assumed; one whose answer was lost is looked up before
the pod is tried again, so no pod is bound twice or forgotten.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cybernetes.core.client.events import EventRecorder, Type
from cybernetes.core.client.factory import InformerFactory
from cybernetes.core.client.interface import Client
from cybernetes.core.clock import Clock, Random
from cybernetes.core.errors import ApiError, is_not_found
from cybernetes.core.objects import NODES, PODS, Gvr, Object, name_of, namespace_of, object_reference, uid_of
from cybernetes.core.quantity import QuantityError
from cybernetes.core.scheduling.engine import Decision, Engine, pod_of
from cybernetes.core.scheduling.extender import Advice, Extender, Review
from cybernetes.core.scheduling.found import PluginError
from cybernetes.core.scheduling.interface import Code, Plugin, Status
from cybernetes.core.scheduling.nodeinfo import NodeError
from cybernetes.core.scheduling.plugins.registry import PLUGINS, Factory
from cybernetes.core.scheduling.profile import Profile
from cybernetes.core.scheduling.waiting import WaitingPod
from cybernetes.services.common.component import Tasks
from cybernetes.services.common.metrics import Metrics
from cybernetes.services.scheduler.advisor import Advisor
from cybernetes.services.scheduler.evictions import Evictions
from cybernetes.services.scheduler.extenders import Extenders
from cybernetes.services.scheduler.guard import Guard
from cybernetes.services.scheduler.measures import Measures
from cybernetes.services.scheduler.statuswriter import StatusWriter

log = logging.getLogger(__name__)

#: Bindings that may be under way; more would only wait in the API server.
BINDINGS_MAX = 512
#: What a plugin may take to write before a pod is bound, or to bind it: volumes and devices are given ten minutes.
WRITE_S_MAX = 900.0
#: How long decisions may hold the event loop before others get their turn.
BURST_S = 0.002
#: Notes of events are at most this long (core/v1 validation).
NOTE_BYTES_MAX = 1024


class SchedulerService:
    """``informers`` are shared with others in the process; without them the service keeps its own."""

    def __init__(
        self,
        client: Client,
        clock: Clock,
        random: Random,
        *,
        informers: InformerFactory | None = None,
        profiles: Sequence[Profile] = (Profile(),),
        plugins: Mapping[str, Factory] | None = None,
        extenders: Sequence[Extender] = (),
        initial_backoff_s: float = 1.0,
        max_backoff_s: float = 10.0,
        bindings_max: int = BINDINGS_MAX,
        metrics: Metrics | None = None,
        on_failure: Callable[[BaseException], None] | None = None,
    ) -> None:
        """Raises ProfileError for what the configuration gets wrong."""
        self.engine = Engine(
            clock,
            random,
            profiles=profiles,
            plugins=plugins,
            extenders=extenders,
            initial_backoff_s=initial_backoff_s,
            max_backoff_s=max_backoff_s,
            write_binding=self._write_binding,
        )
        self.engine.scheduler.handle.client = client
        self._guard = self.engine.scheduler.handle.guard = Guard(clock)
        self._extenders = Extenders(extenders)
        self._client = client
        self._clock = clock
        self._own_informers = informers is None
        self._informers = informers or InformerFactory(client, clock, random, on_failure=on_failure)
        self._tasks = Tasks("scheduler", on_failure)
        self.engine.scheduler.handle.spawn = self._tasks.spawn
        self._recorders = {
            name: EventRecorder(client, clock, random, component=name) for name in self.engine.frameworks
        }
        self._statuses = StatusWriter(client, clock, self._tasks)
        self._measures = Measures(self.engine, clock, metrics)
        self._wake = asyncio.Event()
        self._bindings_max = bindings_max
        self._bindings = 0
        self._evictions = Evictions(self.engine, client, clock, self._tasks, self._recorders)
        self._advisor = Advisor(
            self.engine,
            clock,
            self._tasks,
            lambda decision, message: self._tell(decision, "Normal", "SmallestChange", "Scheduling", message),
        )
        self._bad_nodes: dict[str, str] = {}
        self._detach: list[Callable[[], None]] = []

    @property
    def name(self) -> str:
        return "scheduler"

    @property
    def bindings(self) -> int:
        """How many pods are being bound."""
        return self._bindings

    async def start(self) -> None:
        """Returns at once; decisions begin when the informers have synced, which whoever owns them starts."""
        self._attach(PODS, self._pod, self.engine.observe_pod_deleted)
        self._attach(NODES, self._node, lambda node: self._node_deleted(name_of(node)))
        for gvr in self.engine.resources():
            self._attach(gvr, self._observer(gvr), self._observer(gvr, is_deleted=True))
        if self._own_informers:
            self._informers.start()
        self._tasks.spawn(self._run(), "decide")

    async def stop(self) -> None:
        for detach in self._detach:
            detach()
        self._detach.clear()
        await self._tasks.cancel()
        await self._extenders.stop()
        for recorder in self._recorders.values():
            await recorder.stop()
        if self._own_informers:
            for informer in self._informers:
                await informer.stop()

    # ---- what is observed

    def _attach(self, gvr: Gvr, put: Callable[[Object], None], delete: Callable[[Object], None]) -> None:
        informer = self._informers.informer(gvr)

        def on_put(obj: Object) -> None:
            put(obj)
            self._wake.set()

        def on_delete(obj: Object) -> None:
            delete(obj)
            self._wake.set()

        handler = informer.add_handler(on_put, lambda old, new: on_put(new), on_delete)
        self._detach.append(lambda: informer.remove_handler(handler))

    def _pod(self, pod: Object) -> None:
        try:
            self.engine.observe_pod(pod)
        except QuantityError as error:  # the API server accepts none; a pod written around it must not stop the rest
            log.error("pod %s/%s is left alone: %s", namespace_of(pod), name_of(pod), error)

    def _node(self, node: Object) -> None:
        name = name_of(node)
        try:
            self.engine.observe_node(node)
            self._bad_nodes.pop(name, None)
        except NodeError as error:
            if self._bad_nodes.get(name) != str(error):
                self._bad_nodes[name] = str(error)
                log.error("no pods are placed on a node that cannot be understood: %s", error)

    def _node_deleted(self, name: str) -> None:
        self._bad_nodes.pop(name, None)
        self.engine.observe_node_deleted(name)

    def _observer(self, gvr: Gvr, *, is_deleted: bool = False) -> Callable[[Object], None]:
        return lambda obj: self.engine.observe_object(gvr, obj, is_deleted=is_deleted)

    # ---- what is decided

    async def _run(self) -> None:
        for gvr in (NODES, PODS, *self.engine.resources()):
            await self._informers.informer(gvr).wait_synced()
        while True:
            self._wake.clear()
            await self._decide()
            await self._wait()

    async def _decide(self) -> None:
        """Decide until nothing is due or enough bindings are under way."""
        burst_s = self._clock.monotonic()
        while self._bindings < self._bindings_max:
            started_s = self._clock.monotonic()
            if started_s - burst_s > BURST_S:
                await asyncio.sleep(0)
                burst_s = started_s = self._clock.monotonic()
            decision = self.engine.next()
            if decision is None:
                return
            while decision.candidates is not None or decision.preemptions:
                decision = await self._consult(decision)
            self._measures.decided(decision, started_s)
            self._carry_out(decision)

    async def _consult(self, decision: Decision) -> Decision:
        """Ask the extenders about the nodes where a pod fits or could be made to, and go on with what they say."""
        engine, pod = self.engine, decision.queued.pod
        is_placing = decision.candidates is not None
        try:
            whole = await self._client.get(PODS, name_of(pod), namespace_of(pod))  # the queue keeps part of it
        except (ApiError, ConnectionError, TimeoutError) as error:
            problem = f"reading the pod for extenders: {error}"
            if is_placing:
                return engine.advised(decision, Advice(error=problem))
            return engine.reviewed(decision, Review(error=problem))
        if is_placing:
            infos = (engine.table.info(name) for name in decision.candidates or ())
            nodes = {info.name: info.node for info in infos if info is not None}
            return engine.advised(decision, await self._extenders.advise(whole, nodes))
        named = [(engine.table.at(each.row).name, each) for each in decision.preemptions]
        victims = {name: [pod_of(record) for record in each.victims] for name, each in named}
        violations = {name: each.violations for name, each in named}
        return engine.reviewed(decision, await self._extenders.review(whole, victims, violations))

    async def _wait(self) -> None:
        """Until something happens, or a pod's backoff ends."""
        next_s = self.engine.queue.next_time()
        if next_s is None or self._bindings >= self._bindings_max:
            await self._wake.wait()
            return
        # Not wait_for, which in Python 3.11 may swallow a cancellation that comes as the event is set.
        delay_s = max(next_s - self._clock.monotonic(), 0.0)
        timer = asyncio.get_running_loop().call_later(delay_s, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            timer.cancel()

    def _carry_out(self, decision: Decision) -> None:
        if decision.node_name:
            self._bindings += 1
            pod = decision.queued.pod
            self._tasks.spawn(self._bind(decision), f"bind {namespace_of(pod)}/{name_of(pod)}")
            return
        if decision.error is not None:
            log.error("pod %s: %s", decision.queued.uid, decision.message, exc_info=decision.error)
        self._tell(decision, "Warning", "FailedScheduling", "Scheduling", decision.message)
        if not decision.is_skipped:
            reason = "SchedulerError" if decision.is_error else "Unschedulable"
            self._statuses.put(decision.queued, reason, decision.message, decision.nominated)
            if not decision.nominated:
                self._advisor.refused(decision)
        for record in decision.displaced:
            self._statuses.clear_nomination(record)

    # ---- what is written

    async def _bind(self, decision: Decision) -> None:
        pod = decision.queued.pod
        try:
            if decision.waiting is not None:
                refusal = await self._wait_for_permits(decision.waiting)
                if refusal is not None:
                    self._not_bound(decision, refusal.message, refusal=refusal)
                    return
            failure = await self._run_bind_plugins(decision)
            if failure is None:
                where = f"{namespace_of(pod)}/{name_of(pod)} to {decision.node_name}"
                self._tell(decision, "Normal", "Scheduled", "Binding", f"Successfully assigned {where}")
                self.engine.bound(decision)
                self._measures.bound(decision)
            else:
                self._not_bound(decision, failure.message)
        except ApiError as error:
            self._not_bound(decision, f"binding rejected: {error}", is_gone=_is_about(error, pod))
        except (ConnectionError, TimeoutError) as error:
            await self._look_up(decision, str(error) or type(error).__name__)
        finally:
            self._bindings -= 1
            self._wake.set()

    async def _wait_for_permits(self, waiting: WaitingPod) -> Status | None:
        """None, or why the pod may not be bound after all. Others are bound meanwhile."""
        decided: asyncio.Future[Status | None] = asyncio.get_running_loop().create_future()
        waiting.when_decided(lambda status: None if decided.done() else decided.set_result(status))
        delay_s = max(waiting.deadline_s - self._clock.monotonic(), 0.0)
        timer = asyncio.get_running_loop().call_later(delay_s, waiting.time_out)
        self._bindings -= 1
        self._wake.set()
        try:
            return await decided
        finally:
            self._bindings += 1
            timer.cancel()

    async def _run_bind_plugins(self, decision: Decision) -> Status | None:
        """pre_bind of all, then bind of the first that does not skip. A Status is why not."""
        assert decision.framework is not None
        points = decision.framework.points
        for plugin in points["preBind"]:
            status = await self._ask(plugin, "pre_bind", decision)
            if status is not None and not status.is_success:
                return Status(status.code, (f'running PreBind plugin "{plugin.name}": {status.message}',), plugin.name)
        extender = self._extenders.binder(decision.queued.pod) if self._extenders else None
        if extender is not None:
            return await self._extenders.bind(extender, decision.queued.pod, decision.node_name)
        for plugin in points["bind"]:
            status = await self._ask(plugin, "bind", decision)
            if status is None or status.is_success:
                return None
            if status.code is not Code.SKIP:
                return status.of(plugin.name)
        return Status(Code.ERROR, ("no bind plugin took the pod",))

    async def _ask(self, plugin: Plugin, method: str, decision: Decision) -> Status | None:
        """Raises ApiError, ConnectionError, TimeoutError; anything else is the plugin's fault."""
        is_slow = False
        try:
            call = getattr(plugin, method)
            if plugin.name in PLUGINS:
                answer: Any = call(decision.cycle, decision.node_name)
            else:
                with self._guard(plugin.name):
                    answer = call(decision.cycle, decision.node_name)
            if inspect.isawaitable(answer):
                is_slow = method == "pre_bind"
                if is_slow:  # it may wait for volumes; others are bound meanwhile
                    self._bindings -= 1
                    self._wake.set()
                async with asyncio.timeout(WRITE_S_MAX):
                    answer = await answer
        except (ApiError, ConnectionError, TimeoutError):
            raise
        except Exception as error:
            log.exception("plugin %s failed in %s", plugin.name, method)
            return Status(Code.ERROR, (f"{type(error).__name__}: {error}",))
        finally:
            self._bindings += is_slow
        status: Status | None = answer
        return status

    async def _write_binding(self, namespace: str, name: str, uid: str, node_name: str) -> Status | None:
        """Raises ApiError, ConnectionError."""
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": name, "namespace": namespace, "uid": uid},
            "target": {"kind": "Node", "name": node_name},
        }
        await self._client.create(PODS, binding, namespace, name=name, subresource="binding")
        return None

    def _not_bound(
        self, decision: Decision, message: str, *, is_gone: bool = False, refusal: Status | None = None
    ) -> None:
        log.log(
            logging.INFO if refusal is not None else logging.WARNING,
            "pod %s/%s: %s",
            namespace_of(decision.queued.pod),
            name_of(decision.queued.pod),
            message,
        )
        try:
            self.engine.not_bound(decision, is_gone=is_gone, refusal=refusal)
        except PluginError:
            log.exception("taking a placement back")
        if not is_gone:
            self._tell(decision, "Warning", "FailedScheduling", "Scheduling", message)
            reason = "SchedulerError" if refusal is None else "Unschedulable"
            self._statuses.put(decision.queued, reason, message, None)

    async def _look_up(self, decision: Decision, message: str) -> None:
        """The answer to a binding was lost: see whether it was written."""
        pod = decision.queued.pod
        informer = self._informers.informer(PODS)
        try:
            current = await informer.repair(namespace_of(pod), name_of(pod))
        except (ApiError, ConnectionError, TimeoutError) as error:
            self._not_bound(decision, f"{message}; then {error}")
            return
        is_gone = current is None or uid_of(current) != uid_of(pod)
        if current is None or is_gone or not current["spec"].get("nodeName"):
            self._not_bound(decision, message, is_gone=is_gone)

    def _tell(self, decision: Decision, kind: Type, reason: str, action: str, message: str) -> None:
        recorder = self._recorders[decision.queued.scheduler_name]
        recorder.event(object_reference(decision.queued.pod, "v1", "Pod"), kind, reason, _note(message), action=action)


def _is_about(error: ApiError, pod: Object) -> bool:
    """Whether it says that this pod is not there (and not, say, that a namespace or a path is not)."""
    details = error.status.get("details") or {}
    return is_not_found(error) and details.get("kind") == "pods" and details.get("name") == name_of(pod)


def _note(message: str) -> str:
    encoded = message.encode()
    if len(encoded) <= NOTE_BYTES_MAX:
        return message
    return encoded[: NOTE_BYTES_MAX - 4].decode(errors="ignore") + " ..."

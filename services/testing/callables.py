"""Admission, conversion and scheduling as Python functions: what a webhook would be asked, without TLS or a Service.

    @cluster.mutate("apps/v1", "deployments")
    def label(obj): obj["metadata"].setdefault("labels", {})["team"] = "a"

    @cluster.validate("apps/v1", "deployments")
    def small(obj): return "too many replicas" if obj["spec"]["replicas"] > 10 else None

    @cluster.convert("example.com", "widgets")
    def convert(obj, api_version): …                        # returns the object in that version

    @cluster.schedule("my-scheduler")
    def place(pod, nodes): return nodes[0]["metadata"]["name"]      # None: it stays pending

Functions are called in the loop, in the middle of the request, so a breakpoint in one stops everything there. They
may be registered before the cluster starts or while it runs, and go over to forks. A function that takes a second
argument gets the ``Attributes`` of the write (operation, user, old object …). What raises is a bug: the client is
answered 500 and the test fails at its next ``settle`` or ``advance``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from cybernetes.core.admission.contract import Attributes
from cybernetes.core.api.resource import Resource
from cybernetes.core.errors import ApiError, forbidden
from cybernetes.core.objects import Gvr, Object
from cybernetes.services.apiserver.apiserver import ApiServer
from cybernetes.services.testing.errors import Misuse
from cybernetes.services.testing.functionscheduler import Place

WRITES = ("CREATE", "UPDATE")


class _Hook:
    """One function and the writes that it wants to see."""

    def __init__(
        self,
        function: Callable[..., Any],
        gvr: Gvr,
        operations: Sequence[str],
        subresource: str,
        on_bug: Callable[[BaseException], None],
    ) -> None:
        if inspect.iscoroutinefunction(function):
            raise Misuse(f"{function.__qualname__} is a coroutine function: admission here calls plain functions")
        self._function = function
        self._on_bug = on_bug
        self._gvr = gvr
        self._operations = frozenset(operations)
        self._subresource = subresource
        self._takes_attributes = len(inspect.signature(function).parameters) > 1
        self.name = getattr(function, "__name__", "function")

    def wants(self, attributes: Attributes) -> bool:
        gvr = attributes.resource.gvr
        return (
            (gvr.group, gvr.resource) == (self._gvr.group, self._gvr.resource)
            and attributes.operation in self._operations
            and attributes.subresource == self._subresource
        )

    def ask(self, attributes: Attributes) -> Any:
        """What the function answers about the object (about the old one, of a deletion)."""
        obj = attributes.obj if attributes.obj is not None else attributes.old
        try:
            return self._function(obj, attributes) if self._takes_attributes else self._function(obj)
        except ApiError:
            raise
        except Exception as error:
            self._on_bug(error)
            raise

    def denied(self, attributes: Attributes, why: str) -> ApiError:
        gvr = attributes.resource.gvr
        return forbidden(gvr.group, gvr.resource, attributes.name, f'admission function "{self.name}" denied it: {why}')


class _Mutating(_Hook):
    def admit(self, attributes: Attributes, reader: Any) -> None:
        if self.wants(attributes):
            changed = self.ask(attributes)
            if changed is not None and attributes.obj is not None:
                attributes.obj = changed


class _Validating(_Hook):
    def validate(self, attributes: Attributes, reader: Any) -> None:
        if self.wants(attributes):
            why = self.ask(attributes)
            if why:
                raise self.denied(attributes, str(why))


class Callables:
    """The functions of one cluster."""

    def __init__(self) -> None:
        self._mutating: list[_Mutating] = []
        self._validating: list[_Validating] = []
        self._converting: dict[tuple[str, str], Callable[[Object, str], Object]] = {}
        self.schedulers: dict[str, Place] = {}
        #: Arguments of SchedulerService: ``profiles`` and ``plugins`` (name -> factory).
        self.scheduler: dict[str, Any] = {}
        self._server: ApiServer | None = None
        #: Is told of what a function raised.
        self.on_bug: Callable[[BaseException], None] | None = None

    def _bug(self, error: BaseException) -> None:
        if self.on_bug is not None:
            self.on_bug(error)

    def copy(self) -> Callables:
        twin = Callables()
        twin._mutating = [*self._mutating]
        twin._validating = [*self._validating]
        twin._converting = dict(self._converting)
        twin.schedulers = dict(self.schedulers)
        twin.scheduler = dict(self.scheduler)
        return twin

    def mutate(
        self, api_version: str, resource: str, *, operations: Sequence[str] = WRITES, subresource: str = ""
    ) -> Callable[[Any], Any]:
        """The function may change the object in place, or return another."""

        def register(function: Callable[..., Any]) -> Callable[..., Any]:
            hook = _Mutating(function, _gvr(api_version, resource), operations, subresource, self._bug)
            self._mutating.append(hook)
            if self._server is not None:
                admitting = self._server.backend.admitting
                admitting.mutating = (*admitting.mutating, hook)
            return function

        return register

    def validate(
        self, api_version: str, resource: str, *, operations: Sequence[str] = WRITES, subresource: str = ""
    ) -> Callable[[Any], Any]:
        """The function returns why the object is refused, or nothing."""

        def register(function: Callable[..., Any]) -> Callable[..., Any]:
            hook = _Validating(function, _gvr(api_version, resource), operations, subresource, self._bug)
            self._validating.append(hook)
            if self._server is not None:
                admitting = self._server.backend.admitting
                admitting.validating = (*admitting.validating, hook)
            return function

        return register

    def convert(self, group: str, resource: str) -> Callable[[Any], Any]:
        """Takes the place of the webhook that the definition names in ``conversion`` (strategy Webhook)."""

        def register(function: Callable[[Object, str], Object]) -> Callable[[Object, str], Object]:
            self._converting[group, resource] = function
            return function

        return register

    def schedule(self, name: str) -> Callable[[Any], Any]:
        """For pods whose ``schedulerName`` is ``name``: (pod, nodes) -> a node's name, or None."""

        def register(function: Place) -> Place:
            self.schedulers[name] = function
            return function

        return register

    def install(self, server: ApiServer) -> None:
        """Put the functions into a new API server."""
        self._server = server
        admitting = server.backend.admitting
        admitting.mutating = (*admitting.mutating, *self._mutating)
        admitting.validating = (*admitting.validating, *self._validating)
        webhook: Any = server.storage.views.convert

        async def convert(resource: Resource, objects: Sequence[Object], api_version: str) -> list[Object]:
            function = self._converting.get((resource.gvr.group, resource.gvr.resource))
            if function is None:
                answer: list[Object] = await webhook(resource, objects, api_version)
                return answer
            return [obj if obj.get("apiVersion") == api_version else function(obj, api_version) for obj in objects]

        server.storage.views.convert = convert

    def scheduler_options(self) -> dict[str, Any]:
        return self.scheduler


def _gvr(api_version: str, resource: str) -> Gvr:
    group, _, version = api_version.rpartition("/")
    return Gvr(group, version, resource)

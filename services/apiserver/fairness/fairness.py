"""Priority and fairness of one server: FlowSchemas and PriorityLevelConfigurations, as the caches see them, at work.

Every request is classified (a look into a dict, once its like was seen), told of in the answer's headers, and takes its
seats at its level. The two levels and schemas that upstream calls mandatory apply even when somebody deleted them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from cybernetes.core.auth.attributes import Attributes
from cybernetes.core.auth.user import User
from cybernetes.core.objects import Gvr, Object
from cybernetes.services.apiserver.fairness.classes import FlowSchema, classify, in_order
from cybernetes.services.apiserver.fairness.flows import FLOW_SCHEMAS, PRIORITY_LEVELS
from cybernetes.services.apiserver.fairness.levels import Level, Settings
from cybernetes.services.apiserver.following import Following
from cybernetes.services.apiserver.storage import Storage

#: Upstream's max-requests-inflight and max-mutating-requests-inflight together.
SEATS = 600
#: A quarter of the time that a request may take.
WAIT_S_MAX = 15.0
#: A list of so many objects takes a seat more, up to ten.
OBJECTS_A_SEAT = 100
SEATS_MAX = 10
_KEPT_MAX = 4096

_EVERYTHING: Any = [
    {
        "subjects": [{"kind": "Group", "group": {"name": "*"}}],
        "resourceRules": [
            {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": True}
        ],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
    }
]
_MASTERS: Any = [{**_EVERYTHING[0], "subjects": [{"kind": "Group", "group": {"name": "system:masters"}}]}]
_MANDATORY_SCHEMAS = (
    FlowSchema("exempt", "", 1, "exempt", "", _MASTERS),
    FlowSchema("catch-all", "", 10000, "catch-all", "ByUser", _EVERYTHING),
)
_MANDATORY_LEVELS = (
    Settings("exempt", "", True, 0, 0, None, 0, 0, 0),
    Settings("catch-all", "", False, 5, 0, None, 0, 0, 0),
)


class Ticket:
    """A request's class: where it waits, and what the headers of its answer say."""

    __slots__ = ("headers", "level", "schema")

    def __init__(self, schema: FlowSchema, level: Level) -> None:
        self.schema = schema
        self.level = level
        self.headers = (
            f"X-Kubernetes-Pf-Flowschema-Uid: {schema.uid}\r\n"
            f"X-Kubernetes-Pf-Prioritylevel-Uid: {level.settings.uid}\r\n"
        ).encode("latin-1", "replace")


class Fairness:
    """``start`` when the caches are complete; until then everybody is judged by the mandatory schemas."""

    def __init__(self, storage: Storage, seats: int = SEATS) -> None:
        self._seats = seats
        self._following = Following(storage, self, (PRIORITY_LEVELS, FLOW_SCHEMAS))
        self._settings: dict[str, Settings] = {}
        self._schemas: dict[str, FlowSchema] = {}
        self._ordered: list[FlowSchema] = []
        self.levels: dict[str, Level] = {}
        self._tickets: dict[tuple[Any, ...], Ticket] = {}
        self._apply()

    def start(self) -> None:
        self._following.start()

    def stop(self) -> None:
        self._following.stop()

    def ticket(self, user: User, request: Attributes) -> Ticket:
        """The class of a request."""
        key = (
            user.name,
            user.groups,
            request.verb,
            request.group,
            request.resource,
            request.subresource,
            request.namespace,
            request.path,
        )
        found = self._tickets.get(key)
        if found is None:
            if len(self._tickets) >= _KEPT_MAX:
                self._tickets.clear()
            schema = classify(self._ordered, user, request) or self._ordered[-1]
            found = self._tickets[key] = Ticket(schema, self.levels[schema.level])
        return found

    # What ``Following`` tells.

    def put(self, gvr: Gvr, obj: Object) -> None:
        self._keep(gvr, obj)
        self._apply()

    def discard(self, gvr: Gvr, namespace: str, name: str) -> None:
        (self._settings if gvr == PRIORITY_LEVELS else self._schemas).pop(name, None)
        self._apply()

    def replace(self, gvr: Gvr, objects: Iterable[Object]) -> None:
        (self._settings if gvr == PRIORITY_LEVELS else self._schemas).clear()
        for obj in objects:
            self._keep(gvr, obj)
        self._apply()

    def _keep(self, gvr: Gvr, obj: Object) -> None:
        name = obj["metadata"]["name"]
        if gvr == PRIORITY_LEVELS:
            self._settings[name] = Settings.of(obj)
        else:
            self._schemas[name] = FlowSchema.of(obj)

    def _apply(self) -> None:
        """Make levels of the settings: seats by shares. A level that goes on keeps its requests."""
        settings = {each.name: each for each in _MANDATORY_LEVELS} | self._settings
        total = sum(each.shares for each in settings.values()) or 1
        before, self.levels = self.levels, {}
        for name, each in settings.items():
            limit = math.ceil(self._seats * each.shares / total)
            level = before.get(name)
            if level is None or level.settings[6:] != each[6:]:
                level = Level(each, limit, self._lendable_to, WAIT_S_MAX)
            level.settings, level.limit = each, limit
            self.levels[name] = level
        schemas = {each.name: each for each in _MANDATORY_SCHEMAS} | self._schemas
        #: One whose level does not exist is dangling, and matches nothing.
        self._ordered = in_order(each for each in schemas.values() if each.level in self.levels)
        self._tickets.clear()
        for level in self.levels.values():
            level.dispatch()

    def _lendable_to(self, level: Level) -> int:
        """Seats that others can spare, less what is lent already to somebody else."""
        others = [each for each in self.levels.values() if each is not level]
        return sum(each.spare for each in others) - sum(each.borrowed for each in others if not each.settings.is_exempt)


def seats_of_list(objects: int, limit: int) -> int:
    """The seats of a list of a collection with so many objects, of which ``limit`` (0: all) are asked for."""
    number = min(objects, limit) if limit > 0 else objects
    return max(1, min(SEATS_MAX, -(-number // OBJECTS_A_SEAT)))

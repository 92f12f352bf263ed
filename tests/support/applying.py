"""Objects that are applied and updated without a server, and a schema with every way of merging.

``World`` keeps one object and its managers; ``apply`` and ``update`` take what a client sends, as a dict.
"""

from __future__ import annotations

from typing import Any

from cybernetes.core.api.apply.fieldmanager import FieldManager
from cybernetes.core.api.apply.fieldset import Filter, of_paths
from cybernetes.core.api.apply.mergetypes import DEDUCED, ListRule, MapRule, MergeType
from cybernetes.core.api.apply.versions import Version
from cybernetes.core.objects import Gvk, Object, clone

STRING = MergeType(scalar="string")
NUMBER = MergeType(scalar="numeric")
BOOLEAN = MergeType(scalar="boolean")


def struct(name: str = "", /, is_atomic: bool = False, **fields: MergeType) -> MergeType:
    return MergeType(name, map=MapRule(is_atomic, fields=lambda: fields))


def mapping(element: MergeType, is_atomic: bool = False) -> MergeType:
    return MergeType(map=MapRule(is_atomic, element=lambda: element))


def listing(element: MergeType) -> MergeType:
    """One value."""
    return MergeType(list=ListRule("atomic", lambda: element))


def set_of(element: MergeType) -> MergeType:
    return MergeType(list=ListRule("set", lambda: element))


def keyed(element: MergeType, *keys: str, **defaults: Any) -> MergeType:
    return MergeType(list=ListRule("map", lambda: element, keys, defaults))


PORT = struct(port=NUMBER, protocol=STRING, name=STRING)
PART = struct(name=STRING, image=STRING, size=NUMBER, args=listing(STRING), tags=set_of(STRING))
SPEC = struct(
    "Spec",
    replicas=NUMBER,
    paused=BOOLEAN,
    text=STRING,
    parts=keyed(PART, "name"),
    ports=keyed(PORT, "port", "protocol", protocol="TCP"),
    tags=set_of(STRING),
    numbers=set_of(NUMBER),
    args=listing(STRING),
    labels=mapping(STRING),
    selector=mapping(STRING, is_atomic=True),
    place=struct(is_atomic=True, zone=STRING, rack=NUMBER),
    inner=struct(a=STRING, b=STRING),
    anything=DEDUCED,
)
META = struct(
    "Meta",
    name=STRING,
    namespace=STRING,
    uid=STRING,
    resourceVersion=STRING,
    generation=NUMBER,
    creationTimestamp=STRING,
    labels=mapping(STRING),
    annotations=mapping(STRING),
    finalizers=set_of(STRING),
    managedFields=listing(DEDUCED),
)
THING = struct("Thing", apiVersion=STRING, kind=STRING, metadata=META, spec=SPEC, status=struct(phase=STRING))
KIND = Gvk("example.com", "v1", "Thing")


def thing(spec: Object | None = None, **metadata: Any) -> Object:
    obj: Object = {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "x", **metadata}}
    if spec is not None:
        obj["spec"] = spec
    return obj


def paths(*texts: str) -> Object:
    """A set of fields: ``spec.replicas``, ``spec.parts[{"name":"a"}].image``; steps in brackets are keys or values."""
    found = []
    for text in texts:
        steps = []
        rest = text
        while rest:
            if rest.startswith("["):
                inside, _, rest = rest[1:].partition("]")
                steps.append(("k:" if inside.startswith("{") else "v:") + inside)
            else:
                rest = rest.removeprefix(".")
                end = min((at for at in (rest.find("."), rest.find("[")) if at >= 0), default=len(rest))
                steps.append("f:" + rest[:end])
                rest = rest[end:]
        found.append(steps)
    return of_paths(found)


class World:
    """One object of a kind. Each write is a second later than the one before."""

    def __init__(self, type_: MergeType = THING, kind: Gvk = KIND, empty: Object | None = None) -> None:
        self.type = type_
        self.kind = kind
        self.empty = {"metadata": {}, "spec": {}, "status": {}} if empty is None else empty
        self.live: Object | None = None
        self.seconds = 0

    def manager(self, filter: Filter | None = None, subresource: str = "") -> FieldManager:
        version = Version(self.kind.api_version, self.type, filter)
        return FieldManager(
            self.kind, version, {version.api_version: version}.get, empty=self.empty, subresource=subresource
        )

    def now(self) -> str:
        self.seconds += 1
        return f"2024-01-01T00:00:{self.seconds:02d}Z"

    def apply(self, manager: str, config: Object, *, force: bool = False, subresource: str = "") -> Object:
        fields = self.manager(subresource=subresource)
        before = clone(config)
        self.live = fields.apply(self.live, config, manager, self.now(), force=force)
        assert config == before, "what was sent stays as it is"
        return self.live

    def update(self, manager: str, obj: Object, *, subresource: str = "", filter: Filter | None = None) -> Object:
        """``obj`` as it is after a PUT or another PATCH; without managers it keeps those that were there."""
        obj = clone(obj)
        fields = self.manager(filter, subresource)
        if self.live is None:
            fields.create(obj, manager, self.now())
        else:
            fields.update(self.live, obj, manager, self.now())
        self.live = obj
        return obj

    def owners(self) -> dict[str, Object]:
        """``manager`` (applied) or ``manager*`` (updated) -> its fields."""
        entries = (self.live or {"metadata": {}})["metadata"].get("managedFields") or ()
        return {
            entry["manager"] + ("*" if entry["operation"] == "Update" else ""): entry["fieldsV1"] for entry in entries
        }

    @property
    def spec(self) -> Object:
        assert self.live is not None
        spec: Object = self.live.get("spec") or {}
        return spec

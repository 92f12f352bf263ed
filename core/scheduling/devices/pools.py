"""The devices that a node may use: ResourceSlices gathered into pools.

A driver publishes a pool as several slices of one generation, and says how many there are. Until all are there the pool
is *incomplete*: nothing is allocated from it. One that contradicts itself (a device twice, a counter that is not there)
is *invalid*. Pools come in the order of driver and name, those with binding conditions last.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from cybernetes.core import quantity
from cybernetes.core.objects import Object, name_of
from cybernetes.core.scheduling.devices import selectors
from cybernetes.core.scheduling.nodeinfo import NodeInfo
from cybernetes.core.scheduling.nodeselector import NodeSelector


class DeviceId(NamedTuple):
    driver: str
    pool: str
    device: str

    def __str__(self) -> str:
        return "/".join(self)


class Device:
    """One device of a slice."""

    __slots__ = ("_variables", "counters", "id", "is_shared", "pool", "slice", "spec")

    def __init__(self, id: DeviceId, spec: Mapping[str, Any], slice: Object, pool: Pool) -> None:
        self.id = id
        self.spec = spec
        self.slice = slice
        self.pool = pool
        self.is_shared = bool(spec.get("allowMultipleAllocations"))
        #: (counter set, counter) -> how much it takes, in billionths.
        self.counters = consumption(spec)
        self._variables: dict[str, Any] | None = None

    @property
    def variables(self) -> dict[str, Any]:
        """For selectors. Raises SelectorError."""
        if self._variables is None:
            self._variables = selectors.variables(self.id.driver, self.spec)
        return self._variables


class Pool:
    def __init__(self, driver: str, name: str) -> None:
        self.driver = driver
        self.name = name
        self.is_incomplete = False
        self.invalid_reason = ""
        self.devices: list[Device] = []
        #: Devices of other nodes, which share counters with ours.
        self.elsewhere: list[Device] = []
        #: (counter set, counter) -> how much there is, in billionths.
        self.counters: dict[tuple[str, str], int] = {}

    @property
    def is_usable(self) -> bool:
        return not self.is_incomplete and not self.invalid_reason

    @property
    def has_binding_conditions(self) -> bool:
        return any(device.spec.get("bindingConditions") for device in self.devices)


def consumption(spec: Mapping[str, Any]) -> dict[tuple[str, str], int]:
    return {
        (each["counterSet"], name): quantity.parse(counter["value"]).nanos
        for each in spec.get("consumesCounters") or ()
        for name, counter in (each.get("counters") or {}).items()
    }


class Slices:
    """All ResourceSlices, by where they are of use."""

    def __init__(self, slices: Iterable[Object]) -> None:
        self.by_pool: dict[tuple[str, str], list[Object]] = {}
        self._of_node: dict[str, list[Object]] = {}
        self._of_all: list[Object] = []
        for each in slices:
            spec = each["spec"]
            self.by_pool.setdefault((spec["driver"], spec["pool"]["name"]), []).append(each)
            if spec.get("nodeName") and not spec.get("sharedCounters"):
                self._of_node.setdefault(spec["nodeName"], []).append(each)
            else:
                self._of_all.append(each)

    def pools(self, node: NodeInfo) -> list[Pool]:
        """The pools that a node may use. Raises ValueError for a node selector that cannot be read."""
        found: dict[tuple[str, str], list[Object]] = {}
        for each in (*self._of_node.get(node.name, ()), *self._of_all):
            if _concerns(each, node):
                spec = each["spec"]
                found.setdefault((spec["driver"], spec["pool"]["name"]), []).append(each)
        pools = [pool for key, slices in found.items() if (pool := self._pool(key, slices)) is not None]
        pools.sort(key=lambda pool: (pool.has_binding_conditions, pool.driver, pool.name))
        return pools

    def _pool(self, key: tuple[str, str], slices: list[Object]) -> Pool | None:
        """None: only slices of an older generation are left for this node."""
        generation = max(_generation(each) for each in slices)
        everywhere = self.by_pool[key]
        if any(_generation(each) > generation for each in everywhere):
            return None
        ours = sorted((each for each in slices if _generation(each) == generation), key=name_of)
        all_of_it = [each for each in everywhere if _generation(each) == generation]
        pool = Pool(*key)
        if len(all_of_it) != ours[0]["spec"]["pool"].get("resourceSliceCount"):
            pool.is_incomplete = True
            return pool
        names = {name_of(each) for each in ours}
        pool.devices = list(_devices(ours, pool))
        pool.elsewhere = list(_devices((each for each in all_of_it if name_of(each) not in names), pool))
        pool.invalid_reason = _count(pool, [*ours, *all_of_it])
        return pool


def _devices(slices: Iterable[Object], pool: Pool) -> Iterator[Device]:
    for each in slices:
        for spec in each["spec"].get("devices") or ():
            yield Device(DeviceId(pool.driver, pool.name, spec["name"]), spec, each, pool)


def _count(pool: Pool, slices: Sequence[Object]) -> str:
    """Fill in the counters; what contradicts itself."""
    sets: dict[str, str] = {}
    for each in slices:
        for counter_set in each["spec"].get("sharedCounters") or ():
            if sets.setdefault(counter_set["name"], name_of(each)) != name_of(each):
                return f"duplicate counter set name {counter_set['name']}"
            for name, counter in (counter_set.get("counters") or {}).items():
                pool.counters[counter_set["name"], name] = quantity.parse(counter["value"]).nanos
    seen: set[str] = set()
    for device in pool.devices:
        if device.id.device in seen:
            return f"duplicate device name {device.id.device}"
        seen.add(device.id.device)
    for device in (*pool.devices, *pool.elsewhere):
        for counter_set, name in device.counters:
            if counter_set not in sets:
                return f"counter set {counter_set} not found"
            if (counter_set, name) not in pool.counters:
                return f"counter {name} not found in counter set {counter_set}"
    return ""


def _generation(each: Object) -> int:
    generation: int = each["spec"]["pool"].get("generation") or 0
    return generation


def _concerns(each: Object, node: NodeInfo) -> bool:
    spec = each["spec"]
    if spec.get("sharedCounters"):
        return True
    if spec.get("perDeviceNodeSelection"):
        return any(is_on(device, node) for device in spec.get("devices") or ())
    return is_on(spec, node)


def is_on(spec: Mapping[str, Any], node: NodeInfo) -> bool:
    """Whether a slice, or a device that says so itself, can be used on a node."""
    if spec.get("nodeName"):
        return bool(spec["nodeName"] == node.name)
    if spec.get("allNodes"):
        return True
    selector = spec.get("nodeSelector")
    return selector is not None and NodeSelector(selector.get("nodeSelectorTerms") or ()).matches(node)

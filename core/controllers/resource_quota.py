"""ResourceQuota: what a namespace really uses, counted anew from what there is.

The API server charges a quota before it stores what was asked for, so this controller only corrects:

    something has gone, or uses less    count soon
    the quota's limits were changed     count now
    somebody charged the quota,         count when it has been quiet for a while: an object that was charged and then
    something is new                    not stored (a crash, a later refusal) must not be counted for ever, and one that
                                        was charged but is not in the view yet must not be missed for long

"Soon" is now for small namespaces; in large ones many deletions are counted at once, because each count looks at
everything. Keys are ``namespace/name``, with ``soon/`` or ``later/`` before it.

Upstream: pkg/controller/resourcequota. What objects use is ``core/admission/quota``'s to say, as for admission.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from cybernetes.core.admission import amounts
from cybernetes.core.admission.quota.usage import is_counted, is_in_scopes, resource_names, usage
from cybernetes.core.clock import parse_time
from cybernetes.core.controllers.interface import Again, Steps, Update, View, Watch
from cybernetes.core.controllers.resource_claim import RESOURCE_CLAIMS
from cybernetes.core.objects import (
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    RESOURCE_QUOTAS,
    SERVICES,
    Gvr,
    Object,
    is_deleting,
    key_of,
    split_key,
)
from cybernetes.core.quantity import ZERO, Quantity, QuantityError

#: A write in flight is in the view after this, or it failed.
SETTLE_S = 5.0
LARGE_SETTLE_S = 30.0
#: Below so many objects a count is cheap enough for every change.
SMALL = 500
#: How long to wait for company, for each object that has to be looked at.
WAIT_PER_OBJECT_S = 0.0002

_MEASURED = frozenset({PODS, SERVICES, PERSISTENT_VOLUME_CLAIMS, RESOURCE_CLAIMS})
_SOON, _LATER = "soon/", "later/"

Served = tuple[Gvr, str, bool]


class ResourceQuotas:
    """``resources`` tells every resource of the API: each can be counted."""

    name = "resourcequota-controller"
    service_account = "resourcequota-controller"
    workers = 5

    def __init__(self, resources: Callable[[], Sequence[Served]]) -> None:
        self._resources = resources

    def _counted(self) -> list[Gvr]:
        return [gvr for gvr, _, is_namespaced in self._resources() if is_namespaced and is_counted(gvr)]

    @property
    def watches(self) -> Sequence[Watch]:
        found = [Watch(RESOURCE_QUOTAS, _keys_of_quota)]
        for gvr in self._counted():
            if gvr in _MEASURED:
                found.append(Watch(gvr, _keys_of_measured(gvr)))
            elif gvr != RESOURCE_QUOTAS:
                found.append(Watch(gvr, _keys_of_counted(gvr), metadata_only=True))
        return found

    def reconcile(self, key: str, view: View, now: float) -> Steps:
        is_soon, is_later = key.startswith(_SOON), key.startswith(_LATER)
        key = key.removeprefix(_SOON).removeprefix(_LATER)
        namespace, name = split_key(key)
        quota = view.get(RESOURCE_QUOTAS, namespace, name)
        if quota is None:
            return
        hard = (quota.get("spec") or {}).get("hard") or {}
        names = {gvr: found for gvr in self._counted() if (found := resource_names(gvr, hard))}
        size = sum(view.count(gvr, namespace) for gvr in names)
        if is_later:
            yield Again(SETTLE_S if size <= SMALL else LARGE_SETTLE_S, key)
            return
        if is_soon and size > SMALL:
            yield Again(size * WAIT_PER_OBJECT_S, key)
            return
        yield from _count(quota, names, view, now)
        wait_s = _next_end(view, namespace, now) if PODS in names else None
        if wait_s is not None:
            yield Again(wait_s, key)


def _count(quota: Object, names: dict[Gvr, list[str]], view: View, now: float) -> Steps:
    namespace = quota["metadata"]["namespace"]
    hard = dict((quota.get("spec") or {}).get("hard") or {})
    status = quota.get("status") or {}
    used = {name: value for name, value in amounts.read(status.get("used")).items() if name in hard}
    for gvr, found in names.items():
        used.update(_total(quota, gvr, found, view.list(gvr, namespace), now))
    is_same = (
        "used" in status
        and amounts.read(status.get("hard")) == amounts.read(hard)
        and amounts.read(status["used"]) == used
    )
    if not is_same:
        status = {"hard": hard, "used": amounts.written(used)}
        yield Update(
            RESOURCE_QUOTAS, {**quota, "apiVersion": "v1", "kind": "ResourceQuota", "status": status}, "status"
        )


def _total(quota: Object, gvr: Gvr, names: Sequence[str], objects: Iterable[Object], now: float) -> dict[str, Quantity]:
    total = dict.fromkeys(names, ZERO)
    for obj in objects:
        if not is_in_scopes(quota, gvr, obj):
            continue
        try:
            used = usage(gvr, obj, now)
        except QuantityError:
            continue  # stored before it was validated: it cannot be counted
        for name in names:
            if name in used:
                total[name] += used[name]
    return total


def _next_end(view: View, namespace: str, now: float) -> float | None:
    """In how many seconds the next pod stops counting because its time to end is over and nobody says it has ended."""
    waits = []
    for pod in view.list(PODS, namespace):
        if is_deleting(pod):
            grace_s = pod["metadata"].get("deletionGracePeriodSeconds")
            if grace_s is not None:
                end_s = parse_time(pod["metadata"]["deletionTimestamp"]) + grace_s
                if end_s >= now:
                    waits.append(end_s - now + 0.001)
    return min(waits, default=None)


# Which quotas a change concerns.


def _keys_of_quota(old: Object | None, new: Object | None, view: View) -> Iterable[str]:
    if new is None:
        return ()
    spec, status = new.get("spec") or {}, new.get("status") or {}
    if old is None or (old.get("spec") or {}) != spec or status.get("hard") != spec.get("hard"):
        return (key_of(new),)
    return (f"{_LATER}{key_of(new)}",) if (old.get("status") or {}) != status else ()


def _quotas(gvr: Gvr, obj: Object, view: View, prefix: str = _SOON) -> Iterable[str]:
    namespace = obj["metadata"].get("namespace", "")
    if not view.count(RESOURCE_QUOTAS, namespace):
        return ()
    return [
        f"{prefix}{key_of(quota)}"
        for quota in view.list(RESOURCE_QUOTAS, namespace)
        if resource_names(gvr, (quota.get("status") or {}).get("hard") or {})
    ]


def _keys_of_counted(gvr: Gvr) -> Any:
    def keys_of(old: Object | None, new: Object | None, view: View) -> Iterable[str]:
        if old is None:
            return _quotas(gvr, new, view, _LATER) if new is not None else ()
        return _quotas(gvr, old, view) if new is None else ()

    return keys_of


def _keys_of_measured(gvr: Gvr) -> Any:
    """Of what uses more than its place: also when it uses something else than before."""

    def keys_of(old: Object | None, new: Object | None, view: View) -> Iterable[str]:
        if old is None:
            return _quotas(gvr, new, view, _LATER) if new is not None else ()
        keys = _quotas(gvr, old, view)
        if new is None or not keys:
            return keys
        try:
            is_same = usage(gvr, old, view.now) == usage(gvr, new, view.now)
        except QuantityError:
            return ()
        if not is_same or (is_deleting(new) and not is_deleting(old)):
            return keys
        # A pod that is given a deadline is another quota's.
        quotas = view.list(RESOURCE_QUOTAS, new["metadata"].get("namespace", ""))
        moved = {key_of(quota) for quota in quotas if is_in_scopes(quota, gvr, old) != is_in_scopes(quota, gvr, new)}
        return [key for key in keys if key.removeprefix(_SOON) in moved]

    return keys_of

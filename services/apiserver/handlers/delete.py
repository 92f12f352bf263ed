"""delete: at once, after a grace period, or when the last finalizer has gone (upstream: registry/generic/registry).

no finalizer, no grace          deleted; the answer is the object or a Status
grace period (pods)             deletionTimestamp in the future; whoever runs it deletes again with grace 0
finalizers                      deletionTimestamp now; the update that removes the last one deletes
propagation Foreground, Orphan  a finalizer is added for the garbage collector: then as above
"""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from cybernetes.core.api import codec
from cybernetes.core.api.resource import Resource
from cybernetes.core.errors import (
    ApiError,
    Cause,
    bad_request,
    conflict,
    invalid,
    is_not_found,
    method_not_allowed,
    not_found,
    server_timeout,
)
from cybernetes.core.objects import EVENTS, JOBS, NAMESPACES, REPLICATION_CONTROLLERS, Gvr, Object
from cybernetes.core.store.interface import Conflict
from cybernetes.services.apiserver import body, objectmeta
from cybernetes.services.apiserver.backend import Backend
from cybernetes.services.apiserver.call import Call, Document, Item, Items
from cybernetes.services.apiserver.handlers.read import check_list_options, selection_of
from cybernetes.services.apiserver.storage import Current

ORPHAN = "orphan"
FOREGROUND = "foregroundDeletion"
_ATTEMPTS_MAX = 20

#: Kinds whose dependents stay unless the request says otherwise, for the sake of old clients.
_ORPHANS_BY_DEFAULT = frozenset({REPLICATION_CONTROLLERS, JOBS})
#: Kinds that have no dependents in the sense of the garbage collector.
_WITHOUT_COLLECTION = frozenset({EVENTS, Gvr("events.k8s.io", "v1", "events"), NAMESPACES})
#: Kinds whose deletion answers with the object that was deleted; the others answer with a Status.
_RETURNED = frozenset(
    {
        ("resource.k8s.io", "resourceclaimtemplates"),
        ("resource.k8s.io", "resourceslices"),
        ("resource.k8s.io", "resourceclaims"),
        ("resource.k8s.io", "deviceclasses"),
        ("storage.k8s.io", "csidrivers"),
        ("storage.k8s.io", "storageclasses"),
        ("storage.k8s.io", "volumeattachments"),
        ("storage.k8s.io", "csinodes"),
        ("storage.k8s.io", "volumeattributesclasses"),
        ("", "resourcequotas"),
        ("", "persistentvolumes"),
        ("", "serviceaccounts"),
        ("", "persistentvolumeclaims"),
        ("", "namespaces"),
        ("", "pods"),
        ("", "services"),
        ("", "podtemplates"),
    }
)


class Options(NamedTuple):
    """``DeleteOptions`` that were checked. ``orphan`` is the old form of the propagation."""

    grace_period_s: int | None = None
    propagation: str = ""
    orphan: bool | None = None
    uid: str = ""
    revision: str = ""
    is_dry_run: bool = False

    def as_object(self, is_dry_run: bool) -> Object:
        """As webhooks are shown them."""
        shown: Object = {"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1"}
        if self.grace_period_s is not None:
            shown["gracePeriodSeconds"] = self.grace_period_s
        if self.uid or self.revision:
            named = {"uid": self.uid, "resourceVersion": self.revision}
            shown["preconditions"] = {key: value for key, value in named.items() if value}
        if self.orphan is not None:
            shown["orphanDependents"] = self.orphan
        if self.propagation:
            shown["propagationPolicy"] = self.propagation
        if is_dry_run:
            shown["dryRun"] = ["All"]
        return shown


async def delete(backend: Backend, call: Call) -> Item | Document:
    """DELETE of one object."""
    options = read_options(call)
    _warn(call, options)
    return await delete_object(backend, call, options)


def _warn(call: Call, options: Options) -> None:
    """A Job's pods stay when nothing else is said, which surprises people."""
    if call.group_resource == ("batch", "jobs") and not options.propagation and options.orphan is None:
        call.warnings.append(
            "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them"
            " or set propagationPolicy=Orphan to suppress this warning"
        )


async def delete_collection(backend: Backend, call: Call) -> Items:
    """DELETE of what a selection matches, one by one; the answer lists it."""
    if call.resource.is_namespaced and not call.namespace:
        raise method_not_allowed()
    options = read_options(call)
    _warn(call, options)
    check_list_options(call)
    cache = await backend.storage.fresh(call.resource)
    listing = cache.list(selection_of(call), call.number("limit") or 0)
    for cached in listing.records:
        one = Call(
            "delete",
            call.resource,
            None,
            cached.namespace,
            cached.name,
            call.user,
            call.query,
            call.user_agent,
        )
        try:
            await delete_object(backend, one, options)
        except ApiError as error:
            if not is_not_found(error):
                raise
    return Items(call.resource, listing.records, listing.revision)


async def delete_object(backend: Backend, call: Call, options: Options) -> Item | Document:
    """Delete what ``call`` names. Raises ApiError 404, 409."""
    resource = call.resource
    storage = backend.storage
    home = storage.home(resource)
    hooks = backend.hooks_of(home)
    is_dry_run = options.is_dry_run or call.is_dry_run
    current = await storage.current(resource, call.namespace, call.name)
    is_admitted = False
    for _ in range(_ATTEMPTS_MAX):
        if current is None:
            raise not_found(*call.group_resource, call.name)
        obj = current.decode()
        metadata = obj["metadata"]
        check_preconditions(home, call.name, options, metadata)
        if not is_admitted:
            is_admitted = True
            admission = backend.admitting.begin(call, home, "DELETE", None, obj, options.as_object(is_dry_run))
            await admission.mutate()
            await admission.validate()
        plan = _plan(backend, home, obj, options)
        if plan == "pending":
            return Item(resource, value=current.value, revision=current.revision)
        if plan == "wait" or (hooks.holds is not None and hooks.holds(obj)):
            if plan != "wait":
                objectmeta.mark_deleted(metadata, backend.clock.now())
            if hooks.deleting is not None:
                hooks.deleting(obj)
            del metadata["resourceVersion"]
            value = codec.encode(obj)
            if is_dry_run or value == current.value:
                return Item(resource, value=value, obj=obj, revision=current.revision)
            try:
                revision = await storage.put(home, call.namespace, call.name, value, current.revision)
            except Conflict as error:
                current = await storage.found(home, error)
                continue
            code = 202 if options.orphan is False else 200
            return Item(resource, value=value, obj=obj, revision=revision, code=code)
        if not is_dry_run:
            try:
                await storage.delete(home, call.namespace, call.name, current.revision)
            except Conflict as error:
                current = await storage.found(home, error)
                continue
            if hooks.deleted is not None:
                await hooks.deleted(backend, obj)
        return _deleted(resource, home, current, obj)
    raise server_timeout(*call.group_resource, "delete")


def _plan(backend: Backend, home: Resource, obj: Object, options: Options) -> str:
    """What becomes of ``obj``, whose metadata is changed accordingly: ``now``, ``wait`` or ``pending`` (as it is)."""
    metadata = obj["metadata"]
    now = backend.clock.now()
    grace = home.strategy.grace_period_s
    is_graceful = False
    if grace is not None:
        if "deletionTimestamp" in metadata:
            left = metadata.get("deletionGracePeriodSeconds")
            if left is not None:
                if options.grace_period_s is None or options.grace_period_s >= left:
                    if left > 0 or metadata.get("finalizers"):
                        return "pending"
                else:
                    objectmeta.mark_graceful(metadata, now, max(options.grace_period_s, 0))
                    is_graceful = True
        else:
            period = grace(obj)
            if period is not None:
                if options.grace_period_s is not None and not _ends_at_once(obj):
                    period = options.grace_period_s if options.grace_period_s >= 0 else 1
                objectmeta.mark_graceful(metadata, now, period)
                is_graceful = True
    _set_finalizers(home, metadata, options)
    if metadata.get("finalizers"):
        if not is_graceful:
            objectmeta.mark_deleted(metadata, now)
        return "wait"
    if is_graceful and metadata["deletionGracePeriodSeconds"] > 0:
        return "wait"
    return "now"


def _ends_at_once(obj: Object) -> bool:
    """A pod that no node runs, or that has ended, has nothing to wait for, whatever the request says."""
    return not (obj.get("spec") or {}).get("nodeName") or (obj.get("status") or {}).get("phase") in (
        "Succeeded",
        "Failed",
    )


def _set_finalizers(home: Resource, metadata: Object, options: Options) -> None:
    """Add or remove the garbage collector's two finalizers as the options, the object and its kind ask."""
    held: list[str] = metadata.get("finalizers") or []
    orphans = dependents_first = False
    if home.gvr not in _WITHOUT_COLLECTION:
        if options.orphan is not None:
            orphans = options.orphan
        elif options.propagation:
            orphans = options.propagation == "Orphan"
            dependents_first = options.propagation == "Foreground"
        elif ORPHAN in held:
            orphans = True
        elif FOREGROUND in held:
            dependents_first = True
        else:
            orphans = home.gvr in _ORPHANS_BY_DEFAULT
    wanted = [finalizer for finalizer in held if finalizer not in (ORPHAN, FOREGROUND)]
    if orphans:
        wanted.append(ORPHAN)
    if dependents_first:
        wanted.append(FOREGROUND)
    if set(wanted) != set(held):
        if wanted:
            metadata["finalizers"] = wanted
        else:
            metadata.pop("finalizers", None)


def _deleted(resource: Resource, home: Resource, current: Current, obj: Object) -> Item | Document:
    if (resource.gvr.group, resource.gvr.resource) in _RETURNED:
        metadata = obj["metadata"]
        metadata.pop("resourceVersion", None)
        return Item(resource, value=codec.encode(obj), obj=obj, revision=current.revision)
    details: dict[str, Any] = {"name": obj["metadata"]["name"]}
    if resource.gvr.group:
        details["group"] = resource.gvr.group
    details["kind"] = resource.gvr.resource
    details["uid"] = obj["metadata"].get("uid", "")
    return Document({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})


def check_preconditions(home: Resource, name: str, options: Options, metadata: Object) -> None:
    """Raises ApiError 409 when the object is not the one that was meant."""
    group_kind = home.gvr.group, home.kind  # upstream has the kind here, where it has the resource everywhere else
    if options.uid and options.uid != metadata.get("uid"):
        why = (
            f"the UID in the precondition ({options.uid}) does not match the UID in record ({metadata.get('uid')}). "
            "The object might have been deleted and then recreated"
        )
        raise conflict(*group_kind, name, why)
    if options.revision and options.revision != metadata["resourceVersion"]:
        why = (
            f"the ResourceVersion in the precondition ({options.revision}) does not match the ResourceVersion in "
            f"record ({metadata['resourceVersion']}). The object might have been modified"
        )
        raise conflict(*group_kind, name, why)


def read_options(call: Call) -> Options:
    """From the body, or without one from the query. Raises ApiError 400, 422."""
    body.check_options(call, call.resource)
    content: Any = call.obj
    if content is None and call.body:
        content = body.decode(call, call.resource, "DeleteOptions")
    if content is None:
        content = {}
        grace = call.number("gracePeriodSeconds")
        if grace is not None:
            content["gracePeriodSeconds"] = grace
        if call.option("propagationPolicy"):
            content["propagationPolicy"] = call.option("propagationPolicy")
        if "orphanDependents" in call.query:
            content["orphanDependents"] = call.flag("orphanDependents")
    return options_of(content)


def options_of(content: Any) -> Options:
    """Checked. Raises ApiError 400, 422."""
    if not isinstance(content, dict):
        raise bad_request("decoded object cannot be converted to DeleteOptions")
    kind = content.get("kind")
    if kind and kind != "DeleteOptions":
        raise bad_request("decoded object cannot be converted to DeleteOptions")
    preconditions = content.get("preconditions") or {}
    grace = content.get("gracePeriodSeconds")
    orphan = content.get("orphanDependents")
    propagation = content.get("propagationPolicy") or ""
    if grace is not None and (not isinstance(grace, int) or isinstance(grace, bool)):
        raise bad_request(
            "json: cannot unmarshal "
            f"{'string' if isinstance(grace, str) else 'value'} into Go struct field DeleteOptions.gracePeriodSeconds "
            "of type int64"
        )
    causes = []
    if propagation and orphan is not None:
        causes.append(
            Cause(
                "FieldValueInvalid",
                f"Invalid value: {orjson.dumps(propagation).decode()}: orphanDependents and deletionPropagation "
                "cannot be both set",
                "propagationPolicy",
            )
        )
    if propagation not in ("", "Foreground", "Background", "Orphan"):
        causes.append(
            Cause(
                "FieldValueNotSupported",
                f'Unsupported value: {orjson.dumps(propagation).decode()}: supported values: "Background", '
                '"Foreground", "Orphan", "nil"',
                "propagationPolicy",
            )
        )
    dry_run = content.get("dryRun") or []
    causes += [
        Cause("FieldValueNotSupported", f'Unsupported value: "{value}": supported values: "All"', "dryRun")
        for value in dry_run
        if value != "All"
    ]
    if causes:
        raise invalid("meta.k8s.io", "DeleteOptions", "", causes)
    return Options(
        grace,
        propagation,
        orphan,
        preconditions.get("uid") or "",
        preconditions.get("resourceVersion") or "",
        bool(dry_run),
    )

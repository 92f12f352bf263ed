"""update: read, change, write if nobody was faster, else again. PUT, PATCH and every subresource that changes a part of
an object come through ``modify``; they differ in how the new object is made and which part of it counts.

A change that leaves the stored bytes as they are writes nothing. A change that frees a deleted object of its last
finalizer deletes it.
"""

from __future__ import annotations

import marshal
from collections.abc import Callable, Sequence
from typing import NamedTuple

from cybernetes.core.api import codec, strategies
from cybernetes.core.api.fielderror import FieldError, as_api_error
from cybernetes.core.api.resource import Context, Resource
from cybernetes.core.errors import Cause, conflict, invalid, not_found, server_timeout
from cybernetes.core.objects import Object
from cybernetes.core.store.interface import Conflict
from cybernetes.services.apiserver import body, objectmeta
from cybernetes.services.apiserver.admitting import Admission
from cybernetes.services.apiserver.backend import Backend
from cybernetes.services.apiserver.call import Call, Item
from cybernetes.services.apiserver.fieldmanagers import is_unchanged, keep_times
from cybernetes.services.apiserver.handlers.create import create_object
from cybernetes.services.apiserver.storage import Current

#: A change makes the new object, in the version of the request, of what is stored. The result is changed further.
Change = Callable[[Current], Object]

_ATTEMPTS_MAX = 20


async def update(backend: Backend, call: Call) -> Item:
    """PUT of an object, of its status or of another part of it."""
    resource = call.resource
    sent = body.read(call, resource)
    metadata = objectmeta.metadata_of(sent)
    objectmeta.match_name(metadata, call.name)
    objectmeta.match_namespace(metadata, call.namespace)
    may_create = call.subresource is None and resource.strategy.allows_create_on_update
    current = await backend.storage.current(resource, call.namespace, call.name)
    if current is None:
        if not may_create:
            raise not_found(*call.group_resource, call.name)
        metadata.pop("resourceVersion", None)
        return await create_object(backend, call, resource, sent)
    uses = 0

    # Without a version to hold it to, what was sent may be applied again, and each attempt changes its copy.
    pristine = None if metadata.get("resourceVersion") else marshal.dumps(sent)

    def replace(stored: Current) -> Object:
        nonlocal uses
        uses += 1
        return sent if uses == 1 or pristine is None else marshal.loads(pristine)

    return await modify(backend, call, replace, current=current)


def stored_object(call: Call, current: Current, *, is_bare: bool = False) -> Object:
    """What is stored, in the version of the request: the caller's own. ``is_bare``: without its managedFields."""
    obj = current.decode(is_bare=is_bare)
    return obj if call.resource.from_storage is None else call.resource.from_storage(obj)


class Rules(NamedTuple):
    """What a change is held to: ``prepare`` restores what it may not touch, ``validate`` refuses what it may not be."""

    prepare: Callable[[Object, Object, Context], None]
    validate: Callable[[Object, Object], Sequence[FieldError]]


def _rules(call: Call, home: Resource) -> Rules:
    strategy = home.strategy
    if call.subresource is None:
        return Rules(strategy.prepare_update, strategy.validate_update)
    part = strategies.PARTS.get((home.gvr.group, home.gvr.resource, call.subresource.name))
    if part is None:
        return Rules(strategy.prepare_status, strategy.validate_status)
    return Rules(part.prepare, part.check)


async def modify(
    backend: Backend,
    call: Call,
    change: Change,
    *,
    rules: Rules | None = None,
    current: Current | None = None,
    keeps_managers: bool = False,
) -> Item:
    """Apply ``change`` to the object that ``call`` names until the store takes it.

    ``rules`` are by default those of the resource or of the call's subresource. ``keeps_managers``: ``change`` sees to
    the managedFields itself. Raises ApiError: 404, 409, 422, and 500 when others are always faster.
    """
    resource = call.resource
    storage = backend.storage
    home = storage.home(resource)
    hooks = backend.hooks_of(home)
    if rules is None:
        rules = _rules(call, home)
    if current is None:
        current = await storage.current(resource, call.namespace, call.name)
    for _ in range(_ATTEMPTS_MAX):
        if current is None:
            raise not_found(*call.group_resource, call.name)
        old = current.decode()
        new = change(current)
        required = _check_preconditions(call, home, new, old, current.revision)
        new, admission = await _prepared(backend, call, home, new, old, rules, keeps_managers)
        keep_times(new, old)
        taken = None
        if hooks.update is not None and call.subresource is None:
            taken = await hooks.update(backend, call, new, old)
        try:
            await _judge(call, home, new, old, rules, admission)
            value = codec.encode(new)
            is_done = objectmeta.is_done(old["metadata"], new["metadata"]) and not (hooks.holds and hooks.holds(new))
            is_same = value == current.value or (len(value) == len(current.value) and is_unchanged(new, old))
            if call.is_dry_run or (is_same and not is_done and not current.is_outdated):
                return Item(resource, value=value, obj=new, revision=current.revision)
            if is_done:
                await storage.delete(home, call.namespace, call.name, current.revision)
                revision = current.revision
            else:
                revision = await storage.put(home, call.namespace, call.name, value, current.revision)
            if taken is not None:
                await taken.keep()
                taken = None
        except Conflict as error:
            if required:
                raise conflict(*call.group_resource, call.name) from None
            current = await storage.found(home, error)
            continue
        finally:
            if taken is not None:
                await taken.undo()
        if is_done and hooks.deleted is not None:
            await hooks.deleted(backend, new)
        kept = value if is_done else await storage.kept(home, call.namespace, call.name, value, revision)
        if kept is not value:
            return Item(resource, value=kept, revision=revision)
        return Item(resource, value=value, obj=new, revision=revision)
    raise server_timeout(*call.group_resource, call.verb)


async def rewrite(
    backend: Backend, resource: Resource, namespace: str, name: str, change: Callable[[Object], None]
) -> Item:
    """A change of the server's own (a binding, a condition): not held to what a client may change.

    ``change`` gets the stored object, in the storage version and with its resourceVersion, and changes it in place, or
    raises. Raises ApiError 404, 500.
    """
    storage = backend.storage
    home = storage.home(resource)
    current = await storage.current(resource, namespace, name)
    for _ in range(_ATTEMPTS_MAX):
        if current is None:
            raise not_found(resource.gvr.group, resource.gvr.resource, name)
        obj = current.decode()
        change(obj)
        value = codec.encode(obj)
        if value == current.value:
            return Item(resource, value=value, obj=obj, revision=current.revision)
        try:
            revision = await storage.put(home, namespace, name, value, current.revision)
        except Conflict as error:
            current = await storage.found(home, error)
            continue
        return Item(resource, value=value, obj=obj, revision=revision)
    raise server_timeout(resource.gvr.group, resource.gvr.resource, "update")


async def _prepared(
    backend: Backend, call: Call, home: Resource, new: Object, old: Object, rules: Rules, keeps_managers: bool
) -> tuple[Object, Admission]:
    """The new object defaulted, converted, changed by admission and prepared."""
    resource = call.resource
    metadata = objectmeta.metadata_of(new)
    objectmeta.match_namespace(metadata, call.namespace)
    resource.strategy.default(new)
    if not keeps_managers:
        backend.fields.updated(call, new, old if resource.from_storage is None else resource.from_storage(old))
    if resource.to_storage is not None:
        new = resource.to_storage(new)
        metadata = new["metadata"]
    objectmeta.carry_over(metadata, old["metadata"])
    metadata.pop("resourceVersion", None)
    admission = backend.admitting.begin(call, home, "UPDATE", new, old)
    await admission.mutate()
    rules.prepare(new, old, backend.context(call))
    return new, admission


async def _judge(call: Call, home: Resource, new: Object, old: Object, rules: Rules, admission: Admission) -> None:
    """Raises ApiError for what may not be."""
    errors = rules.validate(new, old)
    judge = call.resource.strategy.validate_version
    if judge is not None:
        errors = judge(new, old, errors)
    if errors:
        raise as_api_error(home.gvr.group, home.kind, call.name, errors)
    await admission.validate()
    await admission.charge()
    strategy = home.strategy
    if call.subresource is None:
        tell = strategy.update_warnings
        call.warnings += strategy.warnings(new) if tell is None else tell(new, old)
    elif call.subresource.name == "status":
        call.warnings += strategy.status_warnings(new)


def _check_preconditions(call: Call, home: Resource, new: Object, old: Object, revision: int) -> bool:
    """Whether the client named the version that it means; raises ApiError 409, 422 when it is another."""
    metadata = objectmeta.metadata_of(new)
    uid, stored_uid = metadata.get("uid"), old["metadata"].get("uid")
    if uid and uid != stored_uid:
        key = home.storage_key(call.namespace, call.name).decode()
        why = (
            f"StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: "
            f"Precondition failed: UID in precondition: {uid}, UID in object meta: {stored_uid}"
        )
        raise conflict(*call.group_resource, call.name, why)
    wanted = objectmeta.revision_of(metadata)
    if wanted is None:
        if not home.strategy.allows_unconditional_update and call.verb == "update":
            message = "Invalid value: 0: must be specified for an update"
            cause = Cause("FieldValueInvalid", message, "metadata.resourceVersion")
            raise invalid(*call.group_resource, call.name, [cause])
        return False
    if wanted != revision:
        raise conflict(*call.group_resource, call.name)
    return True

"""update: read, change, write if nobody was faster, else again. PUT, PATCH and every subresource that changes a part of
an object come through ``modify``; they differ in how the new object is made and which part of it counts.

A change that leaves the stored bytes as they are writes nothing. A change that frees a deleted object of its last
finalizer deletes it.
"""

from __future__ import annotations

import marshal
from collections.abc import Callable
from typing import Literal

from cybernetes.core.api import codec
from cybernetes.core.api.fielderror import as_api_error
from cybernetes.core.api.resource import Resource
from cybernetes.core.errors import Cause, conflict, invalid, not_found, server_timeout
from cybernetes.core.objects import Object
from cybernetes.core.store.interface import Conflict
from cybernetes.services.apiserver import body, objectmeta
from cybernetes.services.apiserver.backend import Backend
from cybernetes.services.apiserver.call import Call, Item
from cybernetes.services.apiserver.handlers.create import create_object
from cybernetes.services.apiserver.storage import Current

#: Which part of an object a request may change.
Part = Literal["object", "status"]

#: A change makes the new object, in the version of the request, of what is stored. The result is changed further.
Change = Callable[[Current], Object]

_ATTEMPTS_MAX = 20


async def update(backend: Backend, call: Call) -> Item:
    """PUT of an object or of its status."""
    resource = call.resource
    sent = body.read(call, resource)
    metadata = objectmeta.metadata_of(sent)
    objectmeta.match_name(metadata, call.name)
    objectmeta.match_namespace(metadata, call.namespace)
    part: Part = "status" if call.subresource is not None and call.subresource.name == "status" else "object"
    may_create = part == "object" and resource.strategy.allows_create_on_update
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

    return await modify(backend, call, replace, part=part, current=current)


def stored_object(call: Call, current: Current) -> Object:
    """What is stored, in the version of the request: the caller's own."""
    obj = current.decode()
    return obj if call.resource.from_storage is None else call.resource.from_storage(obj)


async def modify(
    backend: Backend,
    call: Call,
    change: Change,
    *,
    part: Part = "object",
    current: Current | None = None,
    prepare: bool = True,
) -> Item:
    """Apply ``change`` to the object that ``call`` names until the store takes it.

    ``prepare`` False is for changes that are the server's own (a binding, a grace period): they are validated, but not
    held to what a client may change. Raises ApiError: 404, 409, 422, and 500 when others are always faster.
    """
    resource = call.resource
    storage = backend.storage
    home = storage.home(resource)
    if current is None:
        current = await storage.current(resource, call.namespace, call.name)
    for _ in range(_ATTEMPTS_MAX):
        if current is None:
            raise not_found(*call.group_resource, call.name)
        old = current.decode()
        new = change(current)
        required = _check_preconditions(call, home, new, old, current.revision)
        new = await _prepared(backend, call, home, new, old, part, prepare)
        undo = None
        hooks = backend.hooks_of(home)
        if hooks.update is not None and part == "object":
            undo = await hooks.update(backend, call, new, old)
        try:
            value = codec.encode(new)
            if value == current.value:
                return Item(resource, value=value, obj=new, revision=current.revision)
            metadata = new["metadata"]
            is_done = objectmeta.is_done(old["metadata"], metadata) and not (hooks.holds and hooks.holds(new))
            if call.is_dry_run:
                return Item(resource, value=value, obj=new, revision=current.revision)
            if is_done:
                await storage.delete(home, call.namespace, call.name, current.revision)
                undo = None
                if hooks.deleted is not None:
                    await hooks.deleted(backend, new)
                return Item(resource, value=value, obj=new, revision=current.revision)
            revision = await storage.put(home, call.namespace, call.name, value, current.revision)
            undo = None
            return Item(resource, value=value, obj=new, revision=revision)
        except Conflict as error:
            if required:
                raise conflict(*call.group_resource, call.name) from None
            found = error.current
            current = None if found is None else Current(found.value, found.mod_revision)
        finally:
            if undo is not None:
                await undo()
    raise server_timeout(*call.group_resource, call.verb)


async def _prepared(
    backend: Backend, call: Call, home: Resource, new: Object, old: Object, part: Part, prepare: bool
) -> Object:
    """The new object ready to be stored: defaulted, converted, prepared, admitted, validated."""
    resource = call.resource
    strategy = home.strategy
    metadata = objectmeta.metadata_of(new)
    objectmeta.match_namespace(metadata, call.namespace)
    resource.strategy.default(new)
    if resource.to_storage is not None:
        new = resource.to_storage(new)
        metadata = new["metadata"]
    objectmeta.carry_over(metadata, old["metadata"])
    metadata.pop("resourceVersion", None)
    if prepare:
        prepared = strategy.prepare_status if part == "status" else strategy.prepare_update
        prepared(new, old, backend.context(call))
    await backend.admitting.mutate(call, home, "UPDATE", new, old)
    errors = strategy.validate_status(new, old) if part == "status" else strategy.validate_update(new, old)
    if errors:
        raise as_api_error(home.gvr.group, home.kind, call.name, errors)
    await backend.admitting.validate(call, home, "UPDATE", new, old)
    if part == "object":
        call.warnings += strategy.warnings(new)
    return new


def _check_preconditions(call: Call, home: Resource, new: Object, old: Object, revision: int) -> bool:
    """Whether the client named the version that it means; raises ApiError 409, 422 when it is another."""
    metadata = objectmeta.metadata_of(new)
    uid, stored_uid = metadata.get("uid"), old["metadata"].get("uid")
    if uid and uid != stored_uid:
        key = home.storage_key(call.namespace, call.name).decode().removeprefix("/registry")
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

"""create: decoded, checked, defaulted, admitted, validated and encoded once, then put where nothing must be."""

from __future__ import annotations

from cybernetes.core.api import codec
from cybernetes.core.api.fielderror import as_api_error
from cybernetes.core.api.resource import Resource
from cybernetes.core.errors import already_exists, method_not_allowed
from cybernetes.core.objects import Object
from cybernetes.core.store.interface import Conflict
from cybernetes.services.apiserver import body, objectmeta
from cybernetes.services.apiserver.backend import Backend
from cybernetes.services.apiserver.call import Call, Item

#: A generated name that is taken is generated again this often (upstream: RetryGenerateName).
_GENERATE_ATTEMPTS = 8


async def create(backend: Backend, call: Call) -> Item:
    """POST to a collection."""
    resource = call.resource
    if resource.is_namespaced and not call.namespace:
        raise method_not_allowed()
    obj = body.read(call, resource)
    return await create_object(backend, call, resource, obj)


async def create_object(
    backend: Backend, call: Call, resource: Resource, obj: Object, *, keeps_managers: bool = False
) -> Item:
    """The rest of a create, also by PUT of what does not exist. ``obj`` is checked, in the version of ``resource``.

    ``keeps_managers``: its managedFields are as they should be.
    """
    metadata = objectmeta.metadata_of(obj)
    objectmeta.match_namespace(metadata, call.namespace)
    objectmeta.begin(metadata, backend.clock.now(), backend.random.uid())
    resource.strategy.default(obj)
    if not keeps_managers:
        backend.fields.created(call, resource, obj)
    home = backend.storage.home(resource)
    if resource.to_storage is not None:
        obj = resource.to_storage(obj)
        metadata = obj["metadata"]
    admission = backend.admitting.begin(call, home, "CREATE", obj, None)
    await admission.mutate()
    # Not before: what is prepared follows from the whole object (a pod's class from the limits of its namespace), and
    # webhooks see the name that is to be generated, as upstream's do.
    metadata = obj["metadata"]
    home.strategy.prepare_create(obj, backend.context(call))
    is_generated = objectmeta.generate_name(metadata, backend.random)
    hooks = backend.hooks_of(home)
    taken = None
    if hooks.create is not None and metadata.get("name"):  # without one it is refused below
        taken = await hooks.create(backend, call, obj)
    try:
        errors = home.strategy.validate_create(obj)
        if resource.strategy.validate_version is not None:
            errors = resource.strategy.validate_version(obj, None, errors)
        if errors:
            raise as_api_error(home.gvr.group, home.kind, metadata.get("name", ""), errors)
        await admission.validate()
        await admission.charge()
        call.warnings += home.strategy.warnings(obj)
        item = await _store(backend, call, resource, home, obj, is_generated)
    except BaseException:
        if taken is not None:
            await taken.undo()
        raise
    if taken is not None:
        await taken.keep()
    return item


async def _store(
    backend: Backend, call: Call, resource: Resource, home: Resource, obj: Object, is_generated: bool
) -> Item:
    metadata = obj["metadata"]
    for attempt in range(_GENERATE_ATTEMPTS):
        name = metadata["name"]
        value = codec.encode(obj)
        if call.is_dry_run:
            cache = await backend.storage.fresh(home)
            if cache.get(call.namespace, name) is not None:
                raise already_exists(*call.group_resource, name)
            return Item(resource, value=value, obj=obj, revision=0, code=201)
        try:
            revision = await backend.storage.put(home, call.namespace, name, value, 0)
        except Conflict:
            if is_generated and attempt < _GENERATE_ATTEMPTS - 1:
                del metadata["name"]
                objectmeta.generate_name(metadata, backend.random)
                continue
            raise already_exists(*call.group_resource, name) from None
        kept = await backend.storage.kept(home, call.namespace, name, value, revision)
        if kept is not value:
            return Item(resource, value=kept, revision=revision, code=201)
        return Item(resource, value=value, obj=obj, revision=revision, code=201)
    raise already_exists(*call.group_resource, metadata["name"])

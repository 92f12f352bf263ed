"""``pods/binding``: a pod gets its node, once. The scheduler's only write, so the shortest one."""

from __future__ import annotations

from cybernetes.core.clock import format_time
from cybernetes.core.errors import Cause, bad_request, conflict, invalid
from cybernetes.core.objects import PODS, Gvk, Object, condition
from cybernetes.services.apiserver import body, objectmeta
from cybernetes.services.apiserver.backend import Backend
from cybernetes.services.apiserver.call import Call, Document
from cybernetes.services.apiserver.handlers.update import rewrite

_BINDING = Gvk("", "v1", "Binding")


def succeeded(code: int = 201) -> Document:
    """The Status that says so."""
    status: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": code}
    return Document(status, code)


async def bind(backend: Backend, call: Call) -> Document:
    """POST pods/NAME/binding, or to the old collection ``bindings``. Raises ApiError 400, 404, 409, 422."""
    binding = body.read_kind(call, _BINDING)
    metadata = objectmeta.metadata_of(binding)
    name = call.name or metadata.get("name") or ""
    if metadata.get("name") != name:
        raise bad_request("name in URL does not match name in Binding object")
    target = binding.get("target") or {}
    causes = []
    if target.get("kind") not in (None, "", "Node"):
        message = f'Unsupported value: "{target["kind"]}": supported values: "Node", "<empty>"'
        causes.append(Cause("FieldValueNotSupported", message, "target.kind"))
    if not target.get("name"):
        causes.append(Cause("FieldValueRequired", "Required value", "target.name"))
    if causes:
        raise invalid("", "Binding", name, causes)
    pods = backend.registry.get(PODS)
    assert pods is not None
    admission = backend.admitting.begin(call, call.resource, "CREATE", binding, None)
    await admission.mutate()
    await admission.validate()
    now = format_time(backend.clock.now())

    def change(pod: Object) -> None:
        stored = pod["metadata"]
        for key, what in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
            wanted, found = metadata.get(key), stored[key]
            if wanted and wanted != found:
                why = f"Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}"
                raise conflict("", "pods/binding", name, why)
        if "deletionTimestamp" in stored:
            raise conflict("", "pods/binding", name, f"pod {name} is being deleted, cannot be assigned to a host")
        spec = pod["spec"]
        if spec.get("nodeName"):
            why = f'pod {name} is already assigned to node "{spec["nodeName"]}"'
            raise conflict("", "pods/binding", name, why)
        if spec.get("schedulingGates"):
            raise conflict("", "pods/binding", name, f"pod {name} has non-empty .spec.schedulingGates")
        spec["nodeName"] = target["name"]
        for key in ("annotations", "labels"):
            if metadata.get(key):
                stored[key] = {**(stored.get(key) or {}), **metadata[key]}
        status = pod.setdefault("status", {})
        status.pop("nominatedNodeName", None)
        set_condition(pod, {"type": "PodScheduled", "status": "True"}, now)

    if call.is_dry_run:
        current = await backend.storage.current(pods, call.namespace, name)
        if current is not None:
            change(current.decode())
            return succeeded()
    await rewrite(backend, pods, call.namespace, name, change)
    return succeeded()


def set_condition(pod: Object, wanted: Object, now: str) -> None:
    """Put a condition into a pod's status; its transition time is kept while its status is the same."""
    found = condition(pod, wanted["type"])
    entry: Object = {"type": wanted["type"], "lastProbeTime": None, "lastTransitionTime": now, **wanted}
    generation = pod["metadata"].get("generation")
    if generation:
        entry["observedGeneration"] = generation
    conditions = pod.setdefault("status", {}).setdefault("conditions", [])
    if found is None:
        conditions.append(entry)
        return
    if found.get("status") == wanted["status"] and found.get("lastTransitionTime"):
        entry["lastTransitionTime"] = found["lastTransitionTime"]
    conditions[conditions.index(found)] = entry

"""Which fields a write to a (sub)resource leaves as they were, whatever it says: nobody comes to own them by it.

The main resource does not change the status, ``status`` changes nothing but that. What departs is in the tables: some
kinds' status takes the metadata's changes too, some does not.

Source: GetResetFields of the registries of kube-apiserver 1.36.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cybernetes.core.api.apply.elements import FIELD
from cybernetes.core.api.apply.fieldset import Filter, excluding, including, of_paths
from cybernetes.core.api.resource import Resource

#: (group, resource, subresource) -> fields, where they are not those of the rule.
_DEPARTING: Mapping[tuple[str, str, str], tuple[str, ...]] = {
    ("", "namespaces", "finalize"): ("status",),
    ("", "pods", "status"): ("spec", "metadata.deletionTimestamp", "metadata.ownerReferences"),
    ("apps", "deployments", "status"): ("spec", "metadata.labels"),
    ("certificates.k8s.io", "certificatesigningrequests", ""): ("spec", "status"),
    ("certificates.k8s.io", "certificatesigningrequests", "status"): ("spec", "status.conditions"),
    ("certificates.k8s.io", "certificatesigningrequests", "approval"): ("spec", "status.certificate"),
}
#: Whose status takes no change of the metadata. So does that of custom resources.
_STATUS_WITHOUT_METADATA = frozenset(
    {
        ("admissionregistration.k8s.io", "validatingadmissionpolicies"),
        ("apiextensions.k8s.io", "customresourcedefinitions"),
        ("apiregistration.k8s.io", "apiservices"),
        ("flowcontrol.apiserver.k8s.io", "flowschemas"),
        ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations"),
        ("networking.k8s.io", "servicecidrs"),
        ("resource.k8s.io", "resourceclaims"),
        ("resource.k8s.io", "devicetaintrules"),
        ("storage.k8s.io", "volumeattachments"),
    }
)
_ANY = "*"
#: Subresources of pods that change some fields only.
_ONLY: Mapping[str, Sequence[Sequence[str]]] = {
    "ephemeralcontainers": (("spec", "ephemeralContainers"),),
    "resize": tuple(
        ("spec", containers, _ANY, field)
        for containers in ("containers", "initContainers")
        for field in ("resources", "resizePolicy")
    ),
}


def filter_of(resource: Resource, subresource: str) -> Filter | None:
    """What drops those fields from a set; None when there are none."""
    if subresource in _ONLY and _key(resource) == ("", "pods"):
        return including([tuple(map(_step, pattern)) for pattern in _ONLY[subresource]])
    fields = _fields(resource, subresource)
    return excluding(of_paths([tuple(map(_step, field.split("."))) for field in fields])) if fields else None


def reset_whole(resource: Resource, subresource: str) -> frozenset[str]:
    """Of those fields the ones at the top of the object, which are reset with everything in them."""
    return frozenset(field for field in _fields(resource, subresource) if "." not in field and field != "metadata")


def _key(resource: Resource) -> tuple[str, str]:
    return resource.gvr.group, resource.gvr.resource


def _fields(resource: Resource, subresource: str) -> tuple[str, ...]:
    departing = _DEPARTING.get((*_key(resource), subresource))
    if departing is not None:
        return departing
    if subresource == "status":
        is_bare = resource.is_custom or _key(resource) in _STATUS_WITHOUT_METADATA
        return ("spec", "metadata") if is_bare else ("spec",)
    return ("status",) if not subresource and resource.has_status else ()


def _step(name: str) -> str:
    return name if name == _ANY else FIELD + name

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
    group, name = resource.gvr.group, resource.gvr.resource
    if (group, name) == ("", "pods") and subresource in _ONLY:
        return including([tuple(map(_step, pattern)) for pattern in _ONLY[subresource]])
    fields = _DEPARTING.get((group, name, subresource))
    if fields is None:
        if subresource == "status":
            is_bare = resource.is_custom or (group, name) in _STATUS_WITHOUT_METADATA
            fields = ("spec", "metadata") if is_bare else ("spec",)
        elif not subresource and resource.has_status:
            fields = ("status",)
        else:
            return None
    return excluding(of_paths([tuple(map(_step, field.split("."))) for field in fields]))


def _step(name: str) -> str:
    return name if name == _ANY else FIELD + name

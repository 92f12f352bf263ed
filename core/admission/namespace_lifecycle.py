"""NamespaceLifecycle: nothing is created in a namespace that does not exist or is being deleted."""

from __future__ import annotations

from cybernetes.core.admission.contract import Attributes, Reader, refused
from cybernetes.core.errors import not_found
from cybernetes.core.objects import NAMESPACES, Gvr

#: Namespaces without which the cluster would not be one.
IMMORTAL = frozenset({"default", "kube-system", "kube-public"})

#: Answering these with "no such namespace" would tell strangers which namespaces there are.
_ACCESS_REVIEWS = Gvr("authorization.k8s.io", "v1", "localsubjectaccessreviews")


class NamespaceLifecycle:
    """Source: documentation "Admission Control in Kubernetes", NamespaceLifecycle."""

    name = "NamespaceLifecycle"

    def admit(self, attributes: Attributes, cluster: Reader) -> None:
        if attributes.resource.gvr.resource == "namespaces" and not attributes.resource.gvr.group:
            if attributes.operation == "DELETE" and attributes.name in IMMORTAL:
                raise refused(attributes, "this namespace may not be deleted")
            return
        name = attributes.namespace
        if not name or attributes.operation not in ("CREATE", "UPDATE") or attributes.is_for(_ACCESS_REVIEWS):
            return
        namespace = cluster.get(NAMESPACES, "", name)
        if namespace is None:
            raise not_found("", "namespaces", name)
        if attributes.operation == "CREATE" and (namespace.get("status") or {}).get("phase") == "Terminating":
            why = f"unable to create new content in namespace {name} because it is being terminated"
            error = refused(attributes, why)
            cause = {
                "reason": "NamespaceTerminating",
                "message": f"namespace {name} is being terminated",
                "field": "metadata.namespace",
            }
            error.status["details"]["causes"] = [cause]
            raise error

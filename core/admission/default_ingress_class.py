"""DefaultIngressClass: an Ingress that names no class gets the default one."""

from __future__ import annotations

from cybernetes.core.admission.contract import Attributes, Reader
from cybernetes.core.admission.storage import newest
from cybernetes.core.objects import INGRESS_CLASSES, Gvr, annotations_of

_INGRESSES = Gvr("networking.k8s.io", "v1", "ingresses")
_IS_DEFAULT = "ingressclass.kubernetes.io/is-default-class"
#: How classes were named before there was a field.
_CLASS_ANNOTATION = "kubernetes.io/ingress.class"


class DefaultIngressClass:
    """Of several default classes, the newest.

    Source: documentation "Ingress", default IngressClass.
    """

    name = "DefaultIngressClass"

    def admit(self, attributes: Attributes, cluster: Reader) -> None:
        ingress = attributes.obj
        if ingress is None or attributes.operation != "CREATE" or not attributes.is_for(_INGRESSES):
            return
        if ingress["spec"].get("ingressClassName") is not None or _CLASS_ANNOTATION in annotations_of(ingress):
            return
        classes = cluster.list(INGRESS_CLASSES)
        chosen = newest(each for each in classes if annotations_of(each).get(_IS_DEFAULT) == "true")
        if chosen is not None:
            ingress["spec"]["ingressClassName"] = chosen["metadata"]["name"]

"""Every resource that is served: one descriptor each, found by its collection or by its kind.

The built-in ones are the table below, which reads like ``kubectl api-resources``; what is done to their objects stands
in ``strategies``. Custom resources are added and removed while the API server runs. A registry is not shared between
clusters: ``builtin`` gives each caller's process the same one, ``Registry(builtin_resources())`` a new one.

Groups are in the order of their priority upstream, which is the order of ``/apis`` and decides which resource a short
name means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache

from cybernetes.core.api import strategies
from cybernetes.core.api.conversion import STORED_AS
from cybernetes.core.api.resource import ALL_VERBS, Resource, Strategy, Subresource
from cybernetes.core.objects import Gvk, Gvr, Object

#: What ``status`` and ``scale`` can do.
PART_VERBS = ("get", "patch", "update")
_PROXY_VERBS = ("create", "delete", "get", "patch", "update")

SCALE = Gvk("autoscaling", "v1", "Scale")

#: group -> (versions with the preferred first, the package of its types in the schema)
GROUPS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "": (("v1",), "io.k8s.api.core"),
    "apiregistration.k8s.io": (("v1",), "io.k8s.kube-aggregator.pkg.apis.apiregistration"),
    "apps": (("v1",), "io.k8s.api.apps"),
    "events.k8s.io": (("v1",), "io.k8s.api.events"),
    "authentication.k8s.io": (("v1",), "io.k8s.api.authentication"),
    "authorization.k8s.io": (("v1",), "io.k8s.api.authorization"),
    "autoscaling": (("v2", "v1"), "io.k8s.api.autoscaling"),
    "batch": (("v1",), "io.k8s.api.batch"),
    "certificates.k8s.io": (("v1",), "io.k8s.api.certificates"),
    "networking.k8s.io": (("v1",), "io.k8s.api.networking"),
    "policy": (("v1",), "io.k8s.api.policy"),
    "rbac.authorization.k8s.io": (("v1",), "io.k8s.api.rbac"),
    "storage.k8s.io": (("v1",), "io.k8s.api.storage"),
    "admissionregistration.k8s.io": (("v1",), "io.k8s.api.admissionregistration"),
    "apiextensions.k8s.io": (("v1",), "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions"),
    "scheduling.k8s.io": (("v1",), "io.k8s.api.scheduling"),
    "coordination.k8s.io": (("v1",), "io.k8s.api.coordination"),
    "node.k8s.io": (("v1",), "io.k8s.api.node"),
    "discovery.k8s.io": (("v1",), "io.k8s.api.discovery"),
    "resource.k8s.io": (("v1",), "io.k8s.api.resource"),
    "flowcontrol.apiserver.k8s.io": (("v1",), "io.k8s.api.flowcontrol"),
}

#: group/version: resource Kind, then n (namespaced) or c (cluster), short names, categories in brackets and
#: subresources after a slash. A resource whose only verb is create says ``create``: it is answered, not kept.
TABLE = """
v1
    bindings Binding n create
    componentstatuses ComponentStatus c get,list cs
    configmaps ConfigMap n cm
    endpoints Endpoints n ep
    events Event n ev
    limitranges LimitRange n limits
    namespaces Namespace c ns /status /finalize
    nodes Node c no /status /proxy
    persistentvolumeclaims PersistentVolumeClaim n pvc /status
    persistentvolumes PersistentVolume c pv /status
    pods Pod n po [all] /attach /binding /ephemeralcontainers /eviction /exec /log /portforward /proxy /resize /status
    podtemplates PodTemplate n
    replicationcontrollers ReplicationController n rc [all] /scale /status
    resourcequotas ResourceQuota n quota /status
    secrets Secret n
    serviceaccounts ServiceAccount n sa /token
    services Service n svc [all] /proxy /status
apiregistration.k8s.io/v1
    apiservices APIService c [api-extensions] /status
apps/v1
    controllerrevisions ControllerRevision n
    daemonsets DaemonSet n ds [all] /status
    deployments Deployment n deploy [all] /scale /status
    replicasets ReplicaSet n rs [all] /scale /status
    statefulsets StatefulSet n sts [all] /scale /status
events.k8s.io/v1
    events Event n ev
authentication.k8s.io/v1
    selfsubjectreviews SelfSubjectReview c create
    tokenreviews TokenReview c create
authorization.k8s.io/v1
    localsubjectaccessreviews LocalSubjectAccessReview n create
    selfsubjectaccessreviews SelfSubjectAccessReview c create
    selfsubjectrulesreviews SelfSubjectRulesReview c create
    subjectaccessreviews SubjectAccessReview c create
autoscaling/v2
    horizontalpodautoscalers HorizontalPodAutoscaler n hpa [all] /status
autoscaling/v1
    horizontalpodautoscalers HorizontalPodAutoscaler n hpa [all] /status
batch/v1
    cronjobs CronJob n cj [all] /status
    jobs Job n [all] /status
certificates.k8s.io/v1
    certificatesigningrequests CertificateSigningRequest c csr /approval /status
networking.k8s.io/v1
    ingressclasses IngressClass c
    ingresses Ingress n ing /status
    ipaddresses IPAddress c ip
    networkpolicies NetworkPolicy n netpol
    servicecidrs ServiceCIDR c /status
policy/v1
    poddisruptionbudgets PodDisruptionBudget n pdb /status
rbac.authorization.k8s.io/v1
    clusterrolebindings ClusterRoleBinding c
    clusterroles ClusterRole c
    rolebindings RoleBinding n
    roles Role n
storage.k8s.io/v1
    csidrivers CSIDriver c
    csinodes CSINode c
    csistoragecapacities CSIStorageCapacity n
    storageclasses StorageClass c sc
    volumeattachments VolumeAttachment c /status
    volumeattributesclasses VolumeAttributesClass c vac
admissionregistration.k8s.io/v1
    mutatingadmissionpolicies MutatingAdmissionPolicy c [api-extensions]
    mutatingadmissionpolicybindings MutatingAdmissionPolicyBinding c [api-extensions]
    mutatingwebhookconfigurations MutatingWebhookConfiguration c [api-extensions]
    validatingadmissionpolicies ValidatingAdmissionPolicy c [api-extensions] /status
    validatingadmissionpolicybindings ValidatingAdmissionPolicyBinding c [api-extensions]
    validatingwebhookconfigurations ValidatingWebhookConfiguration c [api-extensions]
apiextensions.k8s.io/v1
    customresourcedefinitions CustomResourceDefinition c crd,crds [api-extensions] /status
scheduling.k8s.io/v1
    priorityclasses PriorityClass c pc
coordination.k8s.io/v1
    leases Lease n
node.k8s.io/v1
    runtimeclasses RuntimeClass c
discovery.k8s.io/v1
    endpointslices EndpointSlice n
resource.k8s.io/v1
    deviceclasses DeviceClass c
    resourceclaims ResourceClaim n /status
    resourceclaimtemplates ResourceClaimTemplate n
    resourceslices ResourceSlice c
flowcontrol.apiserver.k8s.io/v1
    flowschemas FlowSchema c /status
    prioritylevelconfigurations PriorityLevelConfiguration c /status
"""

#: Subresources that are not the object itself read and written in part: their verbs and kind.
_SUBRESOURCES: Mapping[str, tuple[tuple[str, ...], Gvk]] = {
    "pods/attach": (("create", "get"), Gvk("", "v1", "PodAttachOptions")),
    "pods/binding": (("create",), Gvk("", "v1", "Binding")),
    "pods/eviction": (("create",), Gvk("policy", "v1", "Eviction")),
    "pods/exec": (("create", "get"), Gvk("", "v1", "PodExecOptions")),
    "pods/log": (("get",), Gvk("", "v1", "Pod")),
    "pods/portforward": (("create", "get"), Gvk("", "v1", "PodPortForwardOptions")),
    "pods/proxy": (_PROXY_VERBS, Gvk("", "v1", "PodProxyOptions")),
    "nodes/proxy": (_PROXY_VERBS, Gvk("", "v1", "NodeProxyOptions")),
    "services/proxy": (_PROXY_VERBS, Gvk("", "v1", "ServiceProxyOptions")),
    "serviceaccounts/token": (("create",), Gvk("authentication.k8s.io", "v1", "TokenRequest")),
    "namespaces/finalize": (("update",), Gvk("", "v1", "Namespace")),
}

#: A namespace is emptied by its controller, so there is no deletion of all of them at once.
_VERBS = {"namespaces": tuple(verb for verb in ALL_VERBS if verb != "deletecollection")}


class Registry:
    """The resources of one API server. Additions take effect at once; all look-ups are dictionary reads."""

    def __init__(self, resources: Iterable[Resource] = ()) -> None:
        self._by_gvr: dict[Gvr, Resource] = {}
        self._by_gvk: dict[Gvk, Resource] = {}
        #: Raised by every addition and removal: what was made from an older generation is out of date.
        self.generation = 0
        for resource in resources:
            self.add(resource)

    def get(self, gvr: Gvr) -> Resource | None:
        return self._by_gvr.get(gvr)

    def by_kind(self, gvk: Gvk) -> Resource | None:
        return self._by_gvk.get(gvk)

    def all(self) -> tuple[Resource, ...]:
        """Every resource: groups by priority, versions with the preferred first, then as they were added."""
        return tuple(self._by_gvr.values())

    def groups(self) -> dict[str, tuple[str, ...]]:
        """Group -> its versions, the preferred first. The core group's name is empty and it comes first."""
        found: dict[str, dict[str, None]] = {}
        for gvr in self._by_gvr:
            found.setdefault(gvr.group, {})[gvr.version] = None
        return {group: tuple(versions) for group, versions in found.items()}

    def of(self, group: str, version: str) -> tuple[Resource, ...]:
        """The resources of one group version, by name."""
        found = [item for item in self._by_gvr.values() if (item.gvr.group, item.gvr.version) == (group, version)]
        return tuple(sorted(found, key=lambda item: item.gvr.resource))

    def add(self, resource: Resource) -> None:
        """Serve ``resource``, in place of the one with the same collection if there is one."""
        self.remove(resource.gvr)
        self._by_gvr[resource.gvr] = resource
        self._by_gvk[resource.gvk] = resource
        self.generation += 1

    def remove(self, gvr: Gvr) -> None:
        """Serve it no longer. Does nothing when it is not there."""
        resource = self._by_gvr.pop(gvr, None)
        if resource is not None:
            self._by_gvk.pop(resource.gvk, None)
            self.generation += 1


@lru_cache(maxsize=1)
def builtin() -> Registry:
    """The built-in resources, made once a process. To add custom resources, make a Registry of your own."""
    return Registry(builtin_resources())


def builtin_resources() -> tuple[Resource, ...]:
    """One descriptor for each line of TABLE, in its order."""
    result = []
    group, version = "", ""
    for line in TABLE.strip().splitlines():
        if not line.startswith(" "):
            group, _, version = line.rpartition("/")
        else:
            result.append(_resource(group, version, line.split()))
    return tuple(result)


def _resource(group: str, version: str, words: list[str]) -> Resource:
    name, kind, scope, *rest = words
    gvr = Gvr(group, version, name)
    gvk = Gvk(group, version, kind)
    verbs = _VERBS.get(name, ALL_VERBS)
    is_stored = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: dict[str, Subresource] = {}
    for word in rest:
        if word in ("create", "get,list"):
            verbs = tuple(word.split(","))
            is_stored = False
        elif word.startswith("/"):
            subresources[word[1:]] = _subresource(name, word[1:], gvk)
        elif word.startswith("["):
            categories = tuple(word.strip("[]").split(","))
        else:
            short_names = tuple(word.split(","))
    stored = STORED_AS.get(gvr)
    return Resource(
        gvr=gvr,
        kind=kind,
        singular=kind.lower(),
        is_namespaced=scope == "n",
        type_name=f"{GROUPS[group][1]}.{version}.{kind}",
        verbs=verbs,
        short_names=short_names,
        categories=categories,
        subresources=subresources,
        selectable_fields=_SELECTABLE.get((group, name), {}),
        strategy=strategies.ALL.get(gvk, Strategy()),
        storage=stored.gvr if stored else None,
        to_storage=stored.to_storage if stored else None,
        from_storage=stored.from_storage if stored else None,
        is_stored=is_stored,
    )


def _subresource(resource: str, name: str, parent: Gvk) -> Subresource:
    special = _SUBRESOURCES.get(f"{resource}/{name}")
    if special is not None:
        return Subresource(name, *special)
    return Subresource(name, PART_VERBS, SCALE if name == "scale" else parent)


def _at(*path: str) -> Callable[[Object], str]:
    """The text at ``path``: empty when it is absent."""

    def value(obj: Object) -> str:
        found: object = obj
        for key in path:
            if not isinstance(found, dict):
                return ""
            found = found.get(key)
        return "" if found is None else str(found)

    return value


def _flag(*path: str) -> Callable[[Object], str]:
    """``true`` or ``false``, which it is when it is absent."""
    text = _at(*path)
    return lambda obj: "true" if text(obj) == "True" else "false"


def _number(*path: str) -> Callable[[Object], str]:
    text = _at(*path)
    return lambda obj: text(obj) or "0"


def _first_pod_ip(obj: Object) -> str:
    addresses = (obj.get("status") or {}).get("podIPs") or ()
    return str(addresses[0].get("ip", "")) if addresses else ""


def _core_event_source(obj: Object) -> str:
    return _at("source", "component")(obj) or _at("reportingComponent")(obj)


def _reference_fields(prefix: str, field: str) -> dict[str, Callable[[Object], str]]:
    names = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
    return {f"{prefix}.{name}": _at(field, name) for name in names}


#: What a field selector may name beyond metadata.name and metadata.namespace (upstream: ToSelectableFields and the
#: field label conversions of each version). The functions read the stored form.
_SELECTABLE: Mapping[tuple[str, str], Mapping[str, Callable[[Object], str]]] = {
    ("", "pods"): {
        "spec.nodeName": _at("spec", "nodeName"),
        "spec.restartPolicy": _at("spec", "restartPolicy"),
        "spec.schedulerName": _at("spec", "schedulerName"),
        "spec.serviceAccountName": _at("spec", "serviceAccountName"),
        "spec.hostNetwork": _flag("spec", "hostNetwork"),
        "status.phase": _at("status", "phase"),
        "status.podIP": _first_pod_ip,
        "status.podIPs": lambda obj: "",  # accepted upstream, and never set
        "status.nominatedNodeName": _at("status", "nominatedNodeName"),
        "spec.host": _at("spec", "nodeName"),  # what very old clients send
    },
    ("", "nodes"): {"spec.unschedulable": _flag("spec", "unschedulable")},
    ("", "namespaces"): {"status.phase": _at("status", "phase")},
    ("", "replicationcontrollers"): {"status.replicas": _number("status", "replicas")},
    ("", "secrets"): {"type": _at("type")},
    ("", "services"): {"spec.clusterIP": _at("spec", "clusterIP"), "spec.type": _at("spec", "type")},
    ("", "events"): {
        **_reference_fields("involvedObject", "involvedObject"),
        "reason": _at("reason"),
        "reportingComponent": _at("reportingComponent"),
        "source": _core_event_source,
        "type": _at("type"),
    },
    # On the stored form, which is the core group's: its records are what selectors are matched with.
    ("events.k8s.io", "events"): {
        **_reference_fields("regarding", "involvedObject"),
        "reason": _at("reason"),
        "reportingController": _at("reportingComponent"),
        "type": _at("type"),
    },
    ("batch", "jobs"): {"status.successful": _number("status", "succeeded")},
    ("certificates.k8s.io", "certificatesigningrequests"): {"spec.signerName": _at("spec", "signerName")},
    ("resource.k8s.io", "resourceslices"): {
        "spec.nodeName": _at("spec", "nodeName"),
        "spec.driver": _at("spec", "driver"),
    },
}

"""The built-in resources, against the discovery documents of a Kubernetes 1.36 API server."""

import pytest

from cybernetes.core.api.registry import Registry, builtin, builtin_resources
from cybernetes.core.api.resource import ALL_VERBS
from cybernetes.core.objects import PODS, Gvr

#: What a default server's discovery says: name, kind (with its group and version when they are others), n for
#: namespaced and c for cluster, verbs (* for all), short names, categories.
DISCOVERY = {
    "v1": """
        bindings Binding n create
        componentstatuses ComponentStatus c get,list cs
        configmaps ConfigMap n * cm
        endpoints Endpoints n * ep
        events Event n * ev
        limitranges LimitRange n * limits
        namespaces Namespace c create,delete,get,list,patch,update,watch ns
        namespaces/finalize Namespace c update
        namespaces/status Namespace c get,patch,update
        nodes Node c * no
        nodes/proxy NodeProxyOptions c create,delete,get,patch,update
        nodes/status Node c get,patch,update
        persistentvolumeclaims PersistentVolumeClaim n * pvc
        persistentvolumeclaims/status PersistentVolumeClaim n get,patch,update
        persistentvolumes PersistentVolume c * pv
        persistentvolumes/status PersistentVolume c get,patch,update
        pods Pod n * po [all]
        pods/attach PodAttachOptions n create,get
        pods/binding Binding n create
        pods/ephemeralcontainers Pod n get,patch,update
        pods/eviction policy/v1.Eviction n create
        pods/exec PodExecOptions n create,get
        pods/log Pod n get
        pods/portforward PodPortForwardOptions n create,get
        pods/proxy PodProxyOptions n create,delete,get,patch,update
        pods/resize Pod n get,patch,update
        pods/status Pod n get,patch,update
        podtemplates PodTemplate n *
        replicationcontrollers ReplicationController n * rc [all]
        replicationcontrollers/scale autoscaling/v1.Scale n get,patch,update
        replicationcontrollers/status ReplicationController n get,patch,update
        resourcequotas ResourceQuota n * quota
        resourcequotas/status ResourceQuota n get,patch,update
        secrets Secret n *
        serviceaccounts ServiceAccount n * sa
        serviceaccounts/token authentication.k8s.io/v1.TokenRequest n create
        services Service n * svc [all]
        services/proxy ServiceProxyOptions n create,delete,get,patch,update
        services/status Service n get,patch,update
    """,
    "apiregistration.k8s.io/v1": """
        apiservices APIService c * [api-extensions]
        apiservices/status APIService c get,patch,update
    """,
    "apps/v1": """
        controllerrevisions ControllerRevision n *
        daemonsets DaemonSet n * ds [all]
        daemonsets/status DaemonSet n get,patch,update
        deployments Deployment n * deploy [all]
        deployments/scale autoscaling/v1.Scale n get,patch,update
        deployments/status Deployment n get,patch,update
        replicasets ReplicaSet n * rs [all]
        replicasets/scale autoscaling/v1.Scale n get,patch,update
        replicasets/status ReplicaSet n get,patch,update
        statefulsets StatefulSet n * sts [all]
        statefulsets/scale autoscaling/v1.Scale n get,patch,update
        statefulsets/status StatefulSet n get,patch,update
    """,
    "events.k8s.io/v1": """
        events Event n * ev
    """,
    "authentication.k8s.io/v1": """
        selfsubjectreviews SelfSubjectReview c create
        tokenreviews TokenReview c create
    """,
    "authorization.k8s.io/v1": """
        localsubjectaccessreviews LocalSubjectAccessReview n create
        selfsubjectaccessreviews SelfSubjectAccessReview c create
        selfsubjectrulesreviews SelfSubjectRulesReview c create
        subjectaccessreviews SubjectAccessReview c create
    """,
    "autoscaling/v2": """
        horizontalpodautoscalers HorizontalPodAutoscaler n * hpa [all]
        horizontalpodautoscalers/status HorizontalPodAutoscaler n get,patch,update
    """,
    "autoscaling/v1": """
        horizontalpodautoscalers HorizontalPodAutoscaler n * hpa [all]
        horizontalpodautoscalers/status HorizontalPodAutoscaler n get,patch,update
    """,
    "batch/v1": """
        cronjobs CronJob n * cj [all]
        cronjobs/status CronJob n get,patch,update
        jobs Job n * [all]
        jobs/status Job n get,patch,update
    """,
    "certificates.k8s.io/v1": """
        certificatesigningrequests CertificateSigningRequest c * csr
        certificatesigningrequests/approval CertificateSigningRequest c get,patch,update
        certificatesigningrequests/status CertificateSigningRequest c get,patch,update
    """,
    "networking.k8s.io/v1": """
        ingressclasses IngressClass c *
        ingresses Ingress n * ing
        ingresses/status Ingress n get,patch,update
        ipaddresses IPAddress c * ip
        networkpolicies NetworkPolicy n * netpol
        servicecidrs ServiceCIDR c *
        servicecidrs/status ServiceCIDR c get,patch,update
    """,
    "policy/v1": """
        poddisruptionbudgets PodDisruptionBudget n * pdb
        poddisruptionbudgets/status PodDisruptionBudget n get,patch,update
    """,
    "rbac.authorization.k8s.io/v1": """
        clusterrolebindings ClusterRoleBinding c *
        clusterroles ClusterRole c *
        rolebindings RoleBinding n *
        roles Role n *
    """,
    "storage.k8s.io/v1": """
        csidrivers CSIDriver c *
        csinodes CSINode c *
        csistoragecapacities CSIStorageCapacity n *
        storageclasses StorageClass c * sc
        volumeattachments VolumeAttachment c *
        volumeattachments/status VolumeAttachment c get,patch,update
        volumeattributesclasses VolumeAttributesClass c * vac
    """,
    "admissionregistration.k8s.io/v1": """
        mutatingadmissionpolicies MutatingAdmissionPolicy c * [api-extensions]
        mutatingadmissionpolicybindings MutatingAdmissionPolicyBinding c * [api-extensions]
        mutatingwebhookconfigurations MutatingWebhookConfiguration c * [api-extensions]
        validatingadmissionpolicies ValidatingAdmissionPolicy c * [api-extensions]
        validatingadmissionpolicies/status ValidatingAdmissionPolicy c get,patch,update
        validatingadmissionpolicybindings ValidatingAdmissionPolicyBinding c * [api-extensions]
        validatingwebhookconfigurations ValidatingWebhookConfiguration c * [api-extensions]
    """,
    "apiextensions.k8s.io/v1": """
        customresourcedefinitions CustomResourceDefinition c * crd,crds [api-extensions]
        customresourcedefinitions/status CustomResourceDefinition c get,patch,update
    """,
    "scheduling.k8s.io/v1": """
        priorityclasses PriorityClass c * pc
    """,
    "coordination.k8s.io/v1": """
        leases Lease n *
    """,
    "node.k8s.io/v1": """
        runtimeclasses RuntimeClass c *
    """,
    "discovery.k8s.io/v1": """
        endpointslices EndpointSlice n *
    """,
    "resource.k8s.io/v1": """
        deviceclasses DeviceClass c *
        resourceclaims ResourceClaim n *
        resourceclaims/status ResourceClaim n get,patch,update
        resourceclaimtemplates ResourceClaimTemplate n *
        resourceslices ResourceSlice c *
    """,
    "flowcontrol.apiserver.k8s.io/v1": """
        flowschemas FlowSchema c *
        flowschemas/status FlowSchema c get,patch,update
        prioritylevelconfigurations PriorityLevelConfiguration c *
        prioritylevelconfigurations/status PriorityLevelConfiguration c get,patch,update
    """,
}


def described(name, kind, is_namespaced, verbs, short_names=(), categories=()):
    shown = "*" if tuple(sorted(verbs)) == ALL_VERBS else ",".join(sorted(verbs))
    parts = [name, kind, "n" if is_namespaced else "c", shown]
    if short_names:
        parts.append(",".join(short_names))
    if categories:
        parts.append(f"[{','.join(categories)}]")
    return " ".join(parts)


def lines_of(resource):
    yield described(
        resource.gvr.resource,
        resource.kind,
        resource.is_namespaced,
        resource.verbs,
        resource.short_names,
        resource.categories,
    )
    for part in resource.subresources.values():
        own = (part.gvk.group, part.gvk.version) == (resource.gvr.group, resource.gvr.version)
        kind = part.gvk.kind if own else f"{part.gvk.group}/{part.gvk.version}.{part.gvk.kind}"
        yield described(f"{resource.gvr.resource}/{part.name}", kind, resource.is_namespaced, part.verbs)


@pytest.mark.parametrize("group_version", DISCOVERY)
def test_the_resources_are_those_of_discovery(group_version):
    group, _, version = group_version.rpartition("/")
    found = [line for resource in builtin().of(group, version) for line in lines_of(resource)]
    assert sorted(found) == sorted(line.strip() for line in DISCOVERY[group_version].strip().splitlines())


def test_there_are_no_others():
    found = {f"{item.gvr.group}/{item.gvr.version}".removeprefix("/") for item in builtin().all()}
    assert found == set(DISCOVERY)


def test_groups_and_versions_are_in_order():
    groups = builtin().groups()
    assert next(iter(groups)) == ""
    assert groups["autoscaling"] == ("v2", "v1")


@pytest.mark.parametrize(
    ("gvr", "obj", "expected"),
    [
        (
            PODS,
            {
                "spec": {"nodeName": "n", "restartPolicy": "Always"},
                "status": {"phase": "Running", "podIPs": [{"ip": "1.2.3.4"}]},
            },
            {
                "spec.nodeName": "n",
                "spec.restartPolicy": "Always",
                "spec.schedulerName": "",
                "spec.serviceAccountName": "",
                "spec.hostNetwork": "false",
                "status.phase": "Running",
                "status.podIP": "1.2.3.4",
                "status.podIPs": "",
                "spec.host": "n",
                "status.nominatedNodeName": "",
            },
        ),
        (Gvr("", "v1", "nodes"), {"spec": {"unschedulable": True}}, {"spec.unschedulable": "true"}),
        (Gvr("", "v1", "secrets"), {"type": "Opaque"}, {"type": "Opaque"}),
        (Gvr("", "v1", "namespaces"), {"status": {"phase": "Active"}}, {"status.phase": "Active"}),
        (Gvr("batch", "v1", "jobs"), {"status": {"succeeded": 3}}, {"status.successful": "3"}),
        (Gvr("apps", "v1", "replicasets"), {"status": {"replicas": 2}}, {}),
        (Gvr("", "v1", "replicationcontrollers"), {"status": {"replicas": 2}}, {"status.replicas": "2"}),
        (
            Gvr("certificates.k8s.io", "v1", "certificatesigningrequests"),
            {"spec": {"signerName": "a.b/c"}},
            {"spec.signerName": "a.b/c"},
        ),
    ],
)
def test_fields_that_can_be_selected(gvr, obj, expected):
    fields = builtin().get(gvr).selectable_fields
    assert {path: read(obj) for path, read in fields.items()} == expected


def test_events_are_kept_once():
    events = builtin().get(Gvr("events.k8s.io", "v1", "events"))
    assert events.storage == Gvr("", "v1", "events")
    assert events.storage_prefix == builtin().get(events.storage).storage_prefix


def test_resources_come_and_go():
    registry = Registry(builtin_resources()[:3])
    generation = registry.generation
    pod = builtin().get(PODS)
    registry.add(pod)
    assert registry.get(PODS) is pod
    assert registry.by_kind(pod.gvk) is pod
    assert registry.generation > generation
    registry.remove(PODS)
    registry.remove(PODS)
    assert registry.get(PODS) is None
    assert registry.by_kind(pod.gvk) is None
    assert builtin().get(PODS) is pod


@pytest.mark.parametrize(
    ("group", "version", "plural", "prefix"),
    [
        ("", "v1", "pods", b"/registry/pods/"),
        ("apps", "v1", "deployments", b"/registry/deployments/"),
        ("", "v1", "services", b"/registry/services/specs/"),
        ("", "v1", "endpoints", b"/registry/services/endpoints/"),
        ("", "v1", "nodes", b"/registry/minions/"),
        ("", "v1", "replicationcontrollers", b"/registry/controllers/"),
        ("networking.k8s.io", "v1", "ingresses", b"/registry/ingress/"),
        ("coordination.k8s.io", "v1", "leases", b"/registry/leases/"),
        (
            "apiextensions.k8s.io",
            "v1",
            "customresourcedefinitions",
            b"/registry/apiextensions.k8s.io/customresourcedefinitions/",
        ),
    ],
)
def test_keys_are_laid_out_as_by_upstream(group: str, version: str, plural: str, prefix: bytes) -> None:
    assert builtin().get(Gvr(group, version, plural)).storage_prefix == prefix


def test_every_stored_resource_has_keys_of_its_own() -> None:
    homes = [resource for resource in builtin().all() if resource.is_stored and resource.storage is None]
    assert len({resource.storage_prefix for resource in homes}) == len(homes)

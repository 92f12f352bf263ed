"""One valid object of every kind that is kept."""

from __future__ import annotations

from typing import Any

from cybernetes.core.objects import Object


def kind(api_version: str, name: str, **parts: Any) -> Object:
    return {"apiVersion": api_version, "kind": name, "metadata": {"name": "x"}, **parts}


CONTAINER = {"name": "c", "image": "registry.example/c:1"}
POD = kind("v1", "Pod", spec={"containers": [CONTAINER]})
TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [CONTAINER]}}
SELECTOR = {"matchLabels": {"a": "b"}}
CLAIM_SPEC = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
RULE = {"operations": ["CREATE"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["pods"]}
HOOK = {
    "name": "a.example.com",
    "sideEffects": "None",
    "admissionReviewVersions": ["v1"],
    "clientConfig": {"service": {"name": "s", "namespace": "n"}},
    "rules": [RULE],
}
RBAC = "rbac.authorization.k8s.io/v1"
SUBJECT = {"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"}
_FLOW = "flowcontrol.apiserver.k8s.io/v1"
_ADMISSION = "admissionregistration.k8s.io/v1"
_POLICY = {"matchConstraints": {"resourceRules": [RULE]}}
_DEVICES = {"devices": {"requests": [{"name": "a", "exactly": {"deviceClassName": "x"}}]}}

DEPLOYMENT = kind("apps/v1", "Deployment", spec={"selector": SELECTOR, "template": TEMPLATE})
STATEFUL_SET = kind(
    "apps/v1",
    "StatefulSet",
    spec={
        "serviceName": "s",
        "selector": SELECTOR,
        "template": TEMPLATE,
        "volumeClaimTemplates": [{"metadata": {"name": "v"}, "spec": CLAIM_SPEC}],
    },
)
DAEMON_SET = kind("apps/v1", "DaemonSet", spec={"selector": SELECTOR, "template": TEMPLATE})
REPLICA_SET = kind("apps/v1", "ReplicaSet", spec={"selector": SELECTOR, "template": TEMPLATE})
REPLICATION_CONTROLLER = kind("v1", "ReplicationController", spec={"template": TEMPLATE})
JOB = kind("batch/v1", "Job", spec={"template": {"spec": {"restartPolicy": "Never", "containers": [CONTAINER]}}})
CRON_JOB = kind(
    "batch/v1",
    "CronJob",
    spec={"schedule": "*/5 * * * *", "jobTemplate": {"spec": JOB["spec"]}},
)
SERVICE = kind("v1", "Service", spec={"selector": {"a": "b"}, "ports": [{"port": 80}]})
CONFIG_MAP = kind("v1", "ConfigMap", data={"a": "b"})
SECRET = kind("v1", "Secret", stringData={"a": "b"})
NAMESPACE = kind("v1", "Namespace")
NODE = kind("v1", "Node", status={"capacity": {"cpu": "2", "pods": "110"}})
VOLUME = kind(
    "v1",
    "PersistentVolume",
    spec={"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}},
)
CLAIM = kind("v1", "PersistentVolumeClaim", spec=CLAIM_SPEC)
LIMIT_RANGE = kind("v1", "LimitRange", spec={"limits": [{"type": "Container", "max": {"cpu": "1"}}]})
QUOTA = kind("v1", "ResourceQuota", spec={"hard": {"pods": "10"}})
INGRESS = kind(
    "networking.k8s.io/v1",
    "Ingress",
    spec={
        "rules": [
            {
                "host": "a.example.com",
                "http": {
                    "paths": [
                        {
                            "path": "/",
                            "pathType": "Prefix",
                            "backend": {"service": {"name": "s", "port": {"number": 80}}},
                        }
                    ]
                },
            }
        ]
    },
)
NETWORK_POLICY = kind("networking.k8s.io/v1", "NetworkPolicy", spec={"podSelector": {}, "policyTypes": ["Ingress"]})
AUTOSCALER = kind(
    "autoscaling/v2",
    "HorizontalPodAutoscaler",
    spec={"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}},
)
CLUSTER_ROLE_BINDING = kind(
    RBAC, "ClusterRoleBinding", roleRef={"kind": "ClusterRole", "name": "r"}, subjects=[SUBJECT]
)
DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "foos.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "foos", "kind": "Foo"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}},
                    }
                },
                "subresources": {"status": {}},
                "additionalPrinterColumns": [{"name": "a", "type": "string", "jsonPath": ".spec.size"}],
            }
        ],
    },
}
WEBHOOKS = kind(_ADMISSION, "ValidatingWebhookConfiguration", webhooks=[HOOK])
VALIDATING_POLICY = kind(
    _ADMISSION, "ValidatingAdmissionPolicy", spec={**_POLICY, "validations": [{"expression": "true"}]}
)
API_SERVICE = {
    "apiVersion": "apiregistration.k8s.io/v1",
    "kind": "APIService",
    "metadata": {"name": "v1.example.com"},
    "spec": {
        "group": "example.com",
        "version": "v1",
        "groupPriorityMinimum": 100,
        "versionPriority": 100,
        "service": {"name": "a", "namespace": "b"},
    },
}
RESOURCE_CLAIM = kind("resource.k8s.io/v1", "ResourceClaim", spec=_DEVICES)
RESOURCE_SLICE = kind(
    "resource.k8s.io/v1",
    "ResourceSlice",
    spec={
        "driver": "gpu.example.com",
        "pool": {"name": "p", "resourceSliceCount": 1, "generation": 1},
        "nodeName": "n",
        "devices": [{"name": "d", "attributes": {"a": {"string": "x"}}, "capacity": {"m": {"value": "1Gi"}}}],
    },
)

#: All of them but CertificateSigningRequests, which need a key.
SAMPLES: list[Object] = [
    POD, DEPLOYMENT, STATEFUL_SET, DAEMON_SET, REPLICA_SET, REPLICATION_CONTROLLER, JOB, CRON_JOB, SERVICE, CONFIG_MAP,
    SECRET, NAMESPACE, NODE, VOLUME, CLAIM, LIMIT_RANGE, QUOTA, INGRESS, NETWORK_POLICY, AUTOSCALER,
    CLUSTER_ROLE_BINDING, DEFINITION, WEBHOOKS, VALIDATING_POLICY, API_SERVICE, RESOURCE_CLAIM, RESOURCE_SLICE,
    kind("v1", "PodTemplate", template=TEMPLATE),
    kind("v1", "ServiceAccount"),
    kind("v1", "Event", metadata={"name": "x", "namespace": "ns"}, involvedObject={"namespace": "ns"}),
    kind("v1", "Endpoints", subsets=[{"addresses": [{"ip": "10.1.2.3"}], "ports": [{"port": 80}]}]),
    kind("apps/v1", "ControllerRevision", revision=1, data={"a": 1}),
    kind("discovery.k8s.io/v1", "EndpointSlice", addressType="IPv4", endpoints=[{"addresses": ["10.1.2.3"]}]),
    kind("networking.k8s.io/v1", "IngressClass", spec={"controller": "example.com/c"}),
    {
        **kind("networking.k8s.io/v1", "IPAddress", spec={"parentRef": {"resource": "services", "name": "s"}}),
        "metadata": {"name": "10.0.0.1"},
    },
    kind("networking.k8s.io/v1", "ServiceCIDR", spec={"cidrs": ["10.0.0.0/16"]}),
    kind("policy/v1", "PodDisruptionBudget", spec={"minAvailable": "50%", "selector": SELECTOR}),
    kind("autoscaling/v1", "HorizontalPodAutoscaler", spec=AUTOSCALER["spec"]),
    kind(RBAC, "Role", rules=[{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]),
    kind(RBAC, "ClusterRole", rules=[{"verbs": ["get"], "nonResourceURLs": ["/healthz"]}]),
    kind(RBAC, "RoleBinding", roleRef={"kind": "Role", "name": "r"}, subjects=[SUBJECT]),
    kind("storage.k8s.io/v1", "StorageClass", provisioner="example.com/p"),
    kind("storage.k8s.io/v1", "VolumeAttributesClass", driverName="example.com", parameters={"a": "b"}),
    kind("storage.k8s.io/v1", "CSIDriver", spec={}),
    kind("storage.k8s.io/v1", "CSINode", spec={"drivers": [{"name": "d", "nodeID": "n"}]}),
    kind("storage.k8s.io/v1", "CSIStorageCapacity", storageClassName="s", capacity="1Gi"),
    kind(
        "storage.k8s.io/v1",
        "VolumeAttachment",
        spec={"attacher": "example.com", "nodeName": "n", "source": {"persistentVolumeName": "v"}},
    ),
    kind("scheduling.k8s.io/v1", "PriorityClass", value=1000),
    kind("node.k8s.io/v1", "RuntimeClass", handler="h"),
    kind("coordination.k8s.io/v1", "Lease", spec={"leaseDurationSeconds": 10}),
    kind(
        _FLOW,
        "FlowSchema",
        spec={
            "priorityLevelConfiguration": {"name": "p"},
            "matchingPrecedence": 500,
            "rules": [
                {
                    "subjects": [{"kind": "User", "user": {"name": "u"}}],
                    "resourceRules": [
                        {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"]}
                    ],
                }
            ],
        },
    ),
    kind(
        _FLOW,
        "PriorityLevelConfiguration",
        spec={"type": "Limited", "limited": {"limitResponse": {"type": "Reject"}}},
    ),
    kind(_ADMISSION, "MutatingWebhookConfiguration", webhooks=[HOOK]),
    kind(
        _ADMISSION,
        "MutatingAdmissionPolicy",
        spec={
            **_POLICY,
            "reinvocationPolicy": "Never",
            "mutations": [
                {"patchType": "JSONPatch", "jsonPatch": {"expression": "[JSONPatch{op: 'test', path: '/a'}]"}}
            ],
        },
    ),
    kind(_ADMISSION, "ValidatingAdmissionPolicyBinding", spec={"policyName": "p", "validationActions": ["Deny"]}),
    kind(_ADMISSION, "MutatingAdmissionPolicyBinding", spec={"policyName": "p"}),
    kind("resource.k8s.io/v1", "DeviceClass", spec={"selectors": [{"cel": {"expression": "true"}}]}),
    kind("resource.k8s.io/v1", "ResourceClaimTemplate", spec={"spec": _DEVICES}),
]  # fmt: skip

"""What is filled in, as clients see it in an answer."""

import pytest
import samples
from apiobjects import changed, read


def at(obj, path):
    for step in path.split("."):
        obj = obj[int(step)] if isinstance(obj, list) else obj[step.replace("/", ".")]
    return obj


FIELD = {"fieldRef": {"fieldPath": "metadata.name"}}


@pytest.mark.parametrize(
    ("sample", "changes", "expected"),
    [
        (
            samples.POD,
            {},
            {
                "spec.restartPolicy": "Always",
                "spec.dnsPolicy": "ClusterFirst",
                "spec.terminationGracePeriodSeconds": 30,
                "spec.schedulerName": "default-scheduler",
                "spec.enableServiceLinks": True,
                "spec.securityContext": {},
                "spec.containers.0.terminationMessagePath": "/dev/termination-log",
                "spec.containers.0.terminationMessagePolicy": "File",
                "spec.containers.0.imagePullPolicy": "IfNotPresent",
                "spec.containers.0.resources": {},
            },
        ),
        (samples.POD, {"spec.containers.0.image": "i"}, {"spec.containers.0.imagePullPolicy": "Always"}),
        (samples.POD, {"spec.containers.0.image": "i:latest"}, {"spec.containers.0.imagePullPolicy": "Always"}),
        (
            samples.POD,
            {"spec.containers.0.image": "i@sha256:" + "0" * 64},
            {"spec.containers.0.imagePullPolicy": "IfNotPresent"},
        ),
        (
            samples.POD,
            {"spec.containers.0.ports": [{"containerPort": 80}], "spec.hostNetwork": True},
            {"spec.containers.0.ports.0": {"containerPort": 80, "protocol": "TCP", "hostPort": 80}},
        ),
        (
            samples.POD,
            {"spec.containers.0.env": [{"name": "a", "valueFrom": FIELD}]},
            {"spec.containers.0.env.0.valueFrom.fieldRef": {"fieldPath": "metadata.name", "apiVersion": "v1"}},
        ),
        (
            samples.POD,
            {"spec.containers.0.livenessProbe": {"httpGet": {"port": 80}}},
            {
                "spec.containers.0.livenessProbe": {
                    "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
                    "timeoutSeconds": 1,
                    "periodSeconds": 10,
                    "successThreshold": 1,
                    "failureThreshold": 3,
                }
            },
        ),
        (
            samples.POD,
            {"spec.containers.0.resources": {"limits": {"cpu": "1", "memory": "1Gi"}}},
            {"spec.containers.0.resources.requests": {"cpu": "1", "memory": "1Gi"}},
        ),
        (
            samples.POD,
            {"spec.volumes": [{"name": "a", "secret": {"secretName": "s"}}, {"name": "b"}]},
            {"spec.volumes.0.secret.defaultMode": 420, "spec.volumes.1.emptyDir": {}},
        ),
        (
            samples.POD,
            {"spec.volumes": [{"name": "a", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]},
            {
                "spec.volumes.0.projected.defaultMode": 420,
                "spec.volumes.0.projected.sources.0.serviceAccountToken.expirationSeconds": 3600,
            },
        ),
        (samples.POD, {"spec.serviceAccountName": "a"}, {"spec.serviceAccount": "a"}),
        (
            samples.DEPLOYMENT,
            {},
            {
                "spec.replicas": 1,
                "spec.revisionHistoryLimit": 10,
                "spec.progressDeadlineSeconds": 600,
                "spec.strategy": {
                    "type": "RollingUpdate",
                    "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
                },
                "spec.template.spec.restartPolicy": "Always",
            },
        ),
        (
            samples.STATEFUL_SET,
            {},
            {
                "spec.podManagementPolicy": "OrderedReady",
                "spec.updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
                "spec.persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
                "spec.volumeClaimTemplates.0.spec.volumeMode": "Filesystem",
            },
        ),
        (
            samples.DAEMON_SET,
            {},
            {
                "spec.updateStrategy": {
                    "type": "RollingUpdate",
                    "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0},
                }
            },
        ),
        (
            samples.JOB,
            {},
            {
                "spec.completions": 1,
                "spec.parallelism": 1,
                "spec.backoffLimit": 6,
                "spec.completionMode": "NonIndexed",
                "spec.suspend": False,
                "spec.podReplacementPolicy": "TerminatingOrFailed",
            },
        ),
        (
            samples.CRON_JOB,
            {},
            {
                "spec.concurrencyPolicy": "Allow",
                "spec.suspend": False,
                "spec.successfulJobsHistoryLimit": 3,
                "spec.failedJobsHistoryLimit": 1,
            },
        ),
        (
            samples.SERVICE,
            {},
            {
                "spec.type": "ClusterIP",
                "spec.sessionAffinity": "None",
                "spec.internalTrafficPolicy": "Cluster",
                "spec.ports.0": {"port": 80, "protocol": "TCP", "targetPort": 80},
            },
        ),
        (
            samples.SERVICE,
            {"spec.type": "LoadBalancer"},
            {"spec.externalTrafficPolicy": "Cluster", "spec.allocateLoadBalancerNodePorts": True},
        ),
        (
            samples.SERVICE,
            {"spec.sessionAffinity": "ClientIP"},
            {"spec.sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}}},
        ),
        (samples.SECRET, {}, {"type": "Opaque", "data": {"a": "Yg=="}}),
        (samples.NAMESPACE, {}, {"metadata.labels": {"kubernetes.io/metadata.name": "x"}}),
        (samples.NODE, {}, {"status.allocatable": {"cpu": "2", "pods": "110"}}),
        (samples.VOLUME, {}, {"spec.persistentVolumeReclaimPolicy": "Retain", "spec.volumeMode": "Filesystem"}),
        (
            samples.LIMIT_RANGE,
            {},
            {"spec.limits.0.default": {"cpu": "1"}, "spec.limits.0.defaultRequest": {"cpu": "1"}},
        ),
        (
            samples.kind("discovery.k8s.io/v1", "EndpointSlice", addressType="IPv4", ports=[{"port": 1}], endpoints=[]),
            {},
            {"ports.0": {"port": 1, "name": "", "protocol": "TCP"}},
        ),
        (
            samples.kind("networking.k8s.io/v1", "NetworkPolicy", spec={"podSelector": {}, "egress": [{}]}),
            {},
            {"spec.policyTypes": ["Ingress", "Egress"]},
        ),
        (
            samples.AUTOSCALER,
            {},
            {
                "spec.minReplicas": 1,
                "spec.metrics.0.resource": {
                    "name": "cpu",
                    "target": {"type": "Utilization", "averageUtilization": 80},
                },
            },
        ),
        (
            {**samples.CLUSTER_ROLE_BINDING, "subjects": [{"kind": "ServiceAccount", "name": "a", "namespace": "n"}]},
            {},
            {"roleRef.apiGroup": "rbac.authorization.k8s.io"},
        ),
        (
            samples.kind("storage.k8s.io/v1", "StorageClass", provisioner="p"),
            {},
            {"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"},
        ),
        (
            samples.kind("storage.k8s.io/v1", "CSIDriver", spec={}),
            {},
            {
                "spec": {
                    "attachRequired": True,
                    "podInfoOnMount": False,
                    "storageCapacity": False,
                    "fsGroupPolicy": "ReadWriteOnceWithFSType",
                    "volumeLifecycleModes": ["Persistent"],
                    "requiresRepublish": False,
                    "seLinuxMount": False,
                }
            },
        ),
        (
            samples.DEFINITION,
            {},
            {
                "spec.names": {"plural": "foos", "kind": "Foo", "singular": "foo", "listKind": "FooList"},
                "spec.conversion": {"strategy": "None"},
            },
        ),
        (
            samples.WEBHOOKS,
            {},
            {
                "webhooks.0.failurePolicy": "Fail",
                "webhooks.0.matchPolicy": "Equivalent",
                "webhooks.0.timeoutSeconds": 10,
                "webhooks.0.namespaceSelector": {},
                "webhooks.0.clientConfig.service.port": 443,
                "webhooks.0.rules.0.scope": "*",
            },
        ),
        (samples.RESOURCE_CLAIM, {}, {"spec.devices.requests.0.exactly.allocationMode": "ExactCount"}),
        (
            samples.kind("scheduling.k8s.io/v1", "PriorityClass", value=1),
            {},
            {"preemptionPolicy": "PreemptLowerPriority"},
        ),
    ],
)
def test_defaults(sample, changes, expected):
    obj = read(changed(sample, changes))
    for path, value in expected.items():
        assert at(obj, path) == value, path


def test_what_was_given_stays():
    given = {"spec.replicas": 0, "spec.strategy": {"type": "Recreate"}, "spec.revisionHistoryLimit": 0}
    obj = read(changed(samples.DEPLOYMENT, given))
    assert obj["spec"]["replicas"] == 0
    assert obj["spec"]["strategy"] == {"type": "Recreate"}
    assert obj["spec"]["revisionHistoryLimit"] == 0

import pytest

from cybernetes.core.api import table
from cybernetes.core.api.registry import builtin
from cybernetes.core.clock import parse_time
from cybernetes.core.errors import ApiError
from cybernetes.core.objects import PODS, Gvr

NOW = parse_time("2026-05-01T12:00:00Z")
CREATED = "2026-05-01T11:55:00Z"  # five minutes ago


def resource(name, group="", version="v1"):
    return builtin().get(Gvr(group, version, name))


def obj(name="x", *, metadata=None, **parts):
    return {"metadata": {"name": name, "creationTimestamp": CREATED, **(metadata or {})}, **parts}


def row(name, group, thing, version="v1"):
    return table.row(resource(name, group, version), thing, NOW)


def headings(name, group="", version="v1", wide=True):
    return [each["name"] for each in table.columns(resource(name, group, version)) if wide or not each["priority"]]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"),
        (-1, "0s"),
        (0, "0s"),
        (0.9, "0s"),
        (59, "59s"),
        (119, "119s"),
        (120, "2m"),
        (125, "2m5s"),
        (599, "9m59s"),
        (600, "10m"),
        (659, "10m"),
        (3 * 3600 - 1, "179m"),
        (3 * 3600, "3h"),
        (3 * 3600 + 60, "3h1m"),
        (8 * 3600 - 1, "7h59m"),
        (8 * 3600, "8h"),
        (48 * 3600 - 1, "47h"),
        (48 * 3600, "2d"),
        (49 * 3600, "2d1h"),
        (8 * 86400 - 1, "7d23h"),
        (8 * 86400, "8d"),
        (2 * 365 * 86400 - 1, "729d"),
        (2 * 365 * 86400, "2y"),
        (2 * 365 * 86400 + 86400, "2y1d"),
        (8 * 365 * 86400 - 1, "7y364d"),
        (8 * 365 * 86400, "8y"),
        (9e9, "285y"),
    ],
)
def test_durations(seconds, text):
    assert table.human_duration(seconds) == text


def state(kind, **more):
    return {"state": {kind: more}}


def status(name="c", restarts=0, ready=False, last="", started=None, **rest):
    result = {"name": name, "restartCount": restarts, "ready": ready, **rest}
    if last:
        result["lastState"] = {"terminated": {"finishedAt": last}}
    if started is not None:
        result["started"] = started
    return result


def running(name="c", **more):
    return status(name, ready=True, **state("running"), **more)


def pod(
    containers=1, *, phase="Running", statuses=(), inits=(), init_statuses=(), conditions=(), metadata=None, **more
):
    spec = {"containers": [{"name": f"c{index}"} for index in range(containers)], **more.pop("spec", {})}
    if inits:
        spec["initContainers"] = list(inits)
    return obj(
        "p",
        metadata=metadata,
        spec=spec,
        status={
            "phase": phase,
            "containerStatuses": list(statuses),
            "initContainerStatuses": list(init_statuses),
            "conditions": [{"type": kind, "status": "True"} for kind in conditions],
            **more,
        },
    )


DELETED = {"deletionTimestamp": CREATED}
SIDECAR = {"name": "side", "restartPolicy": "Always"}
INIT = {"name": "i"}


@pytest.mark.parametrize(
    ("thing", "ready", "word", "restarts"),
    [
        (pod(phase="Pending"), "0/1", "Pending", "0"),
        (pod(statuses=[running()]), "1/1", "Running", "0"),
        (pod(2, statuses=[running(restarts=3), running()]), "2/2", "Running", "3"),
        (pod(statuses=[running(restarts=2, last="2026-05-01T11:58:00Z")]), "1/1", "Running", "2 (2m ago)"),
        (
            pod(
                2,
                statuses=[
                    running(restarts=1, last="2026-05-01T11:50:00Z"),
                    running(restarts=1, last="2026-05-01T11:58:20Z"),
                ],
            ),
            "2/2",
            "Running",
            "2 (100s ago)",
        ),
        (
            pod(statuses=[status(restarts=5, **state("waiting", reason="CrashLoopBackOff"))]),
            "0/1",
            "CrashLoopBackOff",
            "5",
        ),
        (pod(2, statuses=[running(), status(**state("waiting", reason="ErrImagePull"))]), "1/2", "ErrImagePull", "0"),
        (
            pod(2, statuses=[status(**state("waiting", reason="First")), status(**state("waiting", reason="Second"))]),
            "0/2",
            "First",
            "0",
        ),
        (
            pod(phase="Succeeded", statuses=[status(**state("terminated", exitCode=0, reason="Completed"))]),
            "0/1",
            "Completed",
            "0",
        ),
        (pod(phase="Failed", statuses=[status(**state("terminated", exitCode=2))]), "0/1", "ExitCode:2", "0"),
        (pod(phase="Failed", statuses=[status(**state("terminated", exitCode=137, signal=9))]), "0/1", "Signal:9", "0"),
        (
            pod(2, statuses=[status(**state("terminated", reason="Completed")), running()], conditions=["Ready"]),
            "1/2",
            "Running",
            "0",
        ),
        (pod(2, statuses=[status(**state("terminated", reason="Completed")), running()]), "1/2", "NotReady", "0"),
        (
            pod(
                2,
                statuses=[
                    status(**state("terminated", reason="Completed")),
                    status(**state("terminated", reason="Error", exitCode=1)),
                ],
            ),
            "0/2",
            "Error",
            "0",
        ),
        (pod(reason="Evicted", phase="Failed"), "0/1", "Evicted", "0"),
        (pod(metadata=DELETED, statuses=[running()]), "1/1", "Terminating", "0"),
        (pod(metadata=DELETED, reason="NodeLost"), "0/1", "Unknown", "0"),
        (pod(metadata=DELETED, phase="Succeeded"), "0/1", "Succeeded", "0"),
        # init containers
        (
            pod(phase="Pending", inits=[INIT, INIT], init_statuses=[status("i", **state("running"))]),
            "0/1",
            "Init:0/2",
            "0",
        ),
        (
            pod(
                phase="Pending",
                inits=[INIT, INIT],
                init_statuses=[
                    status("i", **state("terminated", exitCode=0)),
                    status("i", restarts=2, **state("waiting", reason="PodInitializing")),
                ],
            ),
            "0/1",
            "Init:1/2",
            "2",
        ),
        (
            pod(
                phase="Pending",
                inits=[INIT],
                init_statuses=[status("i", restarts=4, **state("waiting", reason="CrashLoopBackOff"))],
            ),
            "0/1",
            "Init:CrashLoopBackOff",
            "4",
        ),
        (
            pod(inits=[INIT], init_statuses=[status("i", **state("terminated", exitCode=3))]),
            "0/1",
            "Init:ExitCode:3",
            "0",
        ),
        (
            pod(inits=[INIT], init_statuses=[status("i", **state("terminated", exitCode=1, signal=6))]),
            "0/1",
            "Init:Signal:6",
            "0",
        ),
        (
            pod(inits=[INIT], init_statuses=[status("i", **state("terminated", exitCode=1, reason="Error"))]),
            "0/1",
            "Init:Error",
            "0",
        ),
        (
            pod(
                inits=[INIT],
                init_statuses=[status("i", restarts=3, **state("terminated", exitCode=0))],
                statuses=[running()],
            ),
            "1/1",
            "Running",
            "0",
        ),
        # sidecars
        (
            pod(
                inits=[SIDECAR],
                init_statuses=[status("side", ready=True, started=True, restarts=2, **state("running"))],
                statuses=[running(restarts=1)],
            ),
            "2/2",
            "Running",
            "3",
        ),
        (
            pod(inits=[SIDECAR], init_statuses=[status("side", started=False, **state("running"))]),
            "0/2",
            "Init:0/1",
            "0",
        ),
        # initialized once, though an init container runs again
        (
            pod(
                inits=[INIT],
                init_statuses=[status("i", **state("running"))],
                statuses=[running()],
                conditions=["Initialized"],
            ),
            "1/1",
            "Init:0/1",
            "0",
        ),
    ],
)
def test_pods(thing, ready, word, restarts):
    assert row("pods", "", thing)[:5] == ["p", ready, word, restarts, "5m"]


def test_a_gated_pod():
    thing = pod(phase="Pending")
    thing["status"]["conditions"] = [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]
    assert row("pods", "", thing)[2] == "SchedulingGated"


def test_the_wide_cells_of_a_pod():
    assert row("pods", "", pod())[5:] == ["<none>", "<none>", "<none>", "<none>"]
    thing = pod(
        spec={"nodeName": "n", "readinessGates": [{"conditionType": "a"}, {"conditionType": "b"}]},
        conditions=["a"],
        podIPs=[{"ip": "10.0.0.1"}, {"ip": "fd00::1"}],
        nominatedNodeName="m",
    )
    assert row("pods", "", thing)[5:] == ["10.0.0.1", "n", "m", "1/2"]


def test_pods_that_have_ended_are_marked():
    rendered = table.render(resource("pods"), [pod(phase="Succeeded"), pod(phase="Failed"), pod()], NOW)
    assert [each.get("conditions") for each in rendered["rows"]] == [
        [
            {
                "type": "Completed",
                "status": "True",
                "reason": "Succeeded",
                "message": "The pod has completed successfully.",
            }
        ],
        [{"type": "Completed", "status": "True", "reason": "Failed", "message": "The pod failed."}],
        None,
    ]


TEMPLATE = {
    "metadata": {"labels": {"b": "2", "a": "1"}},
    "spec": {
        "containers": [{"name": "c1", "image": "i1"}, {"name": "c2", "image": "i2"}],
        "nodeSelector": {"disk": "ssd"},
    },
}
SELECTOR = {"matchLabels": {"a": "1"}}
COMPLETE = {"conditions": [{"type": "Complete", "status": "True"}]}

CASES = [
    ("podtemplates", "", obj(template=TEMPLATE), ["x", "c1,c2", "i1,i2", "a=1,b=2"]),
    (
        "replicationcontrollers",
        "",
        obj(
            spec={"replicas": 3, "template": TEMPLATE, "selector": {"a": "1"}},
            status={"replicas": 2, "readyReplicas": 1},
        ),
        ["x", 3, 2, 1, "5m", "c1,c2", "i1,i2", "a=1"],
    ),
    (
        "replicasets",
        "apps",
        obj(spec={"replicas": 3, "template": TEMPLATE, "selector": SELECTOR}, status={"replicas": 2}),
        ["x", 3, 2, 0, "5m", "c1,c2", "i1,i2", "a=1"],
    ),
    (
        "deployments",
        "apps",
        obj(
            spec={"replicas": 3, "template": TEMPLATE, "selector": SELECTOR},
            status={"readyReplicas": 1, "updatedReplicas": 2, "availableReplicas": 1},
        ),
        ["x", "1/3", 2, 1, "5m", "c1,c2", "i1,i2", "a=1"],
    ),
    (
        "statefulsets",
        "apps",
        obj(spec={"replicas": 3, "template": TEMPLATE}, status={"readyReplicas": 1}),
        ["x", "1/3", "5m", "c1,c2", "i1,i2"],
    ),
    (
        "daemonsets",
        "apps",
        obj(
            spec={"template": TEMPLATE, "selector": SELECTOR},
            status={
                "desiredNumberScheduled": 5,
                "currentNumberScheduled": 4,
                "numberReady": 3,
                "updatedNumberScheduled": 2,
                "numberAvailable": 1,
            },
        ),
        ["x", 5, 4, 3, 2, 1, "disk=ssd", "5m", "c1,c2", "i1,i2", "a=1"],
    ),
    (
        "controllerrevisions",
        "apps",
        obj(
            revision=3,
            metadata={
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "controller": True}]
            },
        ),
        ["x", "statefulset.apps/web", 3, "5m"],
    ),
    ("controllerrevisions", "apps", obj(revision=3), ["x", "<none>", 3, "5m"]),
    (
        "jobs",
        "batch",
        obj(
            spec={"completions": 2, "template": TEMPLATE, "selector": SELECTOR},
            status={"succeeded": 1, "startTime": "2026-05-01T11:59:00Z"},
        ),
        ["x", "Running", "1/2", "60s", "5m", "c1,c2", "i1,i2", "a=1"],
    ),
    (
        "jobs",
        "batch",
        obj(
            spec={"parallelism": 3},
            status={"startTime": "2026-05-01T11:00:00Z", "completionTime": "2026-05-01T11:00:09Z", **COMPLETE},
        ),
        ["x", "Complete", "0/1 of 3", "9s", "5m", "", "", "<none>"],
    ),
    (
        "jobs",
        "batch",
        obj(spec={"parallelism": 1}, metadata=DELETED),
        ["x", "Terminating", "0/1", "", "5m", "", "", "<none>"],
    ),
    (
        "cronjobs",
        "batch",
        obj(
            spec={"schedule": "@daily", "suspend": False, "jobTemplate": {"spec": {"template": TEMPLATE}}},
            status={"active": [{}, {}], "lastScheduleTime": "2026-05-01T10:00:00Z"},
        ),
        ["x", "@daily", "<none>", "False", 2, "120m", "5m", "c1,c2", "i1,i2", "<none>"],
    ),
    (
        "cronjobs",
        "batch",
        obj(spec={"schedule": "@daily", "timeZone": "Etc/UTC"}),
        ["x", "@daily", "Etc/UTC", "<unset>", 0, "<none>", "5m", "", "", "<none>"],
    ),
    (
        "poddisruptionbudgets",
        "policy",
        obj(spec={"minAvailable": "50%"}, status={"disruptionsAllowed": 2}),
        ["x", "50%", "N/A", 2, "5m"],
    ),
    ("poddisruptionbudgets", "policy", obj(spec={"maxUnavailable": 0}), ["x", "N/A", "0", 0, "5m"]),
    (
        "services",
        "",
        obj(
            spec={
                "type": "ClusterIP",
                "clusterIPs": ["10.96.0.1"],
                "ports": [{"port": 80, "protocol": "TCP"}],
                "selector": {"a": "1"},
            }
        ),
        ["x", "ClusterIP", "10.96.0.1", "<none>", "80/TCP", "5m", "a=1"],
    ),
    (
        "services",
        "",
        obj(
            spec={
                "type": "NodePort",
                "clusterIPs": ["10.96.0.1"],
                "externalIPs": ["1.2.3.4"],
                "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}],
            }
        ),
        ["x", "NodePort", "10.96.0.1", "1.2.3.4", "80:30080/TCP,53/UDP", "5m", "<none>"],
    ),
    (
        "services",
        "",
        obj(spec={"type": "LoadBalancer", "clusterIPs": ["None"]}),
        ["x", "LoadBalancer", "None", "<pending>", "<none>", "5m", "<none>"],
    ),
    (
        "services",
        "",
        obj(
            spec={"type": "LoadBalancer", "externalIPs": ["9.9.9.9"]},
            status={"loadBalancer": {"ingress": [{"ip": "2.2.2.2"}, {"hostname": "a.example.org"}]}},
        ),
        ["x", "LoadBalancer", "<none>", "2.2.2.2,a.example.org,9.9.9.9", "<none>", "5m", "<none>"],
    ),
    (
        "services",
        "",
        obj(spec={"type": "ExternalName", "externalName": "example.org"}),
        ["x", "ExternalName", "<none>", "example.org", "<none>", "5m", "<none>"],
    ),
    ("endpoints", "", obj(), ["x", "<none>", "5m"]),
    (
        "endpoints",
        "",
        obj(subsets=[{"addresses": [{"ip": "1.1.1.1"}, {"ip": "fd00::1"}], "ports": [{"port": 80}, {"port": 81}]}]),
        ["x", "1.1.1.1:80,[fd00::1]:80,1.1.1.1:81 + 1 more...", "5m"],
    ),
    ("endpoints", "", obj(subsets=[{"addresses": [{"ip": "1.1.1.1"}]}]), ["x", "1.1.1.1", "5m"]),
    ("endpointslices", "discovery.k8s.io", obj(addressType="IPv4"), ["x", "IPv4", "<unset>", "<unset>", "5m"]),
    (
        "endpointslices",
        "discovery.k8s.io",
        obj(
            addressType="IPv4",
            ports=[{"port": 80}, {"name": "web"}, {}, {"port": 1}],
            endpoints=[{"addresses": ["1.1.1.1", "1.1.1.2"]}, {"addresses": ["1.1.1.3"]}, {"addresses": ["1.1.1.4"]}],
        ),
        ["x", "IPv4", "80,web,* + 1 more...", "1.1.1.1,1.1.1.2,1.1.1.3 + 1 more...", "5m"],
    ),
    (
        "ingresses",
        "networking.k8s.io",
        obj(
            spec={
                "rules": [{"host": "a"}, {"host": "b"}, {"host": "c"}, {"host": "d"}],
                "tls": [{}],
                "ingressClassName": "nginx",
            },
            status={"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}},
        ),
        ["x", "nginx", "a,b,c + 1 more...", "1.2.3.4", "80, 443", "5m"],
    ),
    ("ingresses", "networking.k8s.io", obj(spec={"rules": [{}]}), ["x", "<none>", "*", "", "80", "5m"]),
    (
        "ingressclasses",
        "networking.k8s.io",
        obj(
            metadata={"annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}},
            spec={"controller": "c", "parameters": {"apiGroup": "g", "kind": "K", "name": "n"}},
        ),
        ["x (default)", "c", "K.g/n", "5m"],
    ),
    ("networkpolicies", "networking.k8s.io", obj(spec={"podSelector": {}}), ["x", "<none>", "5m"]),
    (
        "networkpolicies",
        "networking.k8s.io",
        obj(spec={"podSelector": {"matchExpressions": [{"key": "k", "operator": "In", "values": ["b", "a"]}]}}),
        ["x", "k in (a,b)", "5m"],
    ),
    (
        "servicecidrs",
        "networking.k8s.io",
        obj(spec={"cidrs": ["10.0.0.0/8", "fd00::/64"]}),
        ["x", "10.0.0.0/8,fd00::/64", "5m"],
    ),
    (
        "ipaddresses",
        "networking.k8s.io",
        obj(spec={"parentRef": {"resource": "services", "namespace": "default", "name": "web"}}),
        ["x", "services/default/web", "5m"],
    ),
    (
        "nodes",
        "",
        obj(
            metadata={"labels": {"node-role.kubernetes.io/control-plane": "", "kubernetes.io/role": "etcd"}},
            spec={"unschedulable": True},
            status={
                "conditions": [{"type": "Ready", "status": "True"}],
                "addresses": [{"type": "InternalIP", "address": "1.1.1.1"}],
                "nodeInfo": {
                    "kubeletVersion": "v1.36.0",
                    "osImage": "Debian",
                    "kernelVersion": "6.1",
                    "architecture": "amd64",
                    "containerRuntimeVersion": "docker://27",
                },
            },
        ),
        [
            "x",
            "Ready,SchedulingDisabled",
            "control-plane,etcd",
            "5m",
            "v1.36.0",
            "1.1.1.1",
            "<none>",
            "Debian",
            "6.1 (amd64)",
            "docker://27",
        ],
    ),
    (
        "nodes",
        "",
        obj(status={"conditions": [{"type": "Ready", "status": "Unknown"}]}),
        ["x", "NotReady", "<none>", "5m", "", "<none>", "<none>", "<unknown>", "<unknown>", "<unknown>"],
    ),
    (
        "nodes",
        "",
        obj(),
        ["x", "Unknown", "<none>", "5m", "", "<none>", "<none>", "<unknown>", "<unknown>", "<unknown>"],
    ),
    ("namespaces", "", obj(status={"phase": "Active"}), ["x", "Active", "5m"]),
    (
        "events",
        "",
        obj(
            firstTimestamp="2026-05-01T11:00:00Z",
            lastTimestamp="2026-05-01T11:59:50Z",
            count=7,
            type="Warning",
            reason="Failed",
            message=" oops\n",
            involvedObject={"kind": "Pod", "name": "p", "fieldPath": "spec.containers{c}"},
            source={"component": "kubelet", "host": "n"},
        ),
        ["10s", "Warning", "Failed", "pod/p", "spec.containers{c}", "kubelet, n", "oops", "60m", 7, "x"],
    ),
    (
        "events",
        "",
        obj(
            eventTime="2026-05-01T11:58:00.123456Z",
            type="Normal",
            reason="R",
            involvedObject={"kind": "Node"},
            reportingComponent="c",
            series={"count": 4, "lastObservedTime": "2026-05-01T11:59:00.000000Z"},
        ),
        ["60s", "Normal", "R", "node", "", "c", "", "119s", 4, "x"],
    ),
    (
        "events",
        "events.k8s.io",
        obj(
            eventTime="2026-05-01T11:58:00.000000Z",
            note="hello",
            regarding={"kind": "Pod", "name": "p"},
            reportingController="c",
            reportingInstance="i",
        ),
        ["2m", "", "", "pod/p", "", "c, i", "hello", "2m", 1, "x"],
    ),
    ("events", "", obj(), ["<unknown>", "", "", "", "", "", "", "<unknown>", 1, "x"]),
    ("secrets", "", obj(type="Opaque", data={"a": "", "b": ""}), ["x", "Opaque", 2, "5m"]),
    ("configmaps", "", obj(data={"a": ""}, binaryData={"b": ""}), ["x", 2, "5m"]),
    ("serviceaccounts", "", obj(), ["x", "5m"]),
    (
        "componentstatuses",
        "",
        obj(conditions=[{"type": "Healthy", "status": "True", "message": "ok"}]),
        ["x", "Healthy", "ok", ""],
    ),
    (
        "resourcequotas",
        "",
        obj(status={"hard": {"limits.cpu": "2", "requests.cpu": "1", "pods": "10"}, "used": {"pods": "3"}}),
        ["x", "pods: 3/10, requests.cpu: 0/1", "limits.cpu: 0/2", "5m"],
    ),
    ("leases", "coordination.k8s.io", obj(spec={"holderIdentity": "me"}), ["x", "me", "5m"]),
    (
        "priorityclasses",
        "scheduling.k8s.io",
        obj(value=1000, globalDefault=True, preemptionPolicy="Never"),
        ["x", 1000, True, "5m", "Never"],
    ),
    ("runtimeclasses", "node.k8s.io", obj(handler="kata"), ["x", "kata", "5m"]),
    (
        "persistentvolumes",
        "",
        obj(
            spec={
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteMany", "ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain",
                "claimRef": {"namespace": "d", "name": "c"},
                "storageClassName": "fast",
                "volumeMode": "Filesystem",
            },
            status={"phase": "Bound"},
        ),
        ["x", "1Gi", "RWO,RWX", "Retain", "Bound", "d/c", "fast", "<unset>", "", "5m", "Filesystem"],
    ),
    (
        "persistentvolumeclaims",
        "",
        obj(spec={"resources": {"requests": {"storage": "1Gi"}}}, status={"phase": "Pending"}),
        ["x", "Pending", "", "", "", "", "<unset>", "5m", "<unset>"],
    ),
    (
        "persistentvolumeclaims",
        "",
        obj(
            metadata=DELETED,
            spec={
                "volumeName": "v",
                "storageClassName": "fast",
                "volumeAttributesClassName": "gold",
                "volumeMode": "Block",
            },
            status={"phase": "Bound", "capacity": {"storage": "2Gi"}, "accessModes": ["ReadWriteOncePod"]},
        ),
        ["x", "Terminating", "v", "2Gi", "RWOP", "fast", "gold", "5m", "Block"],
    ),
    (
        "storageclasses",
        "storage.k8s.io",
        obj(metadata={"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}, provisioner="p"),
        ["x (default)", "p", "Delete", "Immediate", False, "5m"],
    ),
    ("volumeattributesclasses", "storage.k8s.io", obj(driverName="d"), ["x", "d", "5m"]),
    (
        "volumeattachments",
        "storage.k8s.io",
        obj(
            spec={"attacher": "a", "nodeName": "n", "source": {"persistentVolumeName": "v"}}, status={"attached": True}
        ),
        ["x", "a", "v", "n", True, "5m"],
    ),
    ("csinodes", "storage.k8s.io", obj(spec={"drivers": [{}, {}]}), ["x", 2, "5m"]),
    (
        "csidrivers",
        "storage.k8s.io",
        obj(spec={"tokenRequests": [{"audience": "a"}, {"audience": "b"}], "volumeLifecycleModes": ["Persistent"]}),
        ["x", True, False, False, "a,b", False, "Persistent", "5m"],
    ),
    (
        "csidrivers",
        "storage.k8s.io",
        obj(spec={"attachRequired": False}),
        ["x", False, False, False, "<unset>", False, "<none>", "5m"],
    ),
    (
        "rolebindings",
        "rbac.authorization.k8s.io",
        obj(
            roleRef={"kind": "Role", "name": "r"},
            subjects=[
                {"kind": "User", "name": "u"},
                {"kind": "Group", "name": "g"},
                {"kind": "User", "name": "v"},
                {"kind": "ServiceAccount", "namespace": "n", "name": "s"},
            ],
        ),
        ["x", "Role/r", "5m", "u, v", "g", "n/s"],
    ),
    (
        "certificatesigningrequests",
        "certificates.k8s.io",
        obj(spec={"signerName": "s", "username": "u", "expirationSeconds": 3600}),
        ["x", "5m", "s", "u", "60m", "Pending"],
    ),
    (
        "certificatesigningrequests",
        "certificates.k8s.io",
        obj(
            spec={"username": "u"},
            status={"conditions": [{"type": "Approved"}, {"type": "Failed"}], "certificate": "YQ=="},
        ),
        ["x", "5m", "<none>", "u", "<none>", "Approved,Failed,Issued"],
    ),
    ("validatingwebhookconfigurations", "admissionregistration.k8s.io", obj(webhooks=[{}, {}]), ["x", 2, "5m"]),
    (
        "validatingadmissionpolicies",
        "admissionregistration.k8s.io",
        obj(spec={"validations": [{}], "paramKind": {"apiVersion": "g/v1", "kind": "K"}}),
        ["x", 1, "g/v1/K", "5m"],
    ),
    (
        "validatingadmissionpolicybindings",
        "admissionregistration.k8s.io",
        obj(spec={"policyName": "p", "paramRef": {"name": "n"}}),
        ["x", "p", "*/n", "5m"],
    ),
    (
        "flowschemas",
        "flowcontrol.apiserver.k8s.io",
        obj(
            spec={
                "priorityLevelConfiguration": {"name": "p"},
                "matchingPrecedence": 5,
                "distinguisherMethod": {"type": "ByUser"},
            }
        ),
        ["x", "p", 5, "ByUser", "5m", "?"],
    ),
    (
        "prioritylevelconfigurations",
        "flowcontrol.apiserver.k8s.io",
        obj(spec={"type": "Exempt"}),
        ["x", "Exempt", "<none>", "<none>", "<none>", "<none>", "5m"],
    ),
    (
        "prioritylevelconfigurations",
        "flowcontrol.apiserver.k8s.io",
        obj(
            spec={
                "type": "Limited",
                "limited": {
                    "nominalConcurrencyShares": 30,
                    "limitResponse": {
                        "type": "Queue",
                        "queuing": {"queues": 64, "handSize": 6, "queueLengthLimit": 50},
                    },
                },
            }
        ),
        ["x", "Limited", 30, 64, 6, 50, "5m"],
    ),
    (
        "apiservices",
        "apiregistration.k8s.io",
        obj(spec={}, status={"conditions": [{"type": "Available", "status": "True"}]}),
        ["x", "Local", "True", "5m"],
    ),
    (
        "apiservices",
        "apiregistration.k8s.io",
        obj(
            spec={"service": {"namespace": "n", "name": "s"}},
            status={"conditions": [{"type": "Available", "status": "False", "reason": "MissingEndpoints"}]},
        ),
        ["x", "n/s", "False (MissingEndpoints)", "5m"],
    ),
    ("deviceclasses", "resource.k8s.io", obj(), ["x", "5m"]),
    ("resourceclaims", "resource.k8s.io", obj(), ["x", "pending", "5m"]),
    (
        "resourceclaims",
        "resource.k8s.io",
        obj(metadata=DELETED, status={"allocation": {}, "reservedFor": [{}]}),
        ["x", "deleted,allocated,reserved", "5m"],
    ),
    ("resourceslices", "resource.k8s.io", obj(spec={"driver": "d", "pool": {"name": "p"}}), ["x", "", "d", "p", "5m"]),
    ("limitranges", "", obj(), ["x", CREATED]),
    ("clusterroles", "rbac.authorization.k8s.io", obj(), ["x", CREATED]),
    ("customresourcedefinitions", "apiextensions.k8s.io", obj(), ["x", CREATED]),
]


@pytest.mark.parametrize(("name", "group", "thing", "expected"), CASES)
def test_kinds(name, group, thing, expected):
    assert row(name, group, thing) == expected


HPA = "horizontalpodautoscalers"
REF = {"kind": "Deployment", "name": "web"}


@pytest.mark.parametrize(
    ("spec", "current", "text"),
    [
        ([], [], "<none>"),
        (
            [{"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 80}}}],
            [],
            "cpu: <unknown>/80%",
        ),
        (
            [{"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 80}}}],
            [
                {
                    "type": "Resource",
                    "resource": {"name": "cpu", "current": {"averageUtilization": 50, "averageValue": "5m"}},
                }
            ],
            "cpu: 50%/80%",
        ),
        (
            [{"type": "Resource", "resource": {"name": "memory", "target": {"averageValue": "1Gi"}}}],
            [{"type": "Resource", "resource": {"current": {"averageValue": "500Mi"}}}],
            "memory: 500Mi/1Gi",
        ),
        (
            [{"type": "Pods", "pods": {"target": {"averageValue": "100"}}}],
            [{"type": "Pods", "pods": {"current": {"averageValue": "50"}}}],
            "50/100",
        ),
        (
            [{"type": "Object", "object": {"target": {"value": "100"}}}],
            [{"type": "Object", "object": {"current": {"value": "50"}}}],
            "50/100",
        ),
        ([{"type": "External", "external": {"target": {"averageValue": "100"}}}], [], "<unknown>/100 (avg)"),
        (
            [{"type": "ContainerResource", "containerResource": {"name": "cpu", "target": {}}}],
            [],
            "cpu: <unknown>/<auto>",
        ),
        ([{"type": "Strange"}], [], "<unknown type>"),
        (
            [{"type": "Pods", "pods": {"target": {"averageValue": str(value)}}} for value in range(4)],
            [],
            "<unknown>/0, <unknown>/1 + 2 more...",
        ),
    ],
)
def test_autoscalers(spec, current, text):
    thing = obj(
        spec={"scaleTargetRef": REF, "metrics": spec, "maxReplicas": 5, "minReplicas": 2},
        status={"currentReplicas": 3, "currentMetrics": current},
    )
    assert row(HPA, "autoscaling", thing, "v2") == ["x", "Deployment/web", text, "2", 5, 3, "5m"]


def test_every_row_has_its_columns():
    for each in builtin().all():
        defined = table.columns(each)
        made = table.row(each, obj(), NOW)
        extra = 1 if each.gvr.resource == "ipaddresses" else 0  # upstream's too
        assert len(made) == len(defined) + extra, each.gvr
        assert all(column["description"] for column in defined)


def test_columns():
    assert headings("pods", wide=False) == ["Name", "Ready", "Status", "Restarts", "Age"]
    assert headings("pods")[5:] == ["IP", "Node", "Nominated Node", "Readiness Gates"]
    assert headings("events", wide=False) == ["Last Seen", "Type", "Reason", "Object", "Message"]
    first = table.columns(resource("replicasets", "apps"))[:2]
    assert [(each["type"], each["format"], each["priority"]) for each in first] == [
        ("string", "name", 0),
        ("integer", "", 0),
    ]
    assert table.columns(resource("limitranges"))[1]["type"] == "date"


def test_the_scale_of_anything():
    thing = obj(spec={"replicas": 3}, status={"replicas": 2})
    assert table.row(resource("deployments", "apps"), thing, NOW, "scale") == ["x", 3, 2, "5m"]


def test_a_table():
    thing = obj(data={"a": "b"})
    rendered = table.render(resource("configmaps"), [thing], NOW, metadata={"resourceVersion": "7"})
    assert {key: value for key, value in rendered.items() if key not in ("rows", "columnDefinitions")} == {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": "7"},
    }
    assert [each["name"] for each in rendered["columnDefinitions"]] == ["Name", "Data", "Age"]
    partial = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": thing["metadata"]}
    assert rendered["rows"] == [{"cells": ["x", 1, "5m"], "object": partial}]
    whole = table.render(resource("configmaps"), [thing], NOW, "Object", version="v1beta1", has_headers=False)
    assert whole["columnDefinitions"] == []
    assert whole["apiVersion"] == "meta.k8s.io/v1beta1"
    assert whole["rows"][0]["object"] == {"kind": "ConfigMap", "apiVersion": "v1", **thing}
    assert table.render(resource("configmaps"), [thing], NOW, "None")["rows"][0]["object"] is None


def test_flow_schemas_are_in_the_order_of_matching():
    things = [obj(name, spec={"matchingPrecedence": order}) for name, order in [("b", 2), ("c", 1), ("a", 2)]]
    rendered = table.render(resource("flowschemas", "flowcontrol.apiserver.k8s.io"), things, NOW)
    assert [each["cells"][0] for each in rendered["rows"]] == ["c", "a", "b"]


def test_include_object():
    assert [table.include_object(text) for text in ("", "Metadata", "Object", "None")] == [
        "Metadata",
        "Metadata",
        "Object",
        "None",
    ]
    with pytest.raises(ApiError) as caught:
        table.include_object("All")
    assert caught.value.code == 400
    assert caught.value.message == (
        "Unable to convert to Table as requested: includeObject: Invalid value: \"All\": must be 'Metadata', "
        "'Object', 'None', or empty"
    )


def test_kept_cells_grow_older():
    kept = table.cells(builtin().get(PODS), pod(statuses=[running(restarts=1, last=CREATED)]))
    assert table.shown(kept, NOW)[3:5] == ["1 (5m ago)", "5m"]
    assert table.shown(kept, NOW + 3600)[3:5] == ["1 (65m ago)", "65m"]

import pytest
import samples
from apiobjects import changed, made, matches, read, refusals, status_refusals, update_refusals

from cybernetes.core.api import strategies
from cybernetes.core.api.validation.podupdate import check_binding

POD = samples.POD
C = "spec.containers[0]"
LABEL = "a lowercase RFC 1123 label must consist…"


def with_container(**parts):
    return {"spec.containers.0": {**samples.CONTAINER, **parts}}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # names and metadata
        ({"metadata.name": "Web_1"}, ['metadata.name: Invalid value: "Web_1": a lowercase RFC 1123 subdomain…']),
        (
            {"metadata.labels": {"a b": "c d"}},
            [
                'metadata.labels: Invalid value: "a b": name part must consist of…',
                'metadata.labels: Invalid value: "c d": a valid label must be an empty string or consist of…',
            ],
        ),
        (
            {"metadata.finalizers": ["x y"]},
            [
                'metadata.finalizers: Invalid value: "x y": name part must consist of…',
                'metadata.finalizers[0]: Invalid value: "x y": name is neither a standard finalizer name…',
            ],
        ),
        (
            {"metadata.ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": ""}]},
            ['metadata.ownerReferences.uid: Invalid value: "": must not be empty'],
        ),
        (
            {"metadata.annotations": {"a": "x" * (256 * 1024)}},
            ["metadata.annotations: Too long: may not be more than 262144 bytes"],
        ),
        # containers
        ({"spec.containers": []}, ["spec.containers: Required value"]),
        (with_container(name="A"), [f'{C}.name: Invalid value: "A": {LABEL}']),
        (with_container(image=""), [f"{C}.image: Required value"]),
        (with_container(image=" x"), [f'{C}.image: Invalid value: " x": must not have leading or trailing whitespace']),
        (
            {"spec.containers": [samples.CONTAINER] * 2},
            ['spec.containers[1].name: Duplicate value: "c"'],
        ),
        (
            with_container(imagePullPolicy="Maybe"),
            [f'{C}.imagePullPolicy: Unsupported value: "Maybe": supported values: "Always", "IfNotPresent", "Never"'],
        ),
        (
            with_container(ports=[{"containerPort": 70000, "name": "http--x"}]),
            [
                f'{C}.ports[0].name: Invalid value: "http--x": must not contain consecutive hyphens',
                f"{C}.ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
            ],
        ),
        (
            with_container(ports=[{"containerPort": 80, "hostPort": 80}, {"containerPort": 81, "hostPort": 80}]),
            [f'{C}.ports[1].hostPort: Duplicate value: "TCP//80"'],
        ),
        (
            with_container(env=[{"name": "a=b"}, {"name": "x", "valueFrom": {}}]),
            [
                f'{C}.env[0].name: Invalid value: "a=b": a valid environment variable name must consist only of…',
                f'{C}.env[1].valueFrom: Invalid value: "": must specify one of: `fieldRef`, `resourceFieldRef`, …',
            ],
        ),
        (
            with_container(
                env=[{"name": "a", "value": "b", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]
            ),
            [f'{C}.env[0].valueFrom: Invalid value: "": may not be specified when `value` is not empty'],
        ),
        (
            with_container(env=[{"name": "a", "valueFrom": {"fieldRef": {"fieldPath": "spec.bad"}}}]),
            [f'{C}.env[0].valueFrom.fieldRef.fieldPath: Invalid value: "spec.bad": error converting fieldPath: field…'],
        ),
        (
            with_container(volumeMounts=[{"name": "nope", "mountPath": "/x"}]),
            [f'{C}.volumeMounts[0].name: Not found: "nope"'],
        ),
        (
            with_container(resources={"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}),
            [f'{C}.resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1'],
        ),
        (
            with_container(resources={"limits": {"example.com/gpu": "1500m"}}),
            [
                f'{C}.resources.limits[example.com/gpu]: Invalid value: "1500m": must be an integer',
                f'{C}.resources.requests[example.com/gpu]: Invalid value: "1500m": must be an integer',
            ],
        ),
        (
            with_container(livenessProbe={"successThreshold": 2}),
            [
                f"{C}.livenessProbe: Required value: must specify a handler type",
                f"{C}.livenessProbe.successThreshold: Invalid value: 2: must be 1",
            ],
        ),
        (
            with_container(livenessProbe={"httpGet": {"port": 0}, "exec": {"command": []}}),
            [
                f"{C}.livenessProbe.exec.command: Required value",
                f"{C}.livenessProbe.httpGet: Forbidden: may not specify more than 1 handler type",
            ],
        ),
        (
            with_container(securityContext={"runAsUser": -1, "capabilities": {"add": [""]}}),
            [f"{C}.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive"],
        ),
        (
            with_container(securityContext={"privileged": True, "allowPrivilegeEscalation": False}),
            [
                f"{C}.securityContext: Invalid value: …",
            ],
        ),
        # init containers and sidecars
        (
            {
                "spec.initContainers": [
                    {"name": "i", "image": "i", "lifecycle": {"preStop": {"exec": {"command": ["x"]}}}}
                ]
            },
            [
                "spec.initContainers[0].lifecycle: Forbidden: may not be set for init containers without"
                " restartPolicy=Always"
            ],
        ),
        (
            {
                "spec.initContainers": [
                    {
                        "name": "i",
                        "image": "i",
                        "restartPolicy": "Always",
                        "readinessProbe": {"httpGet": {"port": 80}},
                    }
                ]
            },
            [],
        ),
        ({"spec.initContainers": [samples.CONTAINER]}, ['spec.initContainers[0].name: Duplicate value: "c"']),
        (
            {"spec.ephemeralContainers": [{"name": "e", "image": "e"}]},
            ["spec.ephemeralContainers: Forbidden: cannot be set on create"],
        ),
        # volumes
        (
            {"spec.volumes": [{"name": "v", "emptyDir": {}, "hostPath": {"path": "/x"}}]},
            ["spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type"],
        ),
        ({"spec.volumes": [{"name": "v", "configMap": {}}]}, ["spec.volumes[0].configMap.name: Required value"]),
        (
            {"spec.volumes": [{"name": "v", "configMap": {"name": "c", "items": [{"key": "k", "path": "../x"}]}}]},
            ["spec.volumes[0].configMap.items[0].path: Invalid value: \"../x\": must not contain '..'"],
        ),
        ({"spec.volumes": [{"name": "v"}, {"name": "v"}]}, ['spec.volumes[1].name: Duplicate value: "v"']),
        # the rest of the spec
        (
            {"spec.restartPolicy": "Sometimes"},
            ['spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"'],
        ),
        (
            {"spec.dnsPolicy": "None"},
            ["spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"],
        ),
        (
            {"spec.dnsConfig": {"nameservers": ["x"]}},
            ['spec.dnsConfig.nameservers[0]: Invalid value: "x": must be a valid IP address, …'],
        ),
        (
            {"spec.tolerations": [{"operator": "Equal", "value": "x"}]},
            ['spec.tolerations[0].operator: Invalid value: "Equal": operator must be Exists when `key` is empty, …'],
        ),
        (
            {"spec.nodeName": "n", "spec.schedulingGates": [{"name": "g"}]},
            ["spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared"],
        ),
        (
            {"spec.topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "", "whenUnsatisfiable": "X"}]},
            [
                "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
                "spec.topologySpreadConstraints[0].topologyKey: Required value: can not be empty",
                'spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: "X": supported values: …',
            ],
        ),
        (
            {
                "spec.affinity": {
                    "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}
                }
            },
            [
                "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required"
                " value: must have at least one node selector term"
            ],
        ),
        (
            {"spec.activeDeadlineSeconds": 0},
            ["spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"],
        ),
        ({"spec.hostname": "A"}, [f'spec.hostname: Invalid value: "A": {LABEL}']),
        (
            {"spec.hostAliases": [{"ip": "x", "hostnames": ["A_"]}]},
            [
                'spec.hostAliases[0].ip: Invalid value: "x": must be a valid IP address, …',
                'spec.hostAliases[0].hostnames[0]: Invalid value: "A_": a lowercase RFC 1123 subdomain must…',
            ],
        ),
        ({"spec.os": {"name": "plan9"}}, ['spec.os: Unsupported value: "plan9": supported values: "linux", "windows"']),
        (
            {"spec.resourceClaims": [{"name": "r"}]},
            [
                'spec.resourceClaims[0]: Invalid value: {"name":"r"}: must specify one of: `resourceClaimName`,'
                " `resourceClaimTemplateName`"
            ],
        ),
        ({"spec.preemptionPolicy": "X"}, ['spec.preemptionPolicy: Unsupported value: "X": supported values: …']),
    ],
)
def test_refused(changes, expected):
    matches(refusals(changed(POD, changes)), expected)


def test_little_of_a_pod_may_change():
    pod = made(POD)
    assert update_refusals(changed(pod, {"spec.containers.0.image": "other:2"}), pod) == []
    assert update_refusals(changed(pod, {"metadata.labels": {"a": "b"}}), pod) == []
    tolerated = changed(pod, {"spec.tolerations": [{"key": "a", "operator": "Exists"}]})
    assert update_refusals(tolerated, pod) == []
    (text,) = update_refusals(changed(pod, {"spec.nodeName": "n"}), pod)
    assert text.startswith("spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`")
    (text,) = update_refusals(changed(pod, {"spec.containers": [samples.CONTAINER] * 2}), pod)[1:]
    assert text == "spec.containers: Forbidden: pod updates may not add or remove containers"


def test_a_gated_pod_may_be_placed_more_narrowly_and_gates_only_go():
    gated = made(changed(POD, {"spec.schedulingGates": [{"name": "g"}]}))
    assert update_refusals(changed(gated, {"spec.schedulingGates": None}), gated) == []
    assert update_refusals(changed(gated, {"spec.nodeSelector": {"a": "b"}}), gated) == []
    pod = made(POD)
    assert update_refusals(changed(pod, {"spec.schedulingGates": [{"name": "g"}]}), pod) == [
        "spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate 'g'"
    ]


def test_a_name_and_a_uid_stay():
    pod = made(POD)
    matches(
        update_refusals(changed(pod, {"metadata.uid": "u-2", "metadata.name": "y"}), pod),
        [
            'metadata.name: Invalid value: "y": field is immutable',
            'metadata.uid: Invalid value: "u-2": field is immutable',
        ],
    )


def test_a_pod_being_deleted_gets_no_finalizers():
    pod = changed(made(POD), {"metadata.deletionTimestamp": "2024-01-02T00:00:00Z"})
    more = changed(pod, {"metadata.finalizers": ["example.com/f"]})
    strategy = strategies.ALL[next(gvk for gvk in strategies.ALL if gvk.kind == "Pod")]
    (error,) = strategy.validate_update(more, pod)
    assert error.message == (
        "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers"
        ' []string{"example.com/f"}'
    )


def test_the_status_of_a_pod():
    pod = made(changed(POD, {"spec.nodeName": "n"}))
    addresses = {"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}]}
    (text,) = status_refusals(changed(pod, {"status": addresses}), pod)
    assert text.startswith("status.podIPs: Invalid value: ")
    assert text.endswith("may specify no more than one IP for each IP family")


def test_an_ephemeral_container_is_added_and_stays():
    part = strategies.PARTS[("", "pods", "ephemeralcontainers")]
    pod = made(POD)
    debug = {"name": "e", "image": "e"}
    more = read(changed(pod, {"spec.ephemeralContainers": [debug]}))
    assert part.check(more, pod) == []
    other = read(changed(pod, {"spec.ephemeralContainers": [{**debug, "image": "f"}]}))
    (error,) = part.check(other, more)
    assert error.path == "spec.ephemeralContainers"
    assert "existing ephemeral containers" in error.message


def test_a_resize_changes_amounts_and_nothing_else():
    part = strategies.PARTS[("", "pods", "resize")]
    amounts = {"requests": {"cpu": "1"}, "limits": {"cpu": "1"}}
    pod = made(changed(POD, with_container(resources=amounts)))
    larger = changed(pod, {"spec.containers.0.resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "2"}}})
    assert part.check(larger, pod) == []
    assert part.check(changed(larger, {"spec.containers.0.image": "other"}), pod)


def test_a_binding_names_a_node():
    assert [error.path for error in check_binding({"target": {"kind": "Pod"}})] == ["target.kind", "target.name"]
    assert check_binding({"target": {"kind": "Node", "name": "n"}}) == []

import base64

import pytest
import samples
from apiobjects import changed, matches, refusals, status_refusals, update_refusals

SERVICE = samples.SERVICE
LABEL = "a lowercase RFC 1123 label must consist…"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"metadata.name": "1st"}, []),  # since 1.36 a Service's name may start with a digit
        ({"metadata.name": "A"}, [f'metadata.name: Invalid value: "A": {LABEL}']),
        (
            {"spec.ports": [{"port": 80}, {"port": 80}]},
            [
                "spec.ports[0].name: Required value",
                "spec.ports[1].name: Required value",
                'spec.ports[1]: Duplicate value: {"Name":"","Protocol":"TCP","AppProtocol":null,"Port":80,'
                '"TargetPort":0,"NodePort":0}',
            ],
        ),
        ({"spec.ports": []}, ["spec.ports: Required value"]),
        (
            {"spec.ports.0.port": 0},
            [
                "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
                "spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive",
            ],
        ),
        ({"spec.type": "ExternalName"}, ["spec.externalName: Required value"]),
        (
            {"spec.type": "Foo"},
            [
                'spec.type: Unsupported value: "Foo": supported values: "ClusterIP", "ExternalName", "LoadBalancer",'
                ' "NodePort"'
            ],
        ),
        (
            {"spec.clusterIP": "300.1.1.1"},
            ['spec.clusterIPs[0]: Invalid value: "300.1.1.1": must be a valid IP address, (e.g. 10.9.8.7 or 2001:…'],
        ),
        (
            {"spec.clusterIP": "10.0.0.1", "spec.clusterIPs": ["10.0.0.1", "10.0.0.2"]},
            [
                'spec.clusterIPs: Invalid value: ["10.0.0.1","10.0.0.2"]: may specify no more than one IP for each IP'
                " family"
            ],
        ),
        (
            {"spec.externalIPs": ["127.0.0.1", "x", "010.0.0.1"]},
            [
                'spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8…',
                'spec.externalIPs[1]: Invalid value: "x": must be a valid IP address, …',
                'spec.externalIPs[2]: Invalid value: "010.0.0.1": must not have leading 0s',
            ],
        ),
        (
            {"spec.ports.0.nodePort": 30000},
            ["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
        ),
        (
            {"spec.sessionAffinity": "ClientIP", "spec.sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 0}}},
            [
                "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 0: must be greater than 0 and less"
                " than 86400"
            ],
        ),
        (
            {"spec.loadBalancerClass": "x"},
            ["spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'"],
        ),
        (
            {"spec.externalTrafficPolicy": "Local"},
            ['spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services'],
        ),
    ],
)
def test_services(changes, expected):
    matches(refusals(changed(SERVICE, changes)), expected)


def test_the_first_cluster_ip_stays():
    one = changed(SERVICE, {"spec.clusterIP": "10.0.0.1", "spec.clusterIPs": ["10.0.0.1"]})
    other = changed(SERVICE, {"spec.clusterIP": "10.0.0.2", "spec.clusterIPs": ["10.0.0.2"]})
    text = 'spec.clusterIPs[0]: Invalid value: ["10.0.0.2"]: may not change once set'
    assert update_refusals(other, one) == [text]
    assert update_refusals(SERVICE, one) == []  # what is left out was allocated before


def test_a_second_family_goes_only_when_it_is_said_to():
    two = changed(
        SERVICE,
        {
            "spec.clusterIP": "10.0.0.1",
            "spec.clusterIPs": ["10.0.0.1", "fd00::1"],
            "spec.ipFamilies": ["IPv4", "IPv6"],
            "spec.ipFamilyPolicy": "PreferDualStack",
        },
    )
    one = changed(two, {"spec.clusterIPs": ["10.0.0.1"], "spec.ipFamilies": ["IPv4"]})
    assert update_refusals(changed(one, {"spec.ipFamilyPolicy": "SingleStack"}), two) == []
    must = "must be set to 'SingleStack' when releasing the secondary"
    matches(
        update_refusals(one, two),
        [f'spec.ipFamilyPolicy: Invalid value: "PreferDualStack": {must} {what}' for what in ("clusterIP", "ipFamily")],
    )


def test_only_load_balancers_have_an_ingress():
    status = {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}
    matches(
        status_refusals(changed(SERVICE, {"status": status}), SERVICE),
        ["status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is 'LoadBalancer'"],
    )


@pytest.mark.parametrize(
    ("sample", "changes", "expected"),
    [
        (samples.CONFIG_MAP, {"data.a b": "x"}, ['data[a b]: Invalid value: "a b": a valid config key must consist…']),
        (
            samples.CONFIG_MAP,
            {"data": {"\\.\\.": "x"}},
            ["data[\\.\\.]: Invalid value: …"],
        ),
        (samples.CONFIG_MAP, {"data.a": "é" * (1 << 19)}, []),
        (samples.CONFIG_MAP, {"data.a": "é" * (1 << 19) + "x"}, ["[]: Too long: may not be more than 1048576 bytes"]),
        (
            samples.CONFIG_MAP,
            {"binaryData": {"a": "eA=="}},
            ['data[a]: Invalid value: "a": duplicate of key present in binaryData'],
        ),
        (
            samples.SECRET,
            {"data.b": base64.b64encode(b"x" * (1 << 20)).decode()},
            ["data: Too long: may not be more than 1048576 bytes"],
        ),
        (
            samples.SECRET,
            {"type": "kubernetes.io/tls"},
            ["data[tls.crt]: Required value", "data[tls.key]: Required value"],
        ),
        (
            samples.SECRET,
            {"type": "kubernetes.io/basic-auth"},
            ["data[username]: Required value", "data[password]: Required value"],
        ),
        (samples.SECRET, {"type": "kubernetes.io/ssh-auth"}, ["data[ssh-privatekey]: Required value"]),
        (
            samples.SECRET,
            {"type": "kubernetes.io/service-account-token"},
            ["metadata.annotations[kubernetes.io/service-account.name]: Required value"],
        ),
        (
            samples.SECRET,
            {"type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": "{x"}},
            [
                "data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": invalid character 'x' looking"
                " for beginning of object key string"
            ],
        ),
        (
            samples.SECRET,
            {"type": "kubernetes.io/dockercfg", "stringData": {".dockercfg": "[]"}},
            [
                'data[.dockercfg]: Invalid value: "<secret contents redacted>": json: cannot unmarshal array into Go'
                " value of type map[string]interface {}"
            ],
        ),
        (
            samples.NAMESPACE,
            {"spec": {"finalizers": ["foo"]}},
            [
                'spec.finalizers: Invalid value: "foo": name is neither a standard finalizer name nor is it fully'
                " qualified"
            ],
        ),
        (samples.NAMESPACE, {"metadata.name": "a.b"}, ['metadata.name: Invalid value: "a.b": must not contain dots']),
        (
            samples.NODE,
            {"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}] * 2}},
            [
                'metadata.taints[1]: Duplicate value: {"key":"a","effect":"NoSchedule"}: taints must be unique by key'
                " and effect pair"
            ],
        ),
        (
            samples.NODE,
            {"status.capacity": {"cpu": "-1"}, "status.allocatable": {"pods": "1500m"}},
            [
                'status.capacity.cpu: Invalid value: "-1": must be greater than or equal to 0',
                'status.allocatable.pods: Invalid value: "1500m": must be an integer',
            ],
        ),
        (
            samples.LIMIT_RANGE,
            {"spec.limits.0": {"type": "Container", "max": {"cpu": "1"}, "min": {"cpu": "2"}}},
            [
                'spec.limits[0].min[cpu]: Invalid value: "2": min value 2 is greater than max value 1',
                'spec.limits[0].defaultRequest[cpu]: Invalid value: "1": min value 2 is greater than default request…',
                'spec.limits[0].default[cpu]: Invalid value: "2": min value 2 is greater than default value 1',
            ],
        ),
        (
            samples.LIMIT_RANGE,
            {"spec.limits.0": {"type": "Pod", "default": {"cpu": "1"}}},
            ["spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'"],
        ),
        (
            samples.QUOTA,
            {"spec.scopes": ["BestEffort", "NotBestEffort"]},
            ['spec.scopes: Invalid value: ["BestEffort","NotBestEffort"]: conflicting scopes'],
        ),
        (
            samples.QUOTA,
            {"spec.hard": {"foo": "1"}},
            [
                'spec.hard[foo]: Invalid value: "foo": must be a standard resource type or fully qualified',
                'spec.hard[foo]: Invalid value: "foo": must be a standard resource for quota',
            ],
        ),
        (samples.VOLUME, {"spec.hostPath": None}, ["spec: Required value: must specify a volume type"]),
        (
            samples.VOLUME,
            {"spec.nfs": {"server": "a", "path": "/b"}},
            ["spec.nfs: Forbidden: may not specify more than 1 volume type"],
        ),
        (
            samples.VOLUME,
            {"spec.hostPath": None, "spec.local": {"path": "/a/../b"}},
            [
                "spec.local.path: Invalid value: \"/a/../b\": must not contain '..'",
                "spec.nodeAffinity: Required value: Local volume requires node affinity",
            ],
        ),
        (samples.CLAIM, {"spec.resources": {}}, ["spec.resources[storage]: Required value"]),
        (
            samples.CLAIM,
            {"spec.accessModes": ["ReadWriteOncePod", "ReadWriteOnce"]},
            ["spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes"],
        ),
        (
            samples.kind("v1", "Event", involvedObject={"namespace": "other"}),
            {},
            ['involvedObject.namespace: Invalid value: "other": does not match event.namespace'],
        ),
        (
            samples.kind("v1", "Endpoints"),
            {"subsets": [{"addresses": [{"ip": "127.0.0.1"}], "ports": [{"port": 0}]}, {}]},
            [
                'subsets[0].addresses[0].ip: Invalid value: "127.0.0.1": may not be in the loopback range…',
                "subsets[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
                "subsets[1]: Required value: must specify `addresses` or `notReadyAddresses`",
            ],
        ),
        (
            samples.kind("discovery.k8s.io/v1", "EndpointSlice", addressType="IPv4"),
            {
                "endpoints": [{"addresses": ["fd00::1"]}, {"addresses": []}],
                "ports": [{"name": "a"}, {"name": "a", "protocol": "X"}],
            },
            [
                'ports[1].name: Duplicate value: "a"',
                'ports[1].protocol: Unsupported value: "X": supported values: "SCTP", "TCP", "UDP"',
                'endpoints[0].addresses: Invalid value: "fd00::1": must be an IPv4 address',
                "endpoints[1].addresses: Required value: must contain at least 1 address",
            ],
        ),
        (
            samples.kind("v1", "PodTemplate", template={"spec": {"containers": []}}),
            {},
            ["template.spec.containers: Required value"],
        ),
    ],
)
def test_refused(sample, changes, expected):
    matches(refusals(changed(sample, changes)), expected)


@pytest.mark.parametrize("sample", [samples.CONFIG_MAP, samples.SECRET], ids=["ConfigMap", "Secret"])
def test_what_is_immutable_stays(sample):
    frozen = changed(sample, {"immutable": True})
    assert update_refusals(changed(frozen, {"metadata.labels": {"a": "b"}}), frozen) == []
    thawed = changed(sample, {"data": {"z": "eA=="}, "stringData": None})
    matches(
        update_refusals(thawed, frozen),
        [
            "immutable: Forbidden: field is immutable when `immutable` is set",
            "data: Forbidden: field is immutable when `immutable` is set",
        ],
    )


def test_the_type_of_a_secret_stays():
    old = changed(samples.SECRET, {"type": "Opaque"})
    assert update_refusals(changed(old, {"type": None}), old) == []
    assert update_refusals(changed(old, {"type": "x"}), old) == ['type: Invalid value: "x": field is immutable']


def test_the_source_of_a_volume_stays():
    (text,) = update_refusals(changed(samples.VOLUME, {"spec.hostPath.path": "/y"}), samples.VOLUME)
    assert text.startswith("spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after")
    assert '-  "path": "/x"' in text


def test_a_label_of_nodes_may_get_its_new_name_in_a_volume():
    def placed(key):
        term = {"matchExpressions": [{"key": key, "operator": "In", "values": ["z"]}]}
        return changed(samples.VOLUME, {"spec.nodeAffinity": {"required": {"nodeSelectorTerms": [term]}}})

    old, new = "failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"
    assert update_refusals(placed(new), placed(old)) == []
    (text,) = update_refusals(placed("other"), placed(old))
    assert text.endswith("field is immutable, except for updating from beta label to GA")


def test_a_claim_stays_but_for_its_size():
    (text,) = update_refusals(changed(samples.CLAIM, {"spec.accessModes": ["ReadWriteMany"]}), samples.CLAIM)
    assert text.startswith("spec: Forbidden: spec is immutable after creation except resources.requests and")


def test_a_namespace_is_terminating_when_it_is_deleted():
    new = changed(samples.NAMESPACE, {"status.phase": "Terminating"})
    assert status_refusals(new, samples.NAMESPACE) == [
        "status.Phase: Invalid value: \"Terminating\": may only be 'Active' if `deletionTimestamp` is empty"
    ]


def test_a_node_keeps_its_networks_and_provider():
    old = changed(samples.NODE, {"spec": {"podCIDRs": ["10.0.0.0/24"], "providerID": "a"}})
    new = changed(samples.NODE, {"spec": {"podCIDRs": ["10.0.1.0/24"], "providerID": "b"}})
    matches(
        update_refusals(new, old),
        [
            'spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid',
            'spec.providerID: Forbidden: node updates may not change providerID except from "" to valid',
        ],
    )

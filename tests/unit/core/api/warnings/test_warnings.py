import samples
from apiobjects import changed, warnings_of

from cybernetes.core.api.warnings import DEPRECATED
from cybernetes.core.objects import Gvk


def test_pods():
    container = {
        **samples.CONTAINER,
        "env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}, {"name": "A", "value": "$(A)x"}],
        "ports": [{"containerPort": 80, "name": "p"}, {"containerPort": 80, "hostIP": "1.2.3.4"}],
        "resources": {"limits": {"memory": "100m"}, "requests": {"memory": "0"}},
    }
    other = {"name": "d", "image": "i", "ports": [{"containerPort": 80, "name": "p"}]}
    pod = changed(
        samples.POD,
        {
            "metadata.name": "a.b",
            "metadata.annotations": {"security.alpha.kubernetes.io/sysctls": "x"},
            "spec.nodeSelector": {"beta.kubernetes.io/os": "linux"},
            "spec.containers": [container, other],
            "spec.volumes": [
                {"name": "v", "gitRepo": {"repository": "x"}},
                {
                    "name": "w",
                    "configMap": {"name": "q", "items": [{"key": "a", "path": "x"}, {"key": "b", "path": "x/y"}]},
                },
            ],
            "spec.imagePullSecrets": [{"name": "a"}, {"name": "a"}],
            "spec.hostAliases": [{"ip": "010.1.1.1"}],
            "spec.topologySpreadConstraints": [
                {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule"}
            ],
        },
    )
    first, second = "spec.containers[0]", "spec.containers[1]"
    assert warnings_of(pod) == [
        "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is"
        " recommended: [must not contain dots]",
        'spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use "kubernetes.io/os" instead',
        "spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in matching no pod",
        'metadata.annotations[security.alpha.kubernetes.io/sysctls]: non-functional in v1.11+; use the "sysctls"'
        " field instead",
        "spec.volumes[0].gitRepo: deprecated in v1.11, and disabled by default in v1.33+",
        'volume "w" (ConfigMap "q"): overlapping paths: "x/y" with "x"',
        'spec.imagePullSecrets[1].name: duplicate name "a"',
        f'{first}.resources.limits[memory]: fractional byte value "100m" is invalid, must be an integer',
        f'{first}.env[1]: hides previous definition of "A", which may be dropped when using apply',
        f"{first}.ports[1]: hostIP set without hostPort: "
        "{Name: HostPort:0 ContainerPort:80 Protocol:TCP HostIP:1.2.3.4}",
        f"{first}.ports[1]: overlapping port definition with {first}.ports[0]",
        f"{second}.ports[0]: duplicate port definition with {first}.ports[0]",
        f"{second}.ports[0]: overlapping port definition with {first}.ports[1]",
        f'{second}.ports[0]: duplicate port name "p" with {first}.ports[0], services and probes that select ports by'
        f" name will use {first}.ports[0]",
        'spec.hostAliases[0].ip: non-standard IP address "010.1.1.1" is invalid: use "10.1.1.1"',
    ]


def test_what_makes_pods_warns_of_its_template():
    deployment = changed(
        samples.DEPLOYMENT,
        {
            "metadata.name": "a.b",
            "spec.template.spec.volumes": [{"name": "v", "rbd": {"monitors": ["m"], "image": "i"}}],
        },
    )
    assert warnings_of(deployment) == [
        "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label"
        " is recommended: [must not contain dots]",
        "spec.template.spec.volumes[0].rbd: deprecated in v1.28, non-functional in v1.31+",
    ]
    assert warnings_of(changed(samples.STATEFUL_SET, {"spec.revisionHistoryLimit": -1})) == [
        "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended"
    ]


def test_others():
    service = changed(samples.SERVICE, {"spec.externalIPs": ["10.1.1.1"], "spec.externalName": "x"})
    assert warnings_of(service) == [
        "spec.externalIPs is deprecated and may no longer be implemented in some clusters",
        'spec.externalName is ignored when spec.type is not "ExternalName"',
    ]
    ingress = changed(samples.INGRESS, {"metadata.annotations": {"kubernetes.io/ingress.class": "x"}})
    assert warnings_of(ingress) == [
        "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead"
    ]
    quota = changed(samples.QUOTA, {"spec.hard": {"cpu": "3", "limits.cpu": "2"}})
    assert warnings_of(quota) == ["ResourceQuota cpu (3) should be less than limits.cpu (2)"]
    secret = changed(samples.SECRET, {"type": "kubernetes.io/tls"})
    assert warnings_of(secret) == ["tls: failed to find any PEM data in certificate input"]
    volume = changed(samples.VOLUME, {"spec.persistentVolumeReclaimPolicy": "Recycle"})
    assert len(warnings_of(volume)) == 1


def test_whole_kinds():
    assert "EndpointSlice" in DEPRECATED[Gvk("", "v1", "Endpoints")]


def test_many_ports_take_no_time():
    ports = [{"containerPort": 80}] * 5000
    assert warnings_of(changed(samples.POD, {"spec.containers.0.ports": ports}))

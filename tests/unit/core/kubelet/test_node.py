"""The node: its object, whom it admits, names and resolvers of its pods, and logs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from podhelpers import NOW, container, pod

from cybernetes.core.kubelet.admission import admit
from cybernetes.core.kubelet.hosts import (
    Resolver,
    hostname_and_domain,
    hosts_file,
    kernel_hostname,
    parse_resolv,
    pod_resolver,
)
from cybernetes.core.kubelet.logs import LogOptions, LogReader, format_line, log_time, parse_options, tail_offset
from cybernetes.core.kubelet.node import (
    Machine,
    NodeFacts,
    Pressure,
    has_changed,
    new_lease,
    new_node,
    node_status,
    transition_events,
)

MACHINE = Machine(cpus=4, memory=8 << 30, ephemeral_storage=100 << 30, hugepages={"2Mi": 64 << 20})


def facts(**fields):
    values = {
        "name": "n",
        "machine": MACHINE,
        "addresses": ["192.0.2.1"],
        "kubelet_port": 10250,
        "kubelet_version": "v1.36.0",
        "runtime": "docker://1",
    }
    return NodeFacts(**{**values, **fields})


def test_a_new_node():
    node = new_node(facts(), {"zone": "a"}, [{"key": "k", "effect": "NoSchedule"}], NOW)
    assert node["metadata"]["labels"]["kubernetes.io/hostname"] == "n" and node["metadata"]["labels"]["zone"] == "a"
    assert node["spec"]["taints"] == [{"key": "k", "effect": "NoSchedule"}]
    status = node["status"]
    assert status["capacity"] == {
        "cpu": "4",
        "memory": "8388608Ki",
        "ephemeral-storage": "104857600Ki",
        "pods": "110",
        "hugepages-2Mi": "65536Ki",
    }
    assert status["allocatable"]["memory"] == f"{8388608 - 65536}Ki"
    assert status["daemonEndpoints"] == {"kubeletEndpoint": {"Port": 10250}}
    assert status["addresses"] == [{"type": "InternalIP", "address": "192.0.2.1"}, {"type": "Hostname", "address": "n"}]
    assert [c["type"] for c in status["conditions"]] == ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"]
    assert [c["status"] for c in status["conditions"]] == ["False", "False", "False", "True"]


def test_what_is_reserved_is_not_allocatable():
    status = node_status(facts(reserved={"cpu": "500m", "memory": "1Gi", "pods": "200"}), {}, NOW)
    assert status["allocatable"]["cpu"] == "3500m" and status["allocatable"]["pods"] == "0"
    assert status["allocatable"]["memory"] == f"{7 * 1024 * 1024 - 65536}Ki"


def test_heartbeats_are_no_change():
    first = node_status(facts(), {}, NOW)
    second = node_status(facts(), first, NOW + 10)
    assert first != second and not has_changed(first, second)
    third = node_status(facts(pressure=Pressure(memory=True)), second, NOW + 20)
    assert has_changed(second, third)
    assert transition_events(second, third) == ["NodeHasInsufficientMemory"]
    fourth = node_status(facts(not_ready="the runtime is down"), third, NOW + 30)
    assert transition_events(third, fourth) == ["NodeHasSufficientMemory", "NodeNotReady"]
    ready = fourth["conditions"][-1]
    assert (ready["reason"], ready["message"]) == ("KubeletNotReady", "the runtime is down")


def test_what_others_put_into_the_status_stays():
    old = {
        "capacity": {"example.com/gpu": "2"},
        "conditions": [{"type": "NetworkUnavailable", "status": "False"}],
        "volumesAttached": [{"name": "v"}],
    }
    status = node_status(facts(), old, NOW)
    assert status["capacity"]["example.com/gpu"] == "2" and status["volumesAttached"]
    assert status["conditions"][0] == {"type": "NetworkUnavailable", "status": "False"}


def test_images_are_bounded():
    status = node_status(facts(images=[([f"i{n}:{t}" for t in range(9)], 1) for n in range(80)]), {}, NOW)
    assert len(status["images"]) == 50 and len(status["images"][0]["names"]) == 5


def test_a_lease_belongs_to_its_node():
    lease = new_lease("n", "uid", NOW)
    assert lease["metadata"]["namespace"] == "kube-node-lease" and lease["spec"]["leaseDurationSeconds"] == 40
    assert lease["metadata"]["ownerReferences"][0]["uid"] == "uid"
    assert lease["spec"]["renewTime"] == "2023-11-14T22:13:20.000000Z"


NODE = {
    "metadata": {"name": "n", "labels": {"kubernetes.io/os": "linux", "disk": "ssd", "n": "5"}},
    "spec": {},
    "status": {"allocatable": {"cpu": "2", "memory": "1Gi", "pods": "2"}},
}


def affinity(*terms):
    return {
        "affinity": {
            "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}
        }
    }


def expression(key, operator, *values):
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


@pytest.mark.parametrize(
    ("given_pod", "reason"),
    [
        (pod(), None),
        (pod(nodeSelector={"disk": "ssd"}), None),
        (pod(nodeSelector={"disk": "hdd"}), "NodeAffinity"),
        (pod(**affinity(expression("disk", "In", "hdd"), expression("n", "Gt", "4"))), None),
        (pod(**affinity(expression("disk", "NotIn", "ssd"))), "NodeAffinity"),
        (pod(**affinity({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]})), None),
        (pod(**affinity({})), "NodeAffinity"),
        (pod(nodeName="other"), "NodeName"),
        (pod(container(resources={"requests": {"cpu": "3"}})), "OutOfcpu"),
        (pod(container(resources={"requests": {"memory": "2Gi"}})), "OutOfmemory"),
        (pod(container(resources={"requests": {"example.com/x": "1"}})), None),
        (pod(metadata={"labels": {"kubernetes.io/os": "windows"}}), "PodOSSelectorNodeLabelDoesNotMatch"),
        (pod(os={"name": "windows"}), "PodOSNotSupported"),
    ],
)
def test_admission(given_pod, reason):
    refusal = admit(given_pod, NODE, [])
    assert (refusal.reason if refusal else None) == reason


def test_what_is_there_counts():
    big = pod(container(resources={"requests": {"cpu": "1500m"}}))
    refusal = admit(big, NODE, [big])
    assert refusal.message == "Node didn't have enough resource: cpu, requested: 1500, used: 1500, capacity: 2000"
    assert admit(pod(), NODE, [pod(), pod()]).reason == "OutOfpods"
    web = pod(container(ports=[{"containerPort": 80, "hostPort": 8080}]))
    local = pod(container(ports=[{"containerPort": 80, "hostPort": 8080, "hostIP": "127.0.0.1"}]))
    udp = pod(container(ports=[{"containerPort": 80, "hostPort": 8080, "protocol": "UDP"}]))
    assert admit(web, NODE, [local]).reason == "NodePorts" and admit(web, NODE, [udp]) is None


def test_taints():
    tainted = {**NODE, "spec": {"taints": [{"key": "k", "value": "v", "effect": "NoExecute"}]}}
    assert admit(pod(), tainted, []).reason == "TaintToleration"
    assert admit(pod(tolerations=[{"operator": "Exists"}]), tainted, []) is None
    assert admit(pod(metadata={"annotations": {"kubernetes.io/config.source": "file"}}), tainted, []) is None


def test_hostnames():
    assert hostname_and_domain(pod(), "c.local") == ("p", "")
    assert hostname_and_domain(pod(hostname="h", subdomain="s"), "c.local") == ("h", "s.ns.svc.c.local")
    long = pod(metadata={"name": "a" * 62 + "-b"})
    assert hostname_and_domain(long, "")[0] == "a" * 62
    assert kernel_hostname(pod(hostname="h", subdomain="s", setHostnameAsFQDN=True), "c.local") == "h.s.ns.svc.c.local"
    assert kernel_hostname(pod(hostname="h", subdomain="s"), "c.local") == "h"
    with pytest.raises(ValueError, match="is too long"):
        kernel_hostname(pod(hostname="h" * 50, subdomain="s" * 20, setHostnameAsFQDN=True), "c.local")


def test_the_hosts_file():
    aliases = [{"ip": "1.2.3.4", "hostnames": ["a", "b"]}]
    text = hosts_file(pod(hostname="h", subdomain="s", hostAliases=aliases), ["10.0.0.5", "fd00::5"], "c.local", "")
    assert text.startswith("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n")
    assert "10.0.0.5\th.s.ns.svc.c.local\th\nfd00::5\th.s.ns.svc.c.local\th\n" in text
    assert text.endswith("\n# Entries added by HostAliases.\n1.2.3.4\ta\tb\n")
    host = hosts_file(pod(hostNetwork=True), [], "c.local", "127.0.0.1 me\n")
    assert host == "# Kubernetes-managed hosts file (host network).\n127.0.0.1 me\n"


HOST = Resolver(("8.8.8.8",), ("example.com",), ("timeout:1",))


def resolver(given_pod, warnings=None, dns=("10.96.0.10",)):
    def warn(reason, message):
        if warnings is not None:
            warnings.append((reason, message))

    return pod_resolver(given_pod, host=HOST, cluster_dns=dns, cluster_domain="c.local", warn=warn)


def test_dns_policies():
    cluster = Resolver(("10.96.0.10",), ("ns.svc.c.local", "svc.c.local", "c.local", "example.com"), ("ndots:5",))
    assert resolver(pod()) == cluster
    assert resolver(pod(hostNetwork=True)) == HOST
    assert resolver(pod(hostNetwork=True, dnsPolicy="ClusterFirstWithHostNet")) == cluster
    assert resolver(pod(dnsPolicy="Default")) == HOST
    config = {
        "nameservers": ["1.1.1.1"],
        "searches": ["x"],
        "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
    }
    assert resolver(pod(dnsPolicy="None", dnsConfig=config)) == Resolver(("1.1.1.1",), ("x",), ("ndots:2", "edns0"))
    added = resolver(pod(dnsConfig=config))
    assert added.servers == ("10.96.0.10", "1.1.1.1") and added.options == ("ndots:2", "edns0")
    assert cluster.text() == (
        "search ns.svc.c.local svc.c.local c.local example.com\nnameserver 10.96.0.10\noptions ndots:5\n"
    )


def test_a_resolver_within_its_limits():
    warnings = []
    config = {"nameservers": ["1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4"], "searches": [f"s{n}" for n in range(40)]}
    result = resolver(pod(dnsPolicy="None", dnsConfig=config), warnings)
    assert len(result.servers) == 3 and len(result.searches) == 32
    assert [reason for reason, _ in warnings] == ["DNSConfigForming", "DNSConfigForming"]
    warnings.clear()
    assert resolver(pod(), warnings, dns=()) == HOST and warnings[0][0] == "MissingClusterDNS"


def test_reading_a_resolv_conf():
    text = "# c\nnameserver 1.1.1.1\nsearch a.\nsearch b. . c\nnameserver 2.2.2.2\noptions ndots:1 x\noptions ndots:3\n"
    assert parse_resolv(text) == Resolver(("1.1.1.1", "2.2.2.2"), ("b", "c"), ("ndots:3", "x"))


# Logs.

LINES = [
    format_line(NOW, "stdout", b"one"),
    format_line(NOW + 1, "stderr", b"two"),
    format_line(NOW + 2, "stdout", b"thr", is_partial=True),
    format_line(NOW + 2, "stdout", b"ee"),
]


def read(size=1, **options):
    reader = LogReader(LogOptions(**options))
    data = b"".join(LINES)
    return b"".join(reader.feed(data[start : start + size]) for start in range(0, len(data), size))


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_lines_are_put_together(size):
    assert read(size) == b"one\ntwo\nthree\n"


def test_choosing_lines():
    assert read(stream="stderr") == b"two\n"
    assert read(since=NOW + 0.5) == b"two\nthree\n"
    assert read(limit_bytes=5) == b"one\nt"
    at = log_time(NOW).encode()
    assert read(timestamps=True).startswith(at + b" one\n")
    assert read(timestamps=True).endswith(b"Z three\n")


@given(st.integers(0, 6), st.lists(st.binary(max_size=30).filter(lambda b: b"\n" not in b), max_size=6))
def test_the_tail_is_the_last_lines(count, lines):
    data = b"".join(line + b"\n" for line in lines)
    offset = tail_offset(len(data), lambda begin, length: data[begin : begin + length], count)
    assert data[offset:] == b"".join(line + b"\n" for line in (lines[-count:] if count else []))


def test_options_of_a_request():
    options = parse_options({"follow": "true", "tailLines": "5", "sinceSeconds": "60", "limitBytes": "9"}, NOW)
    assert options.follow and options.tail_lines == 5 and options.since == NOW - 60 and options.limit_bytes == 9
    assert parse_options({"tail": "all"}, NOW).tail_lines is None
    for bad in (
        {"tailLines": "-1"},
        {"tailLines": "x"},
        {"sinceSeconds": "0"},
        {"limitBytes": "0"},
        {"sinceTime": "x"},
        {"stream": "x"},
    ):
        with pytest.raises(ValueError):
            parse_options(bad, NOW)


def test_docker_s_logs_are_read_too():
    lines = (
        b'{"log":"one\\n","stream":"stdout","time":"2026-01-02T03:04:05.5Z"}\n'
        b'{"log":"par","stream":"stderr","time":"2026-01-02T03:04:06Z"}\n'
        b'{"log":"tial\\n","stream":"stderr","time":"2026-01-02T03:04:06Z"}\n'
        b'{"log":"broken\n'
    )
    assert LogReader(LogOptions()).feed(lines) == b"one\npartial\n"
    assert LogReader(LogOptions(stream="stderr")).feed(lines) == b"partial\n"
    assert LogReader(LogOptions(timestamps=True)).feed(lines).startswith(b"2026-01-02T03:04:05.5Z one\n")
    since = LogOptions(since=1767323046.0)  # 03:04:06
    assert LogReader(since).feed(lines) == b"partial\n"

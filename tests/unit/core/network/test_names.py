"""The Kubernetes DNS specification, question by question; the answers read by dnspython."""

from __future__ import annotations

from typing import Any

import dns.message
import dns.rcode
import pytest

from cybernetes.core.network import dnswire as wire
from cybernetes.core.network.names import NameIndex

Object = dict[str, Any]
TCP_HTTP = {"name": "http", "port": 80, "protocol": "TCP"}


def service(name: str, ips: list[str], ports: list[Object] | None = None, **spec: Any) -> Object:
    ip = ips[0] if ips else ""
    ports = [TCP_HTTP] if ports is None else ports
    fields = {"type": "ClusterIP", "clusterIP": ip, "clusterIPs": ips, "ports": ports, **spec}
    return {"metadata": {"name": name, "namespace": "testns"}, "spec": fields}


def endpoint_slice(of: str, endpoints: list[Object], ports: list[Object] | None = None) -> Object:
    return {
        "metadata": {"name": f"{of}-x", "namespace": "testns", "labels": {"kubernetes.io/service-name": of}},
        "addressType": "IPv4",
        "ports": [TCP_HTTP] if ports is None else ports,
        "endpoints": endpoints,
    }


HEADLESS = [
    endpoint_slice(
        "hdls",
        [
            {"addresses": ["172.0.0.2"]},
            {"addresses": ["172.0.0.3"], "conditions": {"ready": None}},
            {"addresses": ["172.0.0.4"], "hostname": "dup-name"},
            {"addresses": ["172.0.0.5"], "hostname": "Dup-Name", "conditions": {"ready": True}},
            {"addresses": ["172.0.0.9"], "conditions": {"ready": False}},
        ],
    ),
    {**endpoint_slice("hdls", [{"addresses": ["5678:abcd::1"]}]), "addressType": "IPv6"},
]


@pytest.fixture
def index() -> NameIndex:
    made = NameIndex(ttl_s=5, local_cidrs=["10.0.0.0/24", "172.0.0.0/16", "fd00::/64"], server_ip="10.0.0.53")
    made.serial = 1499347823
    made.put_namespace("testns")
    made.put(service("svc1", ["10.0.0.1"]), [])
    made.put(service("svc6", ["fd00::1"]), [])
    made.put(service("dual", ["10.0.0.3", "fd00::3"]), [])
    made.put(service("hdls", ["None"]), HEADLESS)
    made.put(
        service("none", ["None"]),
        [endpoint_slice("none", [{"addresses": ["172.0.1.1"], "conditions": {"ready": False}}])],
    )
    made.put(service("portless", ["None"], []), [endpoint_slice("portless", [{"addresses": ["172.0.2.1"]}], [])])
    made.put(service("pending", []), [])
    made.put({**service("ext", [""]), "spec": {"type": "ExternalName", "externalName": "ext.interwebs.test"}}, [])
    return made


def ask(index: NameIndex, name: str, kind: str) -> dns.message.Message | None:
    query = wire.read_query(dns.message.make_query(name, kind, use_edns=-1).to_wire())
    assert query is not None
    answer = index.lookup(query.key, query.type)
    return None if answer is None else dns.message.from_wire(wire.build(query, answer))


def texts(section: list[Any]) -> list[str]:
    return sorted(line for rrset in section for line in rrset.to_text().split("\n"))


ANSWERS = [
    ("svc1.testns.svc.cluster.local.", "A", ["5 IN A 10.0.0.1"]),
    ("SVC1.TestNS.svc.CLUSTER.local.", "A", ["5 IN A 10.0.0.1"]),
    ("svc1.testns.svc.cluster.local.", "SRV", ["5 IN SRV 0 100 80 svc1.testns.svc.cluster.local."]),
    ("_http._tcp.svc1.testns.svc.cluster.local.", "SRV", ["5 IN SRV 0 100 80 svc1.testns.svc.cluster.local."]),
    ("svc6.testns.svc.cluster.local.", "AAAA", ["5 IN AAAA fd00::1"]),
    ("dual.testns.svc.cluster.local.", "A", ["5 IN A 10.0.0.3"]),
    ("dual.testns.svc.cluster.local.", "AAAA", ["5 IN AAAA fd00::3"]),
    ("dual.testns.svc.cluster.local.", "SRV", ["5 IN SRV 0 50 80 dual.testns.svc.cluster.local."]),
    ("hdls.testns.svc.cluster.local.", "A", [f"5 IN A 172.0.0.{n}" for n in (2, 3, 4, 5)]),
    ("hdls.testns.svc.cluster.local.", "AAAA", ["5 IN AAAA 5678:abcd::1"]),
    ("172-0-0-2.hdls.testns.svc.cluster.local.", "A", ["5 IN A 172.0.0.2"]),
    ("5678-abcd--1.hdls.testns.svc.cluster.local.", "AAAA", ["5 IN AAAA 5678:abcd::1"]),
    ("dup-name.hdls.testns.svc.cluster.local.", "A", ["5 IN A 172.0.0.4", "5 IN A 172.0.0.5"]),
    (
        "_http._tcp.hdls.testns.svc.cluster.local.",
        "SRV",
        [
            f"5 IN SRV 0 20 80 {host}.hdls.testns.svc.cluster.local."
            for host in ("172-0-0-2", "172-0-0-3", "5678-abcd--1", "dup-name")
        ],
    ),
    ("portless.testns.svc.cluster.local.", "A", ["5 IN A 172.0.2.1"]),
    ("172-0-2-1.portless.testns.svc.cluster.local.", "A", ["5 IN A 172.0.2.1"]),
    ("ext.testns.svc.cluster.local.", "CNAME", ["5 IN CNAME ext.interwebs.test."]),
    ("ext.testns.svc.cluster.local.", "A", ["5 IN CNAME ext.interwebs.test."]),
    ("10-20-0-101.testns.pod.cluster.local.", "A", ["5 IN A 10.20.0.101"]),
    ("5678-abcd--2.testns.pod.cluster.local.", "AAAA", ["5 IN AAAA 5678:abcd::2"]),
    ("dns-version.cluster.local.", "TXT", ['28800 IN TXT "1.1.0"']),
    ("cluster.local.", "NS", ["5 IN NS ns.dns.cluster.local."]),
    (
        "cluster.local.",
        "SOA",
        ["5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1499347823 7200 1800 86400 5"],
    ),
    ("ns.dns.cluster.local.", "A", ["5 IN A 10.0.0.53"]),
    ("1.0.0.10.in-addr.arpa.", "PTR", ["5 IN PTR svc1.testns.svc.cluster.local."]),
    ("2.0.0.172.in-addr.arpa.", "PTR", ["5 IN PTR 172-0-0-2.hdls.testns.svc.cluster.local."]),
    ("4.0.0.172.in-addr.arpa.", "PTR", ["5 IN PTR dup-name.hdls.testns.svc.cluster.local."]),
    (
        "3" + ".0" * 27 + ".0.0.d.f.ip6.arpa.",
        "PTR",
        ["5 IN PTR dual.testns.svc.cluster.local."],
    ),
]


@pytest.mark.parametrize(("name", "kind", "expected"), ANSWERS)
def test_answers(index: NameIndex, name: str, kind: str, expected: list[str]) -> None:
    response = ask(index, name, kind)
    assert response is not None
    assert response.rcode() == dns.rcode.NOERROR
    assert texts(response.answer) == [f"{name} {line}" for line in expected]
    assert response.authority == []


@pytest.mark.parametrize(
    "name",
    [
        "svc0.testns.svc.cluster.local.",
        "svc1.nowhere.svc.cluster.local.",
        "nowhere.svc.cluster.local.",
        "foo.cluster.local.",
        "bogus.hdls.testns.svc.cluster.local.",
        "bogus.svc0.testns.svc.cluster.local.",
        "endpoint.ext.testns.svc.cluster.local.",
        "172-0-0-9.hdls.testns.svc.cluster.local.",
        "none.testns.svc.cluster.local.",  # headless without a ready endpoint
        "pending.testns.svc.cluster.local.",
        "_http._udp.svc1.testns.svc.cluster.local.",
        "_none._tcp.svc1.testns.svc.cluster.local.",
        "too._http._tcp.svc1.testns.svc.cluster.local.",
        "not-an-address.testns.pod.cluster.local.",
        "10-20-0-300.testns.pod.cluster.local.",
        "10-20-0-101.nowhere.pod.cluster.local.",
        "x.10-20-0-101.testns.pod.cluster.local.",
        "9.0.0.172.in-addr.arpa.",
        "200.0.0.10.in-addr.arpa.",
    ],
)
def test_names_that_do_not_exist(index: NameIndex, name: str) -> None:
    response = ask(index, name, "PTR" if name.endswith("arpa.") else "A")
    assert response is not None
    assert response.rcode() == dns.rcode.NXDOMAIN
    assert response.answer == []
    zone = "in-addr.arpa." if name.endswith("arpa.") else "cluster.local."
    soa = "ns.dns.cluster.local. hostmaster.cluster.local. 1499347823 7200 1800 86400 5"
    assert texts(response.authority) == [f"{zone} 5 IN SOA {soa}"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("svc1.testns.svc.cluster.local.", "AAAA"),
        ("svc1.testns.svc.cluster.local.", "SOA"),
        ("svc1.testns.svc.cluster.local.", "ANY"),
        ("_tcp.svc1.testns.svc.cluster.local.", "A"),  # there are names below it
        ("_http._tcp.svc1.testns.svc.cluster.local.", "TXT"),
        ("172-0-0-2.hdls.testns.svc.cluster.local.", "AAAA"),
        ("testns.svc.cluster.local.", "A"),
        ("testns.pod.cluster.local.", "A"),
        ("svc.cluster.local.", "NS"),
        ("pod.cluster.local.", "A"),
        ("dns.cluster.local.", "A"),
        ("cluster.local.", "A"),
        ("10-20-0-101.testns.pod.cluster.local.", "AAAA"),
        ("1.0.0.10.in-addr.arpa.", "A"),
    ],
)
def test_names_without_records_of_the_type(index: NameIndex, name: str, kind: str) -> None:
    response = ask(index, name, kind)
    assert response is not None
    assert response.rcode() == dns.rcode.NOERROR
    assert response.answer == []
    assert len(response.authority) == 1


@pytest.mark.parametrize(
    "name",
    ["example.com.", "local.", "xcluster.local.", "1.2.0.192.in-addr.arpa.", "0.10.in-addr.arpa.", "x.in-addr.arpa."],
)
def test_what_is_not_ours_is_left_to_others(index: NameIndex, name: str) -> None:
    assert ask(index, name, "A") is None
    assert not index.is_local(wire.name_of(name))


def test_the_addresses_behind_srv_come_along(index: NameIndex) -> None:
    response = ask(index, "_http._tcp.hdls.testns.svc.cluster.local.", "SRV")
    assert response is not None
    assert texts(response.additional) == sorted(
        [
            "172-0-0-2.hdls.testns.svc.cluster.local. 5 IN A 172.0.0.2",
            "172-0-0-3.hdls.testns.svc.cluster.local. 5 IN A 172.0.0.3",
            "5678-abcd--1.hdls.testns.svc.cluster.local. 5 IN AAAA 5678:abcd::1",
            "dup-name.hdls.testns.svc.cluster.local. 5 IN A 172.0.0.4",
            "dup-name.hdls.testns.svc.cluster.local. 5 IN A 172.0.0.5",
        ]
    )


def test_addresses_take_turns_being_first(index: NameIndex) -> None:
    firsts = set()
    for _ in range(4):
        response = ask(index, "hdls.testns.svc.cluster.local.", "A")
        assert response is not None
        firsts.add(str(response.answer[0][0]))
    assert len(firsts) == 4


def test_a_pod_behind_two_headless_services_has_two_names(index: NameIndex) -> None:
    index.put(service("other", ["None"]), [endpoint_slice("other", [{"addresses": ["172.0.0.2"], "hostname": "me"}])])
    response = ask(index, "2.0.0.172.in-addr.arpa.", "PTR")
    assert response is not None
    assert [line.split()[-1] for line in texts(response.answer)] == [
        "172-0-0-2.hdls.testns.svc.cluster.local.",
        "me.other.testns.svc.cluster.local.",
    ]


def test_what_is_gone_is_forgotten(index: NameIndex) -> None:
    for name in ("svc1", "hdls", "ext", "nobody"):
        index.discard(f"testns/{name}")
    index.discard_namespace("testns")
    for name in ("svc1.testns.svc.cluster.local.", "2.0.0.172.in-addr.arpa.", "testns.svc.cluster.local."):
        response = ask(index, name, "A")
        assert response is not None
        assert response.rcode() == dns.rcode.NXDOMAIN
    assert index.alias_of(wire.name_of("ext.testns.svc.cluster.local")) == b""


def test_a_service_that_changes_its_kind(index: NameIndex) -> None:
    index.put(service("svc1", ["None"]), [endpoint_slice("svc1", [{"addresses": ["172.0.3.1"]}])])
    response = ask(index, "svc1.testns.svc.cluster.local.", "A")
    assert response is not None
    assert texts(response.answer) == ["svc1.testns.svc.cluster.local. 5 IN A 172.0.3.1"]
    gone = ask(index, "1.0.0.10.in-addr.arpa.", "PTR")
    assert gone is not None
    assert gone.rcode() == dns.rcode.NXDOMAIN


def test_aliases_are_told(index: NameIndex) -> None:
    assert index.alias_of(wire.name_of("ext.testns.svc.cluster.local")) == wire.name_of("ext.interwebs.test")
    assert index.alias_of(wire.name_of("svc1.testns.svc.cluster.local")) == b""
    assert index.alias_of(wire.name_of("example.com")) == b""
    index.put({**service("bad", [""]), "spec": {"type": "ExternalName", "externalName": "a..b"}}, [])
    assert index.alias_of(wire.name_of("bad.testns.svc.cluster.local")) == b""


def test_another_zone() -> None:
    index = NameIndex("k8s.example.org")
    index.put(service("svc1", ["10.0.0.1"]), [])
    response = ask(index, "svc1.testns.svc.k8s.example.org.", "A")
    assert response is not None
    assert len(response.answer) == 1
    assert ask(index, "svc1.testns.svc.cluster.local.", "A") is None

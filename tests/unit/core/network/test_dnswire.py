"""DNS messages against dnspython, which wrote and reads the other side."""

from __future__ import annotations

import random
import struct

import dns.flags
import dns.message
import dns.name
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cybernetes.core.network import dnswire as wire

labels = st.text(st.sampled_from("abcXYZ019-_"), min_size=1, max_size=12)
names = st.lists(labels, max_size=6).map(".".join)


@settings(max_examples=200, deadline=None)
@given(
    names, st.integers(0, 65535), st.sampled_from(["A", "AAAA", "SRV", "PTR"]), st.booleans(), st.integers(512, 4096)
)
def test_queries_are_read_as_they_were_written(text: str, identity: int, kind: str, edns: bool, size: int) -> None:
    name = dns.name.from_text(text + ".")
    message = dns.message.make_query(name, kind, use_edns=0 if edns else -1, payload=size, want_dnssec=edns)
    message.id = identity
    query = wire.read_query(message.to_wire())
    assert query is not None
    assert query.rcode == wire.NOERROR
    assert (query.id, query.type, query.cls) == (identity, dns.rdatatype.from_text(kind), wire.IN)
    assert query.name == name.to_wire() == wire.name_of(text)
    assert query.key == query.name.lower()
    assert (query.has_edns, query.size, query.wants_dnssec) == (edns, size if edns else 512, edns)
    assert query.wants_recursion


def query_for(text: str, kind: str = "A", **options: object) -> wire.Query:
    read = wire.read_query(dns.message.make_query(text, kind, **options).to_wire())  # type: ignore[arg-type]
    assert read is not None
    return read


def test_a_response_is_what_dnspython_expects() -> None:
    query = query_for("WeB.default.svc.cluster.local", use_edns=0)
    answers = [wire.record(wire.OWNER, wire.A, 30, bytes([10, 0, 0, n])) for n in (1, 2)]
    soa = wire.record(wire.name_of("cluster.local"), wire.A, 5, b"\x01\x02\x03\x04")
    response = dns.message.from_wire(wire.build(query, wire.Answer(wire.NOERROR, answers, [soa])))
    assert response.id == query.id
    assert response.flags & dns.flags.AA and response.flags & dns.flags.RA and response.flags & dns.flags.RD
    assert response.question[0].name.to_text() == "WeB.default.svc.cluster.local."
    assert [str(item) for item in response.answer[0]] == ["10.0.0.1", "10.0.0.2"]
    assert response.answer[0].name.to_text() == "WeB.default.svc.cluster.local."
    assert response.authority[0].to_text() == "cluster.local. 5 IN A 1.2.3.4"
    assert response.edns == 0
    assert response.payload == wire.UDP_SIZE


def test_without_edns_none_is_answered() -> None:
    query = query_for("a.b", use_edns=-1)
    assert dns.message.from_wire(wire.build(query, wire.Answer(wire.NXDOMAIN))).edns == -1


def test_what_does_not_fit_is_cut_record_by_record() -> None:
    query = query_for("many.example", use_edns=-1)
    answers = [wire.record(wire.OWNER, wire.A, 30, struct.pack("!I", n)) for n in range(100)]
    extra = [wire.record(wire.OWNER, wire.TXT, 30, b"\x03abc")]
    data = wire.build(query, wire.Answer(wire.NOERROR, answers, (), extra), limit=512)
    assert len(data) <= 512
    response = dns.message.from_wire(data)
    assert response.flags & dns.flags.TC
    assert 0 < len(response.answer[0]) < 100
    whole = dns.message.from_wire(wire.build(query, wire.Answer(wire.NOERROR, answers, (), extra)))
    assert not whole.flags & dns.flags.TC
    assert len(whole.answer[0]) == 100


def test_additional_records_go_without_a_word() -> None:
    query = query_for("a.example", use_edns=-1)
    answers = [wire.record(wire.OWNER, wire.A, 30, b"\1\2\3\4")]
    extra = [wire.record(wire.OWNER, wire.TXT, 30, b"\xc8" + bytes(200)) for _ in range(5)]
    response = dns.message.from_wire(wire.build(query, wire.Answer(wire.NOERROR, answers, (), extra), limit=512))
    assert not response.flags & dns.flags.TC
    assert len(response.answer) == 1
    assert response.additional == []


@pytest.mark.parametrize(
    ("data", "rcode"),
    [
        (struct.pack("!HHHHHH", 7, 0x2800, 1, 0, 0, 0), wire.NOTIMP),  # an UPDATE
        (struct.pack("!HHHHHH", 7, 0, 0, 0, 0, 0), wire.FORMERR),  # no question
        (struct.pack("!HHHHHH", 7, 0, 2, 0, 0, 0) + b"\0\0\1\0\1" * 2, wire.FORMERR),
        (struct.pack("!HHHHHH", 7, 0, 1, 0, 0, 0) + b"\x03web", wire.FORMERR),
        (struct.pack("!HHHHHH", 7, 0, 1, 0, 0, 0) + b"\xc0\x0c\0\1\0\1", wire.FORMERR),
        (struct.pack("!HHHHHH", 7, 0, 1, 0, 0, 0) + b"\x3f" * 300, wire.FORMERR),
        (struct.pack("!HHHHHH", 7, 0, 1, 0, 0, 1) + b"\0\0\1\0\1" + b"\0\0\x29", wire.FORMERR),
        (struct.pack("!HHHHHH", 7, 0, 1, 0, 0, 1) + b"\0\0\1\0\1" + b"\0\0\x29\4\0\0\1\0\0\0\0", wire.BADVERS),
        (struct.pack("!HHHHHH", 7, 0, 1, 0, 0, 2) + b"\0\0\1\0\1" + b"\0\0\x29\4\0\0\0\0\0\0\0" * 2, wire.FORMERR),
    ],
)
def test_bad_queries_are_answered_with_what_is_wrong(data: bytes, rcode: int) -> None:
    query = wire.read_query(data)
    assert query is not None
    assert query.rcode == rcode
    response = dns.message.from_wire(wire.build(query, wire.Answer(query.rcode)))
    assert response.id == 7
    assert response.rcode() == rcode


@pytest.mark.parametrize("data", [b"", b"\0" * 11, struct.pack("!HHHHHH", 7, 0x8000, 1, 0, 0, 0) + b"\0\0\1\0\1"])
def test_what_is_no_query_gets_no_answer(data: bytes) -> None:
    assert wire.read_query(data) is None


def foreign_response() -> bytes:
    message = dns.message.make_response(dns.message.make_query("WWW.example.com", "A", use_edns=0))
    for owner, kind, value in [
        ("www.example.com.", "CNAME", "web.example.net."),
        ("web.example.net.", "A", "192.0.2.1"),
        ("web.example.net.", "MX", "10 mail.example.com."),
        ("web.example.net.", "SRV", "1 2 3 srv.example.com."),
        ("web.example.net.", "TXT", '"free text"'),
    ]:
        message.answer.append(dns.rrset.from_text(owner, 300, "IN", kind, value))
    soa = "ns.example.com. host.example.com. 1 2 3 4 60"
    message.authority.append(dns.rrset.from_text("example.com.", 900, "IN", "SOA", soa))
    return message.to_wire()


def test_broken_bytes_never_do_more_than_be_refused() -> None:
    chance = random.Random(7)
    seeds = [foreign_response(), dns.message.make_query("web.default.svc.cluster.local", "A", use_edns=0).to_wire()]
    for _ in range(20_000):
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.randint(1, 6)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        if chance.random() < 0.3:
            del data[chance.randrange(len(data)) :]
        query = wire.read_query(bytes(data))
        if query is not None:
            assert len(wire.build(query, wire.Answer(query.rcode), limit=512)) <= 512


@pytest.mark.parametrize("text", ["a..b", "x" * 64, ".".join(["x" * 60] * 5)])
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(wire.Malformed):
        wire.name_of(text)

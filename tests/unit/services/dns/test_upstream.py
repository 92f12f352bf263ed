"""Asking outside, against a resolver on loopback."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from cybernetes.core.clock import ManualClock, Random
from cybernetes.core.network import dnswire as wire
from cybernetes.services.dns import upstream as module
from cybernetes.services.dns.upstream import Unresolved, Upstream, read_servers

NAME = wire.name_of("www.example.com")


def upstream(clock: ManualClock, *servers: str, **options: Any) -> Upstream:
    return Upstream(clock, Random(1), resolv_conf=None, servers=servers, **options)


def addresses(*texts: str, ttl: int = 20) -> Any:
    def answering(query: dns.message.Message, by_udp: bool) -> dns.message.Message:
        response = dns.message.make_response(query)
        response.answer.append(dns.rrset.from_text(query.question[0].name, ttl, "IN", "A", *texts))
        return response

    return answering


async def test_an_answer_is_remembered_as_long_as_it_lives(resolver: Any) -> None:
    clock = ManualClock()
    asked = upstream(clock, resolver.address)
    resolver.answering = addresses("192.0.2.1", ttl=20)
    found = await asked.resolve(NAME, wire.A)
    assert found.rcode == wire.NOERROR
    assert found.answers[0].data == bytes([192, 0, 2, 1])
    clock.advance(15)
    assert (await asked.resolve(NAME, wire.A)) is found
    assert asked.cached(NAME, wire.A) is found
    answer = found.as_answer(NAME, clock.monotonic())
    assert answer.answers[0] == wire.record(wire.OWNER, wire.A, 5, bytes([192, 0, 2, 1]))
    assert not answer.is_authoritative
    clock.advance(5)
    assert asked.cached(NAME, wire.A) is None
    await asked.resolve(NAME, wire.A)
    assert len(resolver.queries) == 2
    await asked.close()


async def test_questions_are_not_predictable_and_ask_for_recursion(resolver: Any) -> None:
    asked = upstream(ManualClock(), resolver.address)
    for _ in range(5):
        await asked.resolve(NAME, wire.A)
    assert len({query.id for query in resolver.queries}) == 5
    assert all(query.flags & dns.flags.RD and query.edns == 0 for query in resolver.queries)


async def test_nothing_is_remembered_for_longer_than_the_bound(resolver: Any) -> None:
    clock = ManualClock()
    asked = upstream(clock, resolver.address)
    resolver.answering = addresses("192.0.2.1", ttl=86400)
    await asked.resolve(NAME, wire.A)
    clock.advance(module.CACHE_TTL_MAX_S)
    assert asked.cached(NAME, wire.A) is None


async def test_that_there_is_nothing_is_remembered_as_its_soa_says(resolver: Any) -> None:
    def answering(query: dns.message.Message, by_udp: bool) -> dns.message.Message:
        response = dns.message.make_response(query)
        response.set_rcode(dns.rcode.NXDOMAIN)
        response.authority.append(dns.rrset.from_text("example.com.", 600, "IN", "SOA", "a. b. 1 2 3 4 7"))
        return response

    clock = ManualClock()
    asked = upstream(clock, resolver.address)
    resolver.answering = answering
    assert (await asked.resolve(NAME, wire.A)).rcode == wire.NXDOMAIN
    clock.advance(6)
    assert asked.cached(NAME, wire.A) is not None
    clock.advance(1)
    assert asked.cached(NAME, wire.A) is None


async def test_a_failure_is_not_remembered(resolver: Any) -> None:
    def answering(query: dns.message.Message, by_udp: bool) -> dns.message.Message:
        response = dns.message.make_response(query)
        response.set_rcode(dns.rcode.SERVFAIL)
        return response

    asked = upstream(ManualClock(), resolver.address)
    resolver.answering = answering
    assert (await asked.resolve(NAME, wire.A)).rcode == wire.SERVFAIL
    assert asked.cached(NAME, wire.A) is None


async def test_the_longest_unused_answer_makes_room(resolver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CACHE_MAX", 2)
    asked = upstream(ManualClock(), resolver.address)
    resolver.answering = addresses("192.0.2.1")
    names = [wire.name_of(f"{letter}.example.com") for letter in "abc"]
    await asked.resolve(names[0], wire.A)
    await asked.resolve(names[1], wire.A)
    assert asked.cached(names[0], wire.A) is not None
    await asked.resolve(names[2], wire.A)
    assert [asked.cached(name, wire.A) is not None for name in names] == [True, False, True]


async def test_clients_that_ask_the_same_share_one_question(resolver: Any) -> None:
    asked = upstream(ManualClock(), resolver.address)
    await asyncio.gather(*(asked.resolve(NAME, wire.A) for _ in range(10)))
    assert len(resolver.queries) == 1


async def test_too_many_questions_are_refused(resolver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IN_FLIGHT_MAX", 3)
    asked = upstream(ManualClock(), resolver.address)
    resolver.answering = lambda query, by_udp: None
    waiting = [asyncio.ensure_future(asked.resolve(wire.name_of(f"x{n}"), wire.A)) for n in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(Unresolved, match="too many"):
        await asked.resolve(NAME, wire.A)
    await asked.close()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_truncated_answer_is_asked_for_by_tcp(resolver: Any) -> None:
    def answering(query: dns.message.Message, by_udp: bool) -> dns.message.Message:
        if not by_udp:
            return addresses("192.0.2.9")(query, by_udp)
        response = dns.message.make_response(query)
        response.flags |= dns.flags.TC
        return response

    resolver.answering = answering
    found = await upstream(ManualClock(), resolver.address).resolve(NAME, wire.A)
    assert found.answers[0].data == bytes([192, 0, 2, 9])


async def test_answers_to_other_questions_are_passed_over(resolver: Any) -> None:
    def answering(query: dns.message.Message, by_udp: bool) -> None:
        other = dns.message.make_response(dns.message.make_query("evil.example.com", "A"))
        other.id = query.id
        resolver.udp.sendto(other.to_wire(), client[0])
        wrong = dns.message.make_response(query)
        wrong.id = query.id ^ 1
        resolver.udp.sendto(wrong.to_wire(), client[0])
        resolver.udp.sendto(b"\0garbage", client[0])
        resolver.udp.sendto(addresses("192.0.2.1")(query, True).to_wire(), client[0])

    client: list[Any] = []
    receive = resolver.datagram_received

    def received(data: bytes, address: Any) -> None:
        client[:] = [address]
        receive(data, address)

    resolver.datagram_received = received
    resolver.answering = answering
    found = await upstream(ManualClock(), resolver.address).resolve(NAME, wire.A)
    assert found.answers[0].data == bytes([192, 0, 2, 1])


async def test_a_server_that_does_not_answer_is_followed_by_the_next(
    resolver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TIMEOUT_S", 0.05)
    resolver.answering = addresses("192.0.2.1")
    nobody = "127.0.0.1#9"  # refused at once
    silent = "127.0.0.2#9"
    found = await upstream(ManualClock(), nobody, silent, resolver.address).resolve(NAME, wire.A)
    assert len(found.answers) == 1
    with pytest.raises(Unresolved, match=r"127\.0\.0\.1#9"):
        await upstream(ManualClock(), nobody).resolve(NAME, wire.A)
    with pytest.raises(Unresolved, match="no resolver"):
        await upstream(ManualClock()).resolve(NAME, wire.A)


async def test_a_stub_domain_has_its_own_servers(resolver: Any) -> None:
    resolver.answering = addresses("192.0.2.1")
    asked = upstream(ManualClock(), "127.0.0.1#9", stub_domains={"corp.test": [resolver.address]})
    for name in ("corp.test", "www.corp.test"):
        assert len((await asked.resolve(wire.name_of(name), wire.A)).answers) == 1
    with pytest.raises(Unresolved):
        await asked.resolve(wire.name_of("www.notcorp.test"), wire.A)


async def test_the_hosts_resolvers_are_read_again_and_never_ourselves(tmp_path: Path, resolver: Any) -> None:
    file = tmp_path / "resolv.conf"
    clock = ManualClock()
    asked = Upstream(clock, Random(1), resolv_conf=file, own_addresses=["10.96.0.10"])
    with pytest.raises(Unresolved, match="no resolver"):
        await asked.resolve(NAME, wire.A)
    file.write_text(f"search x\nnameserver 10.96.0.10\nnameserver {resolver.address}\n")
    clock.advance(module.RELOAD_S)
    await asked.resolve(NAME, wire.A)
    assert len(resolver.queries) == 1


def test_which_lines_name_servers(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text("# nameserver 1.1.1.1\nnameserver 192.0.2.53\nnameserver fe80::1%eth0\nnameserver\noptions x\n")
    assert read_servers(file) == ("192.0.2.53", "fe80::1")
    assert read_servers(tmp_path / "none") == ()

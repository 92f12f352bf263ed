"""Names outside of the cluster: asked of the host's resolvers, remembered for a while.

Bounded everywhere: so many questions on the way (beyond that SERVFAIL), so many answers remembered (the longest unused
goes), each server given so long, each tried once. Clients that ask the same at the same time share one question.

dnspython asks and reads the answers: every question has a random id and a socket, so a port, of its own; an answer must
come from the server asked and repeat the question, or it is passed over.
"""

from __future__ import annotations

import asyncio
import struct
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import dns.asyncbackend
import dns.asyncquery
import dns.message
import dns.name
import dns.rdatatype
import dns.rrset
from dns.exception import DNSException

from cybernetes.core.clock import Clock, Random
from cybernetes.core.network import dnswire as wire

PORT = 53
TIMEOUT_S = 2.0
IN_FLIGHT_MAX = 1000
CACHE_MAX = 10_000
#: Nothing is remembered for longer, as kubeadm configures CoreDNS.
CACHE_TTL_MAX_S = 30
#: How often the file with the host's resolvers is looked at.
RELOAD_S = 5.0

_BACKEND = dns.asyncbackend.get_backend("asyncio")

#: (name in lower case, type, whether signatures are wanted)
_Question = tuple[bytes, int, bool]


class Resolved(NamedTuple):
    """An answer from outside, its names spelled out, and when it was got."""

    rcode: int
    answers: tuple[wire.Record, ...]
    authority: tuple[wire.Record, ...]
    at_s: float

    def as_answer(self, key: bytes, now_s: float) -> wire.Answer:
        """For a client that asked for ``key``, lifetimes shortened by what has passed."""
        passed = int(now_s - self.at_s)

        def written(records: Sequence[wire.Record]) -> tuple[bytes, ...]:
            return tuple(wire.write_record(record, key, max(0, record.ttl - passed)) for record in records)

        return wire.Answer(self.rcode, written(self.answers), written(self.authority), (), is_authoritative=False)


class Unresolved(Exception):
    """No server answered, or too much is on the way already."""


def read_servers(path: Path) -> tuple[str, ...]:
    """The ``nameserver`` lines of a resolv.conf; empty when there is no such file."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return ()
    words = [line.split() for line in lines]
    return tuple(w[1].partition("%")[0] for w in words if len(w) >= 2 and w[0] == "nameserver")


class Upstream:
    """``resolve`` a question by the servers of ``resolv_conf`` or, under a stub domain, by that domain's."""

    def __init__(
        self,
        clock: Clock,
        random: Random,
        *,
        resolv_conf: Path | None,
        servers: Sequence[str] = (),
        stub_domains: Mapping[str, Sequence[str]] | None = None,
        own_addresses: Sequence[str] = (),
    ) -> None:
        self._clock = clock
        self._random = random
        self._resolv_conf = resolv_conf
        self._fixed = tuple(servers)
        self._stubs = [(wire.name_of(domain).lower(), tuple(s)) for domain, s in (stub_domains or {}).items()]
        self._stubs.sort(key=lambda stub: -len(stub[0]))
        self._own = frozenset(own_addresses)  # asking ourselves would go round in circles
        self._servers: tuple[str, ...] = ()
        self._loaded_s = -RELOAD_S
        self._cache: OrderedDict[_Question, tuple[float, Resolved]] = OrderedDict()
        self._on_the_way: dict[_Question, asyncio.Task[Resolved]] = {}
        #: Questions answered from memory, those asked, and those that no server answered.
        self.hits = self.misses = self.failures = 0

    @property
    def remembered(self) -> int:
        """How many answers are."""
        return len(self._cache)

    def cached(self, key: bytes, kind: int, wants_dnssec: bool = False) -> Resolved | None:
        question = (key, kind, wants_dnssec)
        entry = self._cache.get(question)
        if entry is None:
            return None
        if entry[0] <= self._clock.monotonic():
            del self._cache[question]
            return None
        self._cache.move_to_end(question)
        self.hits += 1
        return entry[1]

    async def resolve(self, key: bytes, kind: int, wants_dnssec: bool = False) -> Resolved:
        """Raises Unresolved."""
        found = self.cached(key, kind, wants_dnssec)
        if found is not None:
            return found
        question = (key, kind, wants_dnssec)
        task = self._on_the_way.get(question)
        if task is None:
            if len(self._on_the_way) >= IN_FLIGHT_MAX:
                raise Unresolved("too many questions are on the way")
            task = asyncio.get_running_loop().create_task(self._ask_all(question))
            self._on_the_way[question] = task
            task.add_done_callback(lambda done: self._arrived(question, done))
        return await asyncio.shield(task)

    async def close(self) -> None:
        tasks = list(self._on_the_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _arrived(self, question: _Question, task: asyncio.Task[Resolved]) -> None:
        self._on_the_way.pop(question, None)
        if task.cancelled() or task.exception() is not None:
            return
        resolved = task.result()
        lifetime_s = _lifetime_s(resolved)
        if lifetime_s > 0:
            self._cache[question] = (self._clock.monotonic() + lifetime_s, resolved)
            self._cache.move_to_end(question)
            while len(self._cache) > CACHE_MAX:
                self._cache.popitem(last=False)

    def _servers_for(self, key: bytes) -> tuple[str, ...]:
        for domain, servers in self._stubs:
            if key.endswith(domain) and (len(key) == len(domain) or _ends_a_label(key, len(key) - len(domain))):
                return servers
        if self._fixed or self._resolv_conf is None:
            return self._fixed
        now_s = self._clock.monotonic()
        if now_s - self._loaded_s >= RELOAD_S:
            self._loaded_s = now_s
            self._servers = tuple(s for s in read_servers(self._resolv_conf) if s not in self._own)
        return self._servers

    async def _ask_all(self, question: _Question) -> Resolved:
        self.misses += 1
        servers = self._servers_for(question[0])
        reason = "the host has no resolver"
        for server in servers:
            try:
                response = await self._ask(server, question)
            except (OSError, EOFError, DNSException) as error:
                reason = f"{server}: {error or 'no answer'}"
                continue
            if response.rcode() in (wire.NOERROR, wire.NXDOMAIN) or server == servers[-1]:
                answers, authority = tuple(_records(response.answer)), tuple(_records(response.authority))
                return Resolved(int(response.rcode()), answers, authority, self._clock.monotonic())
        self.failures += 1
        raise Unresolved(reason)

    async def _ask(self, server: str, question: _Question) -> dns.message.Message:
        key, kind, wants_dnssec = question
        query = dns.message.make_query(
            dns.name.from_wire(key, 0)[0],
            dns.rdatatype.RdataType.make(kind),
            use_edns=0,
            want_dnssec=wants_dnssec,
            payload=wire.UDP_SIZE,
            id=self._random.below(65536),
        )
        host, _, port = server.partition("#")
        response, _ = await dns.asyncquery.udp_with_fallback(
            query,
            host,
            timeout=TIMEOUT_S,
            port=int(port or PORT),
            ignore_unexpected=True,
            ignore_errors=True,
            backend=_BACKEND,
        )
        return response


def _records(section: Iterable[dns.rrset.RRset]) -> Iterator[wire.Record]:
    for rrset in section:
        owner = rrset.name.to_wire() or b""
        for data in rrset:
            ttl = rrset.ttl if rrset.ttl < 1 << 31 else 0
            yield wire.Record(owner, int(rrset.rdtype), int(rrset.rdclass), ttl, data.to_wire() or b"")


def _ends_a_label(key: bytes, offset: int) -> bool:
    position = 0
    while position < offset:
        position += key[position] + 1
    return position == offset


def _lifetime_s(resolved: Resolved) -> int:
    """How long an answer may be remembered; a negative one as long as its SOA says (RFC 2308)."""
    if resolved.rcode not in (wire.NOERROR, wire.NXDOMAIN):
        return 0
    lifetimes = [record.ttl for record in resolved.answers]
    if not lifetimes:
        for record in resolved.authority:
            if record.type == wire.SOA and len(record.data) >= 4:
                lifetimes.append(min(record.ttl, struct.unpack("!I", record.data[-4:])[0]))
    return min(CACHE_TTL_MAX_S, min(lifetimes, default=0))

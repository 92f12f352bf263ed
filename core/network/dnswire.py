"""DNS messages as bytes: read a question, put an answer together (RFC 1035, EDNS of RFC 6891).

dnspython makes names and reads what other servers answer (services/dns/upstream.py). What is done for every query is
done here, because there it takes fifty times as long; the tests hold it against dnspython.

A server spends its time here, so a record is bytes that were made when the record came into being, and an answer is a
header, the question as it was asked, and those bytes. That works because the owner of nearly every record is the name
in the question, which always starts at offset 12: two bytes say so.

    header (12) | question: name, type, class | records that begin with C0 0C | OPT

Names are kept in wire form, ``\\x03web\\x07default…\\x00``; lower-cased they are keys (length bytes are below 64, so
``bytes.lower`` leaves them alone). Nothing here trusts its input: every offset is checked, pointers only lead back.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

import dns.name
from dns.exception import DNSException

A, NS, CNAME, SOA, PTR, MX, TXT, AAAA, SRV, OPT, ANY = 1, 2, 5, 6, 12, 15, 16, 28, 33, 41, 255
IN = 1
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, BADVERS = 0, 1, 2, 3, 4, 5, 16

#: What fits in one packet everywhere (DNS flag day 2020); also what we announce.
UDP_SIZE = 1232
_UDP_SIZE_PLAIN = 512
_AA, _TC, _RD, _RA, _CD = 0x0400, 0x0200, 0x0100, 0x0080, 0x0010
#: The owner of a record is the name of the question.
OWNER = b"\xc0\x0c"


class Malformed(ValueError):
    """Not a DNS message, or one that contradicts itself."""


class Query(NamedTuple):
    """One question. ``name`` as it was written, ``key`` lower-cased; ``size`` is what the client takes by UDP."""

    id: int
    flags: int
    name: bytes
    key: bytes
    type: int
    cls: int
    has_edns: bool
    size: int
    wants_dnssec: bool
    rcode: int  # what is wrong with it, NOERROR for nothing

    @property
    def question(self) -> bytes:
        return self.name + struct.pack("!HH", self.type, self.cls)

    @property
    def wants_recursion(self) -> bool:
        return bool(self.flags & _RD)


class Record(NamedTuple):
    """A record of a foreign message, its names spelled out."""

    owner: bytes
    type: int
    cls: int
    ttl: int
    data: bytes


class Answer(NamedTuple):
    """Records ready to be sent, by section."""

    rcode: int
    answers: Sequence[bytes] = ()
    authority: Sequence[bytes] = ()
    additional: Sequence[bytes] = ()
    is_authoritative: bool = True


def name_of(text: str) -> bytes:
    """``web.default`` -> wire form. Raises Malformed for what is no domain name."""
    try:
        return dns.name.from_text(text).to_wire() or b""
    except (DNSException, UnicodeError) as error:
        raise Malformed(f"{text!r} is not a domain name: {error}") from error


def record(owner: bytes, kind: int, ttl: int, data: bytes) -> bytes:
    """One record of class IN."""
    return owner + struct.pack("!HHIH", kind, IN, ttl, len(data)) + data


def read_query(data: bytes) -> Query | None:
    """A query, also a bad one (``rcode`` says how bad); None for what must not be answered at all."""
    if len(data) < 12:
        return None
    identity, flags, questions, answers, authorities, additionals = struct.unpack_from("!HHHHHH", data)
    if flags & 0x8000:
        return None  # an answer: answering those can go on for ever
    if flags & 0x7800:
        return Query(identity, flags, b"", b"", 0, 0, False, _UDP_SIZE_PLAIN, False, NOTIMP)
    bad = Query(identity, flags, b"", b"", 0, 0, False, _UDP_SIZE_PLAIN, False, FORMERR)
    if questions != 1 or answers:
        return bad
    end = _plain_name_end(data, 12)
    if end < 0 or end + 4 > len(data):
        return bad
    name = data[12:end]
    kind, cls = struct.unpack_from("!HH", data, end)
    query = Query(identity, flags, name, name.lower(), kind, cls, False, _UDP_SIZE_PLAIN, False, NOERROR)
    if not authorities and not additionals:
        return query
    return _with_edns(query, data, end + 4, authorities + additionals)


def _plain_name_end(data: bytes, offset: int) -> int:
    """Where the name at ``offset`` ends; -1 when it is broken. A question has nothing to point back to."""
    start = offset
    while offset < len(data):
        length = data[offset]
        offset += 1
        if length == 0:
            return offset if offset - start <= 255 else -1
        if length > 63:
            return -1
        offset += length
    return -1


def _with_edns(query: Query, data: bytes, offset: int, count: int) -> Query:
    try:
        for _ in range(count):
            offset = skip_name(data, offset)
            kind, size, ttl, length = struct.unpack_from("!HHIH", data, offset)
            offset += 10 + length
            if offset > len(data):
                return query._replace(rcode=FORMERR)
            if kind == OPT:
                if query.has_edns:
                    return query._replace(rcode=FORMERR)
                query = query._replace(
                    has_edns=True,
                    size=max(size, _UDP_SIZE_PLAIN),
                    wants_dnssec=bool(ttl & 0x8000),
                    rcode=BADVERS if ttl >> 16 & 0xFF else NOERROR,
                )
    except (Malformed, struct.error):
        return query._replace(rcode=FORMERR)
    return query


def build(query: Query, answer: Answer, *, limit: int = 65535, recursion_available: bool = True) -> bytes:
    """The response. What does not fit into ``limit``: first the additional records go, silently; then answers, and
    the client is told to ask again by TCP. Always at least the header and the question."""
    flags = 0x8000 | (query.flags & 0x7800) | (query.flags & (_RD | _CD)) | (answer.rcode & 0xF)
    if answer.is_authoritative:
        flags |= _AA
    if recursion_available:
        flags |= _RA
    question = query.question if query.name else b""
    opt = b"\0" + struct.pack("!HHIH", OPT, UDP_SIZE, _opt_ttl(query, answer.rcode), 0) if query.has_edns else b""
    answers, authority, additional = answer.answers, answer.authority, answer.additional
    room = limit - 12 - len(question) - len(opt)
    body = b"".join((*answers, *authority, *additional))
    if len(body) > room and additional:
        additional = ()
        body = b"".join((*answers, *authority))
    if len(body) > room:
        flags |= _TC
        authority = ()
        answers = _as_many(answers, room)
        body = b"".join(answers)
    header = struct.pack(
        "!HHHHHH",
        query.id,
        flags,
        1 if question else 0,
        len(answers),
        len(authority),
        len(additional) + (1 if opt else 0),
    )
    return header + question + body + opt


def _opt_ttl(query: Query, rcode: int) -> int:
    return (rcode >> 4) << 24 | (0x8000 if query.wants_dnssec else 0)


def _as_many(records: Sequence[bytes], room: int) -> list[bytes]:
    kept = []
    for item in records:
        room -= len(item)
        if room < 0:
            break
        kept.append(item)
    return kept


def skip_name(data: bytes, offset: int) -> int:
    """Where the (possibly compressed) name at ``offset`` ends. Raises Malformed."""
    while offset < len(data):
        length = data[offset]
        if length >= 0xC0:
            if offset + 2 > len(data):
                break
            return offset + 2
        if length > 63:
            break
        offset += 1 + length
        if length == 0:
            return offset
    raise Malformed("a name runs out of the message")


def write_record(found: Record, question: bytes, ttl: int) -> bytes:
    """A foreign record for our response; ``question`` is the key of the name asked for."""
    owner = OWNER if found.owner.lower() == question else found.owner
    return owner + struct.pack("!HHIH", found.type, found.cls, ttl, len(found.data)) + found.data

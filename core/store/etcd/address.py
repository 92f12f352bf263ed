"""``etcd://host:2379,host:2379?cacert=…&cert=…&key=…``: where an etcd cluster is and how its members are trusted.

The parameters are named as etcdctl's flags. Any of them makes the connection TLS; ``tls=true`` alone does so with the
system's authorities. ``servername`` is the name that the members' certificates bear, when it is not the host.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

DEFAULT_PORT = 2379
_FILES = ("cacert", "cert", "key")
_OTHERS = ("servername", "tls")


class Address(NamedTuple):
    """``members``: ``host:port`` each. The files are PEM; None: the system's authorities, no client certificate."""

    members: tuple[str, ...]
    is_tls: bool = False
    cacert: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    servername: str = ""


def parse(url: str) -> Address:
    """Raises ValueError for what is no such URL, saying what would be one. Reads no file."""
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise ValueError(f"{parts.scheme}://…: users and passwords are not supported; use a client certificate")
    members = tuple(_member(url, text) for text in parts.netloc.split(",") if text)
    if not members or parts.path not in ("", "/"):
        raise ValueError(f"{url}: write etcd://HOST:PORT,HOST:PORT?cacert=FILE&cert=FILE&key=FILE")
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in given:
        if name not in (*_FILES, *_OTHERS):
            raise ValueError(f"{url}: there is no parameter {name!r}; there are {', '.join((*_FILES, *_OTHERS))}")
    if ("cert" in given) != ("key" in given):
        raise ValueError(f"{url}: cert and key belong together")
    files = {name: Path(given[name]) for name in _FILES if given.get(name)}
    is_tls = bool(files) or "servername" in given or given.get("tls") == "true"
    return Address(members, is_tls, **files, servername=given.get("servername", ""))


def _member(url: str, text: str) -> str:
    part = urlsplit(f"//{text}")
    try:
        host, port = part.hostname, part.port or DEFAULT_PORT
    except ValueError as error:
        raise ValueError(f"{url}: {error}") from None
    if not host:
        raise ValueError(f"{url}: {text!r} names no host")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

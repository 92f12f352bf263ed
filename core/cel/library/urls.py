"""URLs (library/urls.go): absolute ones and absolute paths, as Go's url.ParseRequestURI reads them."""

from __future__ import annotations

import urllib.parse
from typing import Any

from cybernetes.core.api.custom.formats import is_uri
from cybernetes.core.cel.declarations import URL
from cybernetes.core.cel.errors import EvaluationError, no_such_overload
from cybernetes.core.cel.library import Function
from cybernetes.core.cel.values import Opaque

_PATH_SAFE = "/:@!$&'()*+,;=~%-._"


class Url(Opaque):
    __slots__ = ("parts", "text")
    cel_type = URL

    def __init__(self, text: str) -> None:
        self.text = text
        self.parts = urllib.parse.urlsplit(text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Url) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)


def _url(text: Any) -> Url:
    if not isinstance(text, str):
        raise no_such_overload()
    if not is_uri(text):
        raise EvaluationError(f'URL parse error during conversion from string: parse "{text}": invalid URI for request')
    return Url(text)


def _of(url: Any) -> urllib.parse.SplitResult:
    if not isinstance(url, Url):
        raise no_such_overload()
    return url.parts


def _host(url: Any) -> str:
    return _of(url).netloc.rpartition("@")[2]


def _hostname(url: Any) -> str:
    host = _host(url)
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if ":" in host else host


def _port(url: Any) -> str:
    host = _host(url).rpartition("]")[2]
    return host.partition(":")[2]


def _query(url: Any) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in urllib.parse.parse_qsl(_of(url).query, keep_blank_values=True):
        found.setdefault(name, []).append(value)
    return found


FUNCTIONS: dict[str, Function] = {
    "url": _url,
    "isURL": lambda text: is_uri(text) if isinstance(text, str) else _of(None),
    "getScheme": lambda url: _of(url).scheme,
    "getHost": _host,
    "getHostname": _hostname,
    "getPort": _port,
    "getEscapedPath": lambda url: urllib.parse.quote(_of(url).path, safe=_PATH_SAFE),
    "getQuery": _query,
}

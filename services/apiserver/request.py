"""What a request asks for, from its method, path and query alone (upstream: apiserver/pkg/endpoints/request).

    /api/v1/namespaces/z/pods/x/log      get, core/v1, pods, subresource log, namespace z, name x
    /apis/apps/v1/deployments?watch=1    watch, apps/v1, deployments in every namespace
    /api/v1/nodes/n/proxy/metrics        get, core/v1, nodes, subresource proxy, rest ("metrics",)
    /healthz                             not a resource: the verb is the method in lower case

Nothing here knows which resources exist: authorization comes before that question.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote

from cybernetes.core.errors import bad_request

_VERBS = {"POST": "create", "GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_QUERY_FIELDS_MAX = 1000


@dataclass(frozen=True, slots=True)
class RequestInfo:
    """``is_resource`` False: only ``verb`` and ``path`` mean something."""

    is_resource: bool
    verb: str
    path: str
    group: str = ""
    version: str = ""
    namespace: str = ""
    resource: str = ""
    subresource: str = ""
    name: str = ""
    rest: tuple[str, ...] = ()


def split_target(target: str) -> tuple[str, str]:
    """The path, percent-decoded, and the raw query of a request target (also in absolute form)."""
    path, _, query = target.partition("?")
    if not path.startswith("/"):
        _, separator, rest = path.partition("://")
        path = "/" + rest.partition("/")[2] if separator else "/" + path
    if "%" in path:
        path = unquote(path, errors="replace")
    return path, query


def parse_query(query: str) -> dict[str, list[str]]:
    """Name to values in order. Raises ApiError 400 for an absurd number of them."""
    if not query:
        return {}
    values: dict[str, list[str]] = {}
    try:
        for name, value in parse_qsl(query, keep_blank_values=True, max_num_fields=_QUERY_FIELDS_MAX):
            values.setdefault(name, []).append(value)
    except ValueError as error:
        raise bad_request(str(error)) from None
    return values


def is_true(query: Mapping[str, list[str]], name: str, default: bool = False) -> bool:
    """A boolean option as upstream reads it: whatever is given, even nothing, is true, but for false and 0."""
    values = query.get(name)
    if not values:
        return default
    return values[0].lower() not in ("false", "0")


def parse_info(method: str, path: str, query: Mapping[str, list[str]]) -> RequestInfo:
    """Take the path apart. Costs 3 µs."""
    parts = [part for part in path.split("/") if part]
    plain = RequestInfo(False, method.lower(), path)
    if len(parts) < 3:
        return plain
    if parts[0] == "api":
        group, version, parts = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) >= 4:
        group, version, parts = parts[1], parts[2], parts[3:]
    else:
        return plain
    verb = _VERBS.get(method, "")
    if parts[0] in ("proxy", "watch"):
        # The old forms /api/v1/watch/pods and /api/v1/proxy/nodes/x.
        if len(parts) < 2:
            return plain
        verb = parts[0]
        parts = parts[1:]
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 1:
        namespace = parts[1]
        # The name of the namespace is also its own namespace; status and finalize are its subresources.
        if len(parts) > 2 and parts[2] not in ("status", "finalize"):
            parts = parts[2:]
    resource = parts[0]
    name = parts[1] if len(parts) > 1 else ""
    subresource = parts[2] if len(parts) > 2 else ""
    if not name:
        if verb == "get":
            verb = "watch" if is_true(query, "watch") else "list"
        elif verb == "delete":
            verb = "deletecollection"
    if not name and verb in ("list", "watch", "deletecollection"):
        name = _exact_name(query)
    return RequestInfo(True, verb, path, group, version, namespace, resource, subresource, name, tuple(parts[3:]))


def _exact_name(query: Mapping[str, list[str]]) -> str:
    """The object that a field selector names: may be granted by resourceNames like the object itself."""
    for text in query.get("fieldSelector", ())[:1]:
        for term in text.split(","):
            path, separator, value = term.partition("=")
            if separator and path.strip() == "metadata.name":
                value = value.removeprefix("=").strip()
                if value and value not in (".", "..") and "/" not in value and "%" not in value:
                    return value
    return ""

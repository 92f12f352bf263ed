"""What is served beside resources: discovery, OpenAPI, version, health, metrics, the keys of ServiceAccount tokens.

Documents are made when first asked for and kept as bytes until the set of resources changes.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from cybernetes.core.api import discovery
from cybernetes.core.api.registry import Registry
from cybernetes.core.auth import tokens
from cybernetes.core.auth.user import User
from cybernetes.services.apiserver import binary, negotiation
from cybernetes.services.apiserver.aggregation import merging
from cybernetes.services.apiserver.aggregation.apiservices import ApiServices
from cybernetes.services.apiserver.exchange import Exchange
from cybernetes.services.apiserver.health import Health
from cybernetes.services.apiserver.negotiation import Form
from cybernetes.services.apiserver.response import yaml_bytes

#: The Kubernetes that we are: clients compare it with their own.
MAJOR, MINOR = "1", "36"
GIT_VERSION = "v1.36.0+cybernetes"
_BUILD_DATE = "2026-04-22T00:00:00Z"


def version() -> dict[str, str]:
    """``/version``. The fields that name Go's tools are there because clients read them."""
    return {
        "major": MAJOR,
        "minor": MINOR,
        "emulationMajor": MAJOR,
        "emulationMinor": MINOR,
        "minCompatibilityMajor": MAJOR,
        "minCompatibilityMinor": "35",
        "gitVersion": GIT_VERSION,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": _BUILD_DATE,
        "goVersion": f"python{platform.python_version()}",
        "compiler": "cython",
        "platform": f"linux/{_ARCHITECTURES.get(platform.machine(), platform.machine())}",
    }


_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class Pages:
    """The documents of one server. ``metrics`` gives the text of /metrics."""

    def __init__(
        self,
        registry: Registry,
        health: Health,
        issuer: tokens.Issuer | None,
        metrics: Callable[[], tuple[str, bytes]],
        external_address: Callable[[], str],
        services: ApiServices | None = None,
    ) -> None:
        self._registry = registry
        self._health = health
        self._issuer = issuer
        self._metrics = metrics
        self._external_address = external_address
        self._services = services
        self._generation = (-1, 0)
        self._kept: dict[tuple[str, str], tuple[bytes, bytes]] = {}

    async def serve(self, exchange: Exchange, path: str, query: Mapping[str, list[str]], user: User) -> None:
        """Answer a request for something that is no resource."""
        if exchange.request.method not in ("GET", "HEAD"):
            _plain(exchange, 405, "405 method not allowed\n")
            return
        if path != "/" and path.endswith("/"):
            path = path.rstrip("/")
        if path.startswith(("/healthz", "/livez", "/readyz")):
            answer = await self._health.answer(path, query)
            if answer is None:
                _plain(exchange, 404, "404 page not found\n")
            else:
                _plain(exchange, answer.code, answer.text)
            return
        if path == "/metrics":
            content_type, body = self._metrics()
            exchange.respond(200, f"Content-Type: {content_type}\r\n".encode(), body)
            return
        form = negotiation.PLAIN
        if path == "/openapi/v2":
            form = negotiation.negotiate_openapi(exchange.request.headers.get("accept", ""))
        if path.startswith(("/api", "/apis")):
            form = negotiation.negotiate(exchange.request.headers.get("accept", ""), discovery=True)
            if form.kind and path not in ("/api", "/apis"):
                form = Form(form.media)
        found = self._document(path, form, exchange)
        if found is None:
            _plain(exchange, 404, "404 page not found\n")
            return
        body, tag = found
        headers = b"Content-Type: %b\r\n" % form.content_type.encode()
        if form.kind or path.startswith("/openapi"):
            headers += b'ETag: "%b"\r\nVary: Accept\r\n' % tag
        if form.kind:
            headers += b"Cache-Control: public\r\n"
        elif not path.startswith("/openapi"):
            headers += b"Cache-Control: no-cache, private\r\n"
        elif "hash" in query:
            headers += b"Cache-Control: public, immutable\r\n"
        if exchange.request.headers.get("if-none-match", "").strip('"').encode() == tag:
            exchange.respond(304, headers, b"")
            return
        exchange.respond(200, headers, body)

    def _document(self, path: str, form: Form, exchange: Exchange) -> tuple[bytes, bytes] | None:
        """The bytes of a document and their hash; None when there is none at ``path``."""
        generation = (self._registry.generation, self._services.generation if self._services is not None else 0)
        if self._generation != generation:
            self._kept.clear()
            self._generation = generation
        key = (path, form.content_type)
        kept = self._kept.get(key)
        if kept is None:
            document = self._make(path, form, exchange)
            if self._services is not None and any(self._services.remotes()):
                document = _merged(document, path, form, self._services)
            if document is None:
                return None
            body = _encoded(document, form)
            kept = (body, hashlib.sha256(body).hexdigest()[:40].upper().encode())
            self._kept[key] = kept
        return kept

    def _make(self, path: str, form: Form, exchange: Exchange) -> Any:
        registry = self._registry
        parts = path.strip("/").split("/")
        if path == "/":
            return {"paths": self._paths()}
        if path == "/version":
            return version()
        if path in ("/api", "/apis") and form.kind:
            return discovery.aggregated(registry, path, form.version)
        if path == "/api":
            return discovery.api_versions(self._external_address())
        if path == "/apis":
            return discovery.group_list(registry)
        if parts[0] == "api" and len(parts) == 2:
            return discovery.resource_list(registry, "", parts[1])
        if parts[0] == "apis" and len(parts) == 2:
            return discovery.group(registry, parts[1])
        if parts[0] == "apis" and len(parts) == 3:
            return discovery.resource_list(registry, parts[1], parts[2])
        if parts[0] == "openapi":
            return self._openapi(parts, form)
        if self._issuer is not None:
            if path == tokens.CONFIGURATION_PATH:
                return self._issuer.configuration(f"https://{self._external_address()}{tokens.JWKS_PATH}")
            if path == tokens.JWKS_PATH:
                return self._issuer.jwks()
        return None

    def _openapi(self, parts: list[str], form: Form) -> Any:
        from cybernetes.core.api import openapi  # late: the descriptions are large
        from cybernetes.core.api.custom.publishing import definitions_of

        if parts == ["openapi", "v2"]:
            make = openapi.v2_protobuf if form.is_openapi_protobuf else openapi.v2
            return make(self._registry, definitions_of)
        if parts == ["openapi", "v3"]:
            return openapi.v3_index(self._registry)
        if parts[1] == "v3":
            return openapi.v3(self._registry, "/".join(parts[2:]), definitions_of)
        return None

    def _paths(self) -> list[str]:
        paths = ["/.well-known/openid-configuration", "/api", "/apis", "/healthz", "/livez", "/metrics"]
        paths += ["/openapi/v2", "/openapi/v3", "/openid/v1/jwks", "/readyz", "/version"]
        for group, versions in self._registry.groups().items():
            if group:
                paths.append(f"/apis/{group}")
            paths += [f"/apis/{group}/{each}" if group else f"/api/{each}" for each in versions]
        for endpoint, checks in self._health.checks.items():
            paths += [f"{endpoint}/{name}" for name in checks]
        return sorted(paths)


def _merged(document: Any, path: str, form: Form, services: ApiServices) -> Any:
    """A document with what other servers serve in it."""
    if path == "/apis":
        return merging.aggregated(document, services) if form.kind else merging.group_list(document, services)
    if path.startswith("/apis/") and path.count("/") == 2:
        return merging.group(document, path.removeprefix("/apis/"), services)
    if path == "/openapi/v3":
        return merging.openapi_index(document, services)
    if path == "/openapi/v2" and isinstance(document, dict):
        return merging.openapi_v2(document, services)
    if document is None and path.startswith("/openapi/v3/"):
        remote = services.find(path.removeprefix("/openapi/v3"))
        return remote.openapi or None if remote is not None else None
    return document


def _encoded(document: Any, form: Form) -> bytes:
    if isinstance(document, bytes):
        return document
    if form.is_protobuf:
        return binary.document({"apiVersion": "v1", **document})
    return yaml_bytes(document) if form.is_yaml else orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)


def _plain(exchange: Exchange, code: int, text: str) -> None:
    headers = b"Content-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n"
    exchange.respond(code, headers + b"Cache-Control: no-cache, private\r\n", text.encode())

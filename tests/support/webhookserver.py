"""A webhook over TLS, as the API server finds it: what it was asked, and answers that a test decides."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

from cybernetes.core.auth.certificates import Authority
from cybernetes.core.clock import Random, SystemClock
from cybernetes.core.objects import Object

#: From the request of a review to its response, without uid; or bytes, which are the whole answer.
Answer = Callable[[Object], Object | bytes | Awaitable[Object | bytes]]


class WebhookServer:
    """``answers`` are by path. ``asked`` has the bodies in order."""

    def __init__(self, authority: Authority) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[tuple[str, Object]] = []
        self.port = 0
        self.ca_bundle = base64.b64encode(authority.certificate).decode()

    def client(self, path: str) -> Object:
        """A clientConfig for an answer."""
        return {"url": f"https://localhost:{self.port}{path}", "caBundle": self.ca_bundle}

    def requests(self, path: str) -> list[Object]:
        return [body["request"] for at, body in self.asked if at == path]

    async def serve(self, request: web.Request) -> web.Response:
        body = orjson.loads(await request.read())
        self.asked.append((request.path, body))
        answer = self.answers.get(request.path)
        if answer is None:
            return web.Response(status=404)
        made = answer(body["request"])
        if asyncio.iscoroutine(made) or isinstance(made, asyncio.Future):
            made = await made
        if isinstance(made, bytes):
            return web.Response(body=made)
        assert isinstance(made, dict)
        review = {"apiVersion": body["apiVersion"], "kind": body["kind"], "response": made}
        made.setdefault("uid", body["request"]["uid"])
        return web.Response(body=orjson.dumps(review), content_type="application/json")


@asynccontextmanager
async def webhook_server(directory: Path, *names: str) -> AsyncIterator[WebhookServer]:
    """Runs one on a port of its own, with a certificate for localhost and ``names``."""
    authority = Authority.create("webhook-ca", SystemClock(), Random(3))
    pair = authority.issue_server("localhost", ("localhost", *names), ("127.0.0.1",))
    (directory / "hook.crt").write_bytes(pair.certificate)
    (directory / "hook.key").write_bytes(pair.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "hook.crt", directory / "hook.key")
    server = WebhookServer(authority)
    runner = web.ServerRunner(web.Server(server.serve), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    assert site._server is not None
    server.port = site._server.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        await runner.cleanup()


def patch(*operations: Object) -> Object:
    """The part of a response that changes the object."""
    return {"allowed": True, "patchType": "JSONPatch", "patch": base64.b64encode(orjson.dumps(operations)).decode()}


def rule(resources: list[str], operations: list[str] | None = None, **fields: Any) -> Object:
    return {
        "operations": operations or ["CREATE"],
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "resources": resources,
        **fields,
    }


def hook(name: str, client: Object, rules: list[Object], **fields: Any) -> Object:
    return {
        "name": name,
        "clientConfig": client,
        "rules": rules,
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        **fields,
    }


def configuration(kind: str, name: str, *hooks: Object) -> Object:
    """``kind`` is Mutating or Validating."""
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": f"{kind}WebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": list(hooks),
    }

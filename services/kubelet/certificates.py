"""The node's client certificate: asked for with a bootstrap token, asked for anew before it ends.

    bootstrap.kubeconfig ──CertificateSigningRequest──▶ approved and signed by the controllers ──▶ kubeconfig
    kubeconfig, at 70 to 90 % of its certificate's life ──the same, as the node itself──▶ kubeconfig

A certificate that is exchanged is used by the next connection; those that are open go on. While a request is not
approved the present certificate stays, and it is asked again, ever less often (upstream: pkg/kubelet/certificate).
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Callable, Sequence

from cybernetes.core.auth.certificates import Pair, new_request
from cybernetes.core.client.backoff import Backoff
from cybernetes.core.client.interface import Client
from cybernetes.core.clock import Clock, Random
from cybernetes.core.errors import ApiError
from cybernetes.core.objects import CERTIFICATE_SIGNING_REQUESTS, Object
from cybernetes.services.common.component import Component, Tasks

log = logging.getLogger(__name__)

CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client-kubelet"
CLIENT_USAGES = ("digital signature", "client auth")
#: A request that nobody approves is given up after this, and made anew.
TIMEOUT_S = 15 * 60.0
RETRY_S, RETRY_MAX_S = 1.0, 3600.0


class CertificateRefused(Exception):
    """The request was denied, or could not be signed; the message says why."""


async def request_client_certificate(client: Client, random: Random, node_name: str) -> Pair:
    """A new key and a certificate for ``system:node:NAME``. Raises CertificateRefused, ApiError, ConnectionError, and
    TimeoutError when nobody has decided."""
    request = new_request(f"system:node:{node_name}", ("system:nodes",), random)
    certificate = await request_certificate(client, request.certificate, CLIENT_SIGNER, CLIENT_USAGES)
    return Pair(certificate, request.key)


async def request_certificate(client: Client, request: bytes, signer: str, usages: Sequence[str]) -> bytes:
    """Hand in a PEM request and wait for its certificate. Raises as ``request_client_certificate``."""
    made = await client.create(
        CERTIFICATE_SIGNING_REQUESTS,
        {
            "apiVersion": CERTIFICATE_SIGNING_REQUESTS.api_version,
            "kind": "CertificateSigningRequest",
            "metadata": {"generateName": "csr-"},
            "spec": {"request": base64.b64encode(request).decode(), "signerName": signer, "usages": list(usages)},
        },
    )
    metadata = made["metadata"]
    async with asyncio.timeout(TIMEOUT_S):
        async for batch in client.watch(
            CERTIFICATE_SIGNING_REQUESTS,
            resource_version=metadata["resourceVersion"],
            field_selector=f"metadata.name={metadata['name']}",
        ):
            for event in batch:
                certificate = _issued(event.object)
                if certificate:
                    return certificate
    raise ConnectionError(f"the watch of certificate request {metadata['name']} ended")


def _issued(request: Object) -> bytes:
    """Its certificate, empty while there is none. Raises CertificateRefused."""
    status = request.get("status") or {}
    for condition in status.get("conditions") or ():
        if condition["type"] in ("Denied", "Failed") and condition.get("status") == "True":
            reason = condition.get("message") or condition.get("reason") or "no reason was given"
            raise CertificateRefused(f"{request['metadata']['name']} {condition['type'].lower()}: {reason}")
    return base64.b64decode(status.get("certificate") or "")


def validity(certificate: bytes) -> tuple[float, float]:
    """From when until when a PEM certificate holds, in seconds since the epoch."""
    from cryptography import x509

    found = x509.load_pem_x509_certificate(certificate)
    return found.not_valid_before_utc.timestamp(), found.not_valid_after_utc.timestamp()


class ClientCertificate:
    """Exchanges the node's client certificate before it ends; ``exchanged`` gets each new one and puts it to use."""

    name = "client certificate"

    def __init__(
        self,
        client: Client,
        clock: Clock,
        random: Random,
        node_name: str,
        certificate: bytes,
        exchanged: Callable[[Pair], None],
        on_failure: Callable[[BaseException], None] | None = None,
    ) -> None:
        self.certificate = certificate
        self._client = client
        self._clock = clock
        self._random = random
        self._node_name = node_name
        self._exchanged = exchanged
        self._tasks = Tasks(self.name, on_failure)

    def exchange_at(self) -> float:
        """Seconds since the epoch: somewhere in the last third of its life, so that nodes do not all ask at once."""
        begin, end = validity(self.certificate)
        return begin + (end - begin) * (0.7 + 0.2 * self._random.uniform())

    async def start(self) -> None:
        self._tasks.spawn(self._keep(), "exchange")

    async def stop(self) -> None:
        await self._tasks.cancel()

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(max(0.0, self.exchange_at() - self._clock.now()))
            await self._exchange()

    async def _exchange(self) -> None:
        backoff = Backoff(self._random, base_s=RETRY_S, max_s=RETRY_MAX_S)
        while True:
            try:
                pair = await request_client_certificate(self._client, self._random, self._node_name)
                break
            except (CertificateRefused, ApiError, ConnectionError, TimeoutError) as error:
                delay_s = backoff.next()
                log.warning("no new client certificate yet: %s; again in %.0f s", error, delay_s)
            await asyncio.sleep(delay_s)
        self._exchanged(pair)
        self.certificate = pair.certificate
        log.info("the client certificate was exchanged")


def _conforms(certificate: ClientCertificate) -> Component:
    return certificate

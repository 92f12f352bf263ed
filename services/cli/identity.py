"""Who a node is: its kubeconfig, got with a bootstrap token where there is none yet, its certificate kept valid.

``up`` writes both files of a node of its own. One that joins from elsewhere is given ``bootstrap.kubeconfig`` with a
token of the group system:bootstrappers, and gets the other by a certificate request that somebody approves.
"""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

from cybernetes.core.auth.certificates import Pair
from cybernetes.core.client.interface import Client
from cybernetes.core.clock import Clock, Random
from cybernetes.core.errors import ApiError
from cybernetes.services.common import kubeconfig
from cybernetes.services.common.httpclient import HttpClient
from cybernetes.services.common.runner import Process, StartFailure
from cybernetes.services.kubelet.certificates import (
    CertificateRefused,
    ClientCertificate,
    request_client_certificate,
)

AGENT = "kubelet"


async def kubelet_client(folder: Path, node_name: str, clock: Clock, random: Random, process: Process) -> Client:
    """The kubelet's client, closed at the end, whose certificate is exchanged before it ends. Raises StartFailure."""
    path = folder / "kubeconfig"
    try:
        if not path.exists() and (folder / "bootstrap.kubeconfig").exists():
            await _bootstrap(folder, node_name, random)
        connection = kubeconfig.read(path)
        context = connection.ssl_context()
    except (kubeconfig.KubeconfigError, CertificateRefused, ApiError, ConnectionError, TimeoutError) as error:
        raise StartFailure(f"node {node_name} has no certificate: {error}") from error
    client = HttpClient(connection.server, random=random, ssl_context=context, token=connection.token, user_agent=AGENT)
    process.at_the_end(client.close)
    if context is not None and connection.client_certificate:

        def exchanged(pair: Pair) -> None:
            _write(path, connection, node_name, pair)
            with tempfile.NamedTemporaryFile() as both:  # the ssl module reads keys from files only
                both.write(pair.certificate + b"\n" + pair.key)
                both.flush()
                context.load_cert_chain(both.name)  # for connections from here on

        certificate = connection.client_certificate
        await process.start(ClientCertificate(client, clock, random, node_name, certificate, exchanged, process.failed))
    return client


async def _bootstrap(folder: Path, node_name: str, random: Random) -> None:
    connection = kubeconfig.read(folder / "bootstrap.kubeconfig")
    client = connection.client(random=random, user_agent=AGENT)
    try:
        pair = await request_client_certificate(client, random, node_name)
    finally:
        await client.close()
    _write(folder / "kubeconfig", dataclasses.replace(connection, token=""), node_name, pair)


def _write(path: Path, connection: kubeconfig.Connection, node_name: str, pair: Pair) -> None:
    kubeconfig.write(
        path,
        server=connection.server,
        certificate_authority=connection.certificate_authority,
        client_certificate=pair.certificate,
        client_key=pair.key,
        user=f"system:node:{node_name}",
    )

"""Ways in for whoever is not in the loop: an HTTPS listener and the kubeconfig that leads to it.

Keys and certificates are made when they are first asked for; a test that stays in its loop pays for none but the key
of ServiceAccount tokens.
"""

from __future__ import annotations

import tempfile
from functools import cached_property
from pathlib import Path
from typing import Any

from cybernetes.core.auth.certificates import Authority, new_key_pem
from cybernetes.core.clock import Clock, Random, SystemClock
from cybernetes.services.apiserver.apiserver import ApiServer, Tls
from cybernetes.services.testing.virtualtime import VirtualTime


class Identity:
    """The keys of one cluster and its forks, seeded like everything else."""

    def __init__(self, clock: Clock, random: Random) -> None:
        self._random = random
        self.token = f"test-{random.token(16).hex()}"
        self.account_key = new_key_pem(random)
        self.authority = Authority.create("kubernetes", clock, random)

    @cached_property
    def serving(self) -> Authority:
        """Clients outside check certificates by the time of the wall, whatever the cluster's clock says."""
        return Authority.create("cybernetes.testing", SystemClock(), self._random)

    def write_kubeconfig(self, path: Path, server: str, *, with_authority: bool = True) -> None:
        from cybernetes.services.common import kubeconfig  # it brings aiohttp, a quarter of a cold start

        authority = self.serving.certificate if with_authority else b""
        kubeconfig.write(path, server=server, certificate_authority=authority, token=self.token)


class Endpoint:
    """An HTTPS listener on 127.0.0.1 that keeps its port through restarts of the API server."""

    def __init__(self, identity: Identity, time: VirtualTime | None) -> None:
        self._identity = identity
        self._time = time
        self._tls: Any = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    async def open(self, server: ApiServer) -> None:
        if self._tls is None:
            self._tls = self._context()
            if self._time is not None:
                self._time.reachable += 1
        self.port = await server.http.listen("127.0.0.1", self.port, self._tls)

    def forget(self) -> None:
        if self._tls is not None and self._time is not None:
            self._time.reachable -= 1
        self._tls = None

    def _context(self) -> Any:
        pair = self._identity.serving.issue_server("kube-apiserver", ("localhost", "kubernetes"), ("127.0.0.1",))
        with tempfile.TemporaryDirectory() as folder:
            certificate, key = Path(folder, "tls.crt"), Path(folder, "tls.key")
            certificate.write_bytes(pair.certificate)
            key.write_bytes(pair.key)
            return Tls(certificate, key).context()

"""The certificates and keys of a cluster, made on its first start and kept in ``<data directory>/pki``, mode 600.

    ca                        signs everything below
    apiserver                 what the API serves with: every name and address under which it is reached
    apiserver-kubelet-client  by which the API server calls kubelets
    sa.key                    signs ServiceAccount tokens
    front-proxy-ca            signs what aggregated API servers trust
    front-proxy-client        by which the API server calls them
    admin.kubeconfig, nodes/<name>/kubeconfig, nodes/<name>/kubelet   clients and serving certificates

Names are kubeadm's, so that people find what they know. Other API server replicas are given a copy of the folder.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from cybernetes.core.auth.certificates import Authority, Pair, api_server_names, expires_at, new_key_pem
from cybernetes.core.clock import Clock, Random
from cybernetes.services.cli.datadir import ClusterOptions, DataDirectory
from cybernetes.services.common import kubeconfig

#: A certificate this near to its end is made anew at the next start.
RENEW_BEFORE_S = 30 * 86400


class Pki:
    """Reads what is there and makes what is missing, about to expire, or issued for other addresses."""

    def __init__(self, data: DataDirectory, options: ClusterOptions, clock: Clock, random: Random) -> None:
        self._data = data
        self._options = options
        self._clock = clock
        self._random = random
        data.pki.mkdir(mode=0o700, exist_ok=True)
        self.authority = self._authority("ca", "kubernetes")
        self.front_proxy = self._authority("front-proxy-ca", "front-proxy-ca")

    def path(self, name: str) -> Path:
        return self._data.pki / name

    def _authority(self, name: str, common_name: str) -> Authority:
        found = _read_pair(self._data.pki, name)
        if found is not None:
            return Authority(found, self._clock, self._random)
        authority = Authority.create(common_name, self._clock, self._random)
        _write_pair(self._data.pki, name, authority.pair)
        return authority

    def _pair(self, folder: Path, name: str, make: Callable[[], Pair], purpose: str = "") -> Pair:
        """What is on disk if it lasts and was made for ``purpose``, else a new one."""
        note = folder / f"{name}.for"
        found = _read_pair(folder, name)
        fits = not purpose or (note.exists() and note.read_text() == purpose)
        if found is not None and fits and expires_at(found.certificate) > self._clock.now() + RENEW_BEFORE_S:
            return found
        pair = make()
        _write_pair(folder, name, pair)
        if purpose:
            note.write_text(purpose)
        return pair

    def service_account_key(self) -> bytes:
        path = self.path("sa.key")
        if not path.exists():
            _write(path, new_key_pem(self._random))
        return path.read_bytes()

    def serving(self, addresses: Sequence[str]) -> Pair:
        """The API server's own certificate for the Service, this machine and ``addresses``."""
        service = [str(ipaddress.ip_network(cidr)[1]) for cidr in self._options.service_cidr.split(",")]
        everywhere = [address for address in addresses if address not in ("0.0.0.0", "::")]
        wanted = tuple(dict.fromkeys([*service, "127.0.0.1", "::1", *everywhere]))
        names = (*api_server_names(self._options.cluster_domain), socket.gethostname().lower())
        return self._pair(
            self._data.pki,
            "apiserver",
            lambda: self.authority.issue_server("kube-apiserver", names, wanted),
            purpose=" ".join([*names, *wanted]),
        )

    def kubelet_client(self) -> Pair:
        return self._pair(
            self._data.pki,
            "apiserver-kubelet-client",
            lambda: self.authority.issue_client("kube-apiserver-kubelet-client", ("system:masters",)),
        )

    def front_proxy_client(self) -> Pair:
        return self._pair(
            self._data.pki, "front-proxy-client", lambda: self.front_proxy.issue_client("front-proxy-client")
        )

    def component(self, name: str, user: str, groups: Sequence[str] = ()) -> Pair:
        """A client certificate for a component that runs in a process of its own."""
        return self._pair(self._data.pki, name, lambda: self.authority.issue_client(user, groups))

    def write_kubeconfig(self, path: Path, pair: Pair, server: str, user: str) -> None:
        kubeconfig.write(
            path,
            server=server,
            certificate_authority=self.authority.certificate,
            client_certificate=pair.certificate,
            client_key=pair.key,
            user=user,
        )

    def write_admin_kubeconfig(self, server: str) -> None:
        pair = self.component("admin", "kubernetes-admin", ("system:masters",))
        self.write_kubeconfig(self._data.admin_kubeconfig, pair, server, "admin")

    def node_serving(self, name: str, addresses: Sequence[str]) -> Pair:
        """The kubelet's serving certificate."""
        folder = self._data.node(name)
        folder.mkdir(parents=True, exist_ok=True)
        wanted = tuple(dict.fromkeys([*addresses, "127.0.0.1"]))
        return self._pair(
            folder,
            "kubelet",
            lambda: self.authority.issue_server(
                f"system:node:{name}", (name, "localhost"), wanted, organizations=("system:nodes",)
            ),
            purpose=" ".join([name, *wanted]),
        )

    def write_node_kubeconfigs(self, name: str, server: str, others: Mapping[str, str]) -> None:
        """The kubelet's own, and one for each further component of the node: its name -> its user."""
        folder = self._data.node(name)
        folder.mkdir(parents=True, exist_ok=True)
        node_user = f"system:node:{name}"
        pair = self._pair(folder, "client", lambda: self.authority.issue_client(node_user, ("system:nodes",)))
        self.write_kubeconfig(folder / "kubeconfig", pair, server, node_user)
        for component, user in others.items():
            pair = self._pair(folder, component, lambda user=user: self.authority.issue_client(user))  # type: ignore[misc]
            self.write_kubeconfig(folder / f"{component}.kubeconfig", pair, server, user)


def server_context(certificate: Path, key: Path, client_ca: Path) -> ssl.SSLContext:
    """TLS for a kubelet's server: clients may show a certificate that ``client_ca`` signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(client_ca)
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


def _read_pair(folder: Path, name: str) -> Pair | None:
    try:
        return Pair((folder / f"{name}.crt").read_bytes(), (folder / f"{name}.key").read_bytes())
    except FileNotFoundError:
        return None


def _write_pair(folder: Path, name: str, pair: Pair) -> None:
    _write(folder / f"{name}.key", pair.key)
    _write(folder / f"{name}.crt", pair.certificate)


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, for the owner alone."""
    partial = path.with_name(f".{path.name}.new")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    partial.rename(path)

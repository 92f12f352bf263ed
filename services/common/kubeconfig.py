"""Kubeconfig files: written with everything inline, read as people have them.

``write`` makes what ``cybernetes up`` hands out: one cluster, one user, one context, mode 600. ``read`` takes any file
(inline data or paths beside it, a chosen context) and gives what a client needs to connect. Login helpers (``exec``,
``auth-provider``) are refused with a message that names them: they would run a program.
"""

from __future__ import annotations

import base64
import os
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cybernetes.core.clock import Random
from cybernetes.services.common.httpclient import HttpClient


class KubeconfigError(ValueError):
    """The file cannot be used; the message says which file and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach a cluster and as whom. Certificates and keys are PEM."""

    server: str
    certificate_authority: bytes = b""
    client_certificate: bytes = b""
    client_key: bytes = b""
    token: str = ""
    namespace: str = "default"
    tls_server_name: str = ""
    is_insecure: bool = False

    def ssl_context(self) -> ssl.SSLContext | None:
        """None for a server without TLS. Raises KubeconfigError for certificates that do not load."""
        if not self.server.startswith("https:"):
            return None
        return client_context(
            self.certificate_authority, self.client_certificate, self.client_key, is_insecure=self.is_insecure
        )

    def client(self, *, random: Random, user_agent: str = "cybernetes", timeout_s: float = 60.0) -> HttpClient:
        """A client for this connection, within the running event loop."""
        return HttpClient(
            self.server,
            random=random,
            ssl_context=self.ssl_context(),
            token=self.token,
            user_agent=user_agent,
            timeout_s=timeout_s,
            tls_server_name=self.tls_server_name,
        )


def client_context(
    certificate_authority: bytes, certificate: bytes = b"", key: bytes = b"", *, is_insecure: bool = False
) -> ssl.SSLContext:
    """TLS for a client that trusts one CA and shows one certificate; all PEM. Raises KubeconfigError."""
    try:
        context = ssl.create_default_context(cadata=certificate_authority.decode() if certificate_authority else None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if is_insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if certificate:
            # The ssl module reads keys from files only; this one is private and gone at once.
            with tempfile.NamedTemporaryFile() as pair:
                pair.write(certificate + b"\n" + key)
                pair.flush()
                context.load_cert_chain(pair.name)
    except (ssl.SSLError, OSError, ValueError) as error:
        raise KubeconfigError(f"the client's certificate, key or CA cannot be loaded: {error}") from error
    return context


def write(
    path: Path,
    *,
    server: str,
    certificate_authority: bytes,
    client_certificate: bytes = b"",
    client_key: bytes = b"",
    token: str = "",
    cluster: str = "cybernetes",
    user: str = "admin",
    namespace: str = "",
) -> None:
    """Write a kubeconfig with mode 600, whole or not at all."""
    user_entry: dict[str, str] = {}
    if client_certificate:
        user_entry["client-certificate-data"] = base64.b64encode(client_certificate).decode()
        user_entry["client-key-data"] = base64.b64encode(client_key).decode()
    if token:
        user_entry["token"] = token
    context_name = f"{user}@{cluster}"
    context = {"cluster": cluster, "user": user, **({"namespace": namespace} if namespace else {})}
    cluster_entry = {"server": server}
    if certificate_authority:
        cluster_entry["certificate-authority-data"] = base64.b64encode(certificate_authority).decode()
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster, "cluster": cluster_entry}],
        "users": [{"name": user, "user": user_entry}],
        "contexts": [{"name": context_name, "context": context}],
        "current-context": context_name,
        "preferences": {},
    }
    temporary = path.with_name(f".{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        yaml.safe_dump(document, file, sort_keys=False)
    temporary.replace(path)


def read(path: Path, context: str = "") -> Connection:
    """The connection of ``context``, or of the current one. Raises KubeconfigError."""
    try:
        document = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise KubeconfigError(f"{path} does not exist; start a cluster with: cybernetes up") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise KubeconfigError(f"{path} cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise KubeconfigError(f"{path} is no kubeconfig: it holds no mapping")
    chosen = context or document.get("current-context") or ""
    if not chosen:
        raise KubeconfigError(f"{path} has no current-context; name one with --context")
    settings = _entry(document, path, "contexts", chosen, "context")
    cluster = _entry(document, path, "clusters", settings.get("cluster", ""), "cluster")
    user = _entry(document, path, "users", settings["user"], "user") if settings.get("user") else {}
    for helper in ("exec", "auth-provider"):
        if helper in user:
            raise KubeconfigError(f"{path}: user {settings['user']!r} logs in by {helper}, which is not supported here")
    if not cluster.get("server"):
        raise KubeconfigError(f"{path}: cluster {settings.get('cluster')!r} has no server")
    token = str(user.get("token") or "")
    if not token and user.get("tokenFile"):
        token = _file(path, user["tokenFile"]).decode().strip()
    return Connection(
        server=str(cluster["server"]),
        certificate_authority=_data(path, cluster, "certificate-authority"),
        client_certificate=_data(path, user, "client-certificate"),
        client_key=_data(path, user, "client-key"),
        token=token,
        namespace=str(settings.get("namespace") or "default"),
        tls_server_name=str(cluster.get("tls-server-name") or ""),
        is_insecure=bool(cluster.get("insecure-skip-tls-verify")),
    )


def _entry(document: dict[str, Any], path: Path, section: str, name: str, field: str) -> dict[str, Any]:
    for entry in document.get(section) or ():
        if isinstance(entry, dict) and entry.get("name") == name:
            value = entry.get(field)
            return value if isinstance(value, dict) else {}
    raise KubeconfigError(f"{path} has no {field} named {name!r}")


def _data(path: Path, entry: dict[str, Any], field: str) -> bytes:
    inline = entry.get(f"{field}-data")
    if inline:
        try:
            return base64.b64decode(inline, validate=True)
        except ValueError:
            raise KubeconfigError(f"{path}: {field}-data is not base64") from None
    return _file(path, entry[field]) if entry.get(field) else b""


def _file(path: Path, named: str) -> bytes:
    """A file that the kubeconfig names, relative to where that stands."""
    try:
        return (path.parent / named).read_bytes()
    except OSError as error:
        raise KubeconfigError(f"{path} names {named}, which cannot be read: {error}") from error

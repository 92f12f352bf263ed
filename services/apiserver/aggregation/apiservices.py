"""Follows the APIServices: which group versions another API server answers for, and what is known of it.

    APIService v1alpha1.wardle.example.com          Remote: where it is, how its certificate is judged
        spec.service: api in wardle, port 7443      is_available: the last check went well (``availability``)
        caBundle, insecureSkipTLSVerify             discovered, openapi: what it said of itself then

APIServices without a service are our own group versions; they only say in which order these are listed.
"""

from __future__ import annotations

import base64
import binascii
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from cybernetes.core.api.discovery import version_priority
from cybernetes.core.objects import Gvr, Object
from cybernetes.services.apiserver.following import Following
from cybernetes.services.apiserver.storage import Storage

API_SERVICES = Gvr("apiregistration.k8s.io", "v1", "apiservices")


class ClientCertificate(NamedTuple):
    """PEM files by which this server proves to extension servers that it is the front proxy."""

    certificate: Path
    key: Path


@dataclass(slots=True)
class Remote:
    """One group version that another server answers for."""

    name: str
    group: str
    version: str
    spec: Object
    is_available: bool = False
    #: Its resources in the form of aggregated discovery, and its OpenAPI v3 document, as it told them.
    discovered: list[Object] = field(default_factory=list)
    openapi: bytes = b""

    @property
    def service(self) -> tuple[str, str, int]:
        """(namespace, name, port)"""
        service = self.spec["service"]
        return service["namespace"], service["name"], service.get("port") or 443

    @property
    def server_name(self) -> str:
        """The name that its certificate must have."""
        namespace, name, _ = self.service
        return f"{name}.{namespace}.svc"


class ApiServices:
    """The APIServices of one server, as its caches see them. ``start`` when the caches are complete."""

    def __init__(self, storage: Storage, certificate: ClientCertificate | None = None) -> None:
        self._certificate = certificate
        self._following = Following(storage, self, (API_SERVICES,))
        self._contexts: dict[str, ssl.SSLContext] = {}
        #: Name -> spec, of those that are our own.
        self._local: dict[str, Object] = {}
        self._remotes: dict[str, Remote] = {}
        self._by_version: dict[tuple[str, str], Remote] = {}
        #: Raised with everything that documents are made of.
        self.generation = 0
        #: Told of the name of each APIService that came, changed or went.
        self.on_change: list[Callable[[str], None]] = []

    def start(self) -> None:
        self._following.start()

    def stop(self) -> None:
        self._following.stop()

    # What is asked.

    def find(self, path: str) -> Remote | None:
        """Who answers for a path below ``/apis``, when it is not this server. None costs next to nothing."""
        if not self._by_version:
            return None
        parts = path.split("/", 4)
        if len(parts) < 4 or parts[1] != "apis":
            return None
        return self._by_version.get((parts[2], parts[3]))

    def get(self, name: str) -> Remote | None:
        return self._remotes.get(name)

    def remotes(self) -> Iterable[Remote]:
        return self._remotes.values()

    def groups(self, ours: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        """``ours`` (group -> versions, in order) and the remote ones, by priority as upstream lists them."""
        if not self._remotes:
            return dict(ours)
        group_priority: dict[str, int] = {}
        version_of: dict[tuple[str, str], int] = {}
        for spec in (*self._local.values(), *(remote.spec for remote in self._remotes.values())):
            group = spec.get("group") or ""
            group_priority[group] = max(group_priority.get(group, 0), spec.get("groupPriorityMinimum") or 0)
            version_of[(group, spec["version"])] = spec.get("versionPriority") or 0
        found: dict[str, set[str]] = {group: set(versions) for group, versions in ours.items()}
        for remote in self._remotes.values():
            found.setdefault(remote.group, set()).add(remote.version)

        def by_version(group: str, version: str) -> tuple[Any, ...]:
            return (-version_of.get((group, version), 0), *version_priority(version))

        ordered = sorted(found, key=lambda group: (-group_priority.get(group, _PRIORITY_OF_CUSTOM), group))
        first = [group for group in ordered if group == "apiregistration.k8s.io"]
        return {
            group: tuple(sorted(found[group], key=lambda version: by_version(group, version)))
            for group in dict.fromkeys([*first, *ordered])
        }

    def context(self, remote: Remote) -> ssl.SSLContext:
        """TLS to a remote server. Raises ValueError for a caBundle that cannot be read, OSError for our certificate."""
        is_insecure = bool(remote.spec.get("insecureSkipTLSVerify"))
        bundle = remote.spec.get("caBundle") or ""
        key = "-" if is_insecure else bundle
        found = self._contexts.get(key)
        if found is None:
            found = self._make_context(is_insecure, bundle)
            self._contexts[key] = found
        return found

    def _make_context(self, is_insecure: bool, bundle: str) -> ssl.SSLContext:
        try:
            data = base64.b64decode(bundle).decode("ascii") if bundle and not is_insecure else None
            context = ssl.create_default_context(cadata=data)
        except (ssl.SSLError, binascii.Error, UnicodeDecodeError):
            raise ValueError("unable to load root certificates: unable to parse bytes as PEM block") from None
        if is_insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self._certificate is not None:
            context.load_cert_chain(*self._certificate)
        return context

    # What ``Following`` tells.

    def put(self, gvr: Gvr, obj: Object) -> None:
        name, spec = obj["metadata"]["name"], obj["spec"]
        if spec.get("service") is None:
            self._forget(name)
            if self._local.get(name) != spec:
                self._local[name] = spec
                self._changed(name)
            return
        self._local.pop(name, None)
        before = self._remotes.get(name)
        available = any(
            condition.get("type") == "Available" and condition.get("status") == "True"
            for condition in (obj.get("status") or {}).get("conditions") or ()
        )
        if before is None or before.spec != spec:
            self._forget(name)
            remote = Remote(name, spec.get("group") or "", spec["version"], spec, available)
            self._remotes[name] = self._by_version[(remote.group, remote.version)] = remote
            self._changed(name)
        elif before.is_available != available:
            before.is_available = available
            self.generation += 1

    def discard(self, gvr: Gvr, namespace: str, name: str) -> None:
        self._local.pop(name, None)
        self._forget(name)
        self._changed(name)

    def replace(self, gvr: Gvr, objects: Iterable[Object]) -> None:
        present = {obj["metadata"]["name"]: obj for obj in objects}
        for name in {*self._local, *self._remotes} - present.keys():
            self.discard(gvr, "", name)
        for obj in present.values():
            self.put(gvr, obj)

    def _forget(self, name: str) -> None:
        remote = self._remotes.pop(name, None)
        if remote is not None:
            self._by_version.pop((remote.group, remote.version), None)
            if len(self._contexts) > len(self._remotes) + 1:
                self._contexts.clear()

    def _changed(self, name: str) -> None:
        self.generation += 1
        for told in self.on_change:
            told(name)


#: The group priority of custom resources.
_PRIORITY_OF_CUSTOM = 1000

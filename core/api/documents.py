"""The documents by which the API describes itself, as bytes, each made when it is first asked for.

Discovery and OpenAPI depend on nothing but the Registry, so each is kept until the registry's generation changes. A
document carries its hash, which is its entity tag: clients that have it are answered 304.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import NamedTuple

import orjson

from cybernetes.core.api import discovery, openapi
from cybernetes.core.api.openapi import CustomDefinitions
from cybernetes.core.api.registry import Registry
from cybernetes.core.objects import Object


class Document(NamedTuple):
    """JSON, and the hash of it: upper-case hex of SHA-512, as an entity tag without its quotes."""

    data: bytes
    hash: str


class Documents:
    """All documents of one registry. Not more of them than there are groups and versions."""

    def __init__(self, registry: Registry, custom: CustomDefinitions | None = None) -> None:
        """``custom`` gives the OpenAPI definitions of custom resources."""
        self._registry = registry
        self._custom = custom
        self._generation = registry.generation
        self._kept: dict[tuple[str, ...], Document | None] = {}

    def groups(self) -> Document:
        """``/apis``."""
        return self._always(("groups",), lambda: discovery.group_list(self._registry))

    def group(self, name: str) -> Document | None:
        """``/apis/NAME``; None when there is no such group."""
        return self._get(("group", name), lambda: discovery.group(self._registry, name))

    def resources(self, group: str, version: str) -> Document | None:
        """``/api/v1``, ``/apis/GROUP/VERSION``; None when it is not served."""
        make = lambda: discovery.resource_list(self._registry, group, version)  # noqa: E731
        return self._get(("resources", group, version), make)

    def aggregated(self, which: str, version: str = "v2") -> Document:
        """Aggregated discovery of ``/api`` or ``/apis``, as apidiscovery.k8s.io/``version``."""
        return self._always(
            ("aggregated", which, version), lambda: discovery.aggregated(self._registry, which, version)
        )

    def openapi_v2(self) -> Document:
        """``/openapi/v2``."""
        return self._always(("v2",), lambda: openapi.v2(self._registry, self._custom))

    def openapi_v3_index(self) -> Document:
        """``/openapi/v3``."""
        return self._always(("v3",), lambda: openapi.v3_index(self._registry))

    def openapi_v3(self, name: str) -> Document | None:
        """``/openapi/v3/NAME``, with the hash that the index gives; None when there is no such document."""
        if name not in openapi.v3_paths(self._registry):
            return None
        document = self._get(("v3", name), lambda: openapi.v3(self._registry, name, self._custom))
        return None if document is None else document._replace(hash=openapi.v3_hash(self._registry, name))

    def _always(self, key: tuple[str, ...], make: Callable[[], Object]) -> Document:
        document = self._get(key, make)
        assert document is not None
        return document

    def _get(self, key: tuple[str, ...], make: Callable[[], Object | None]) -> Document | None:
        if self._generation != self._registry.generation:
            self._generation = self._registry.generation
            self._kept.clear()
        if key in self._kept:
            return self._kept[key]
        made = make()
        if made is None:
            return None  # what does not exist is not kept: anyone may ask for any name
        data = orjson.dumps(made)
        document = Document(data, hashlib.sha512(data).hexdigest().upper())
        self._kept[key] = document
        return document

"""Names of images, when to pull them, and with whose credentials.

A name is ``[registry/]path[:tag][@digest]`` (distribution's reference grammar). Without tag and digest it is
``latest``; what has no registry is docker.io's. A registry of a pull secret is matched by host, port and leading path,
with ``*`` in parts of the host (https://kubernetes.io/docs/concepts/containers/images/#config-json).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import NamedTuple

from cybernetes.core.kubelet.environment import ConfigurationError, secret_bytes
from cybernetes.core.objects import Object

_DOMAIN_PART = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_DOMAIN_PART}(?:\.{_DOMAIN_PART})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_PATH_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_PATH_PART}(?:/{_PATH_PART})*")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}")
_DOMAIN_WHOLE = re.compile(_DOMAIN)

_DEFAULT_REGISTRY = "docker.io"
_HUB_NAMES = ("https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io")


class ImageName(NamedTuple):
    registry: str
    path: str
    tag: str
    digest: str


def parse_image(text: str) -> ImageName:
    """Raises ValueError with upstream's words for what is no name of an image."""

    def bad(why: str) -> ValueError:
        return ValueError(f'couldn\'t parse image name "{text}": {why}')

    rest, at, digest = text.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise bad("invalid reference format")
    head, slash, last = rest.rpartition("/")
    last, colon, tag = last.partition(":")
    if colon and not _TAG.fullmatch(tag):
        raise bad("invalid reference format")
    name = head + slash + last
    first, slash, path = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost" or first.lower() != first):
        registry = first
        if not _DOMAIN_WHOLE.fullmatch(registry):
            raise bad("invalid reference format")
    else:
        registry, path = _DEFAULT_REGISTRY, name
    if path != path.lower():
        raise bad("repository name must be lowercase")
    if not _PATH.fullmatch(path):
        raise bad("invalid reference format")
    if registry == _DEFAULT_REGISTRY and "/" not in path:
        path = f"library/{path}"
    if not tag and not digest:
        tag = "latest"
    return ImageName(registry, path, tag, digest)


def with_default_tag(text: str) -> str:
    """The name as the runtime is asked for it: with a tag or digest. Raises ValueError."""
    name = parse_image(text)
    if not name.digest and not text.endswith(f":{name.tag}"):
        return f"{text}:{name.tag}"
    return text


def pull_policy(image: str, policy: str | None) -> str:
    """``Always``, ``IfNotPresent`` or ``Never``; where nothing is said, ``latest`` is pulled always."""
    if policy:
        return policy
    try:
        name = parse_image(image)
    except ValueError:
        return "IfNotPresent"
    return "Always" if name.tag == "latest" and not name.digest else "IfNotPresent"


def credentials(image: str, secrets: Iterable[Object]) -> list[tuple[str, str]]:
    """(user, password) pairs of pull secrets that fit the image's registry, the most specific first."""
    name = parse_image(image)
    found: list[tuple[int, tuple[str, str]]] = []
    for secret in secrets:
        for key, wrapped in ((".dockerconfigjson", True), (".dockercfg", False)):
            try:
                data = secret_bytes(secret, key)
                entries = json.loads(data) if data else {}
            except (ConfigurationError, ValueError):
                continue  # a secret that cannot be read is no credential; the pull says what is missing
            if wrapped:
                entries = entries.get("auths") or {} if isinstance(entries, dict) else {}
            for registry, entry in entries.items() if isinstance(entries, dict) else ():
                pair = _pair(entry)
                if pair is not None and _matches(registry, name):
                    found.append((len(registry), pair))
    found.sort(key=lambda entry: -entry[0])
    return list(dict.fromkeys(pair for _, pair in found))


def _pair(entry: object) -> tuple[str, str] | None:
    if not isinstance(entry, dict):
        return None
    if entry.get("username") or entry.get("password"):
        return str(entry.get("username", "")), str(entry.get("password", ""))
    try:
        user, colon, password = base64.b64decode(entry.get("auth", "")).decode().partition(":")
    except (binascii.Error, ValueError, TypeError):
        return None
    return (user, password) if colon else None


def _matches(registry: str, name: ImageName) -> bool:
    if registry in _HUB_NAMES:
        return name.registry == _DEFAULT_REGISTRY
    plain = registry.removeprefix("https://").removeprefix("http://").rstrip("/")
    host, _, path = plain.partition("/")
    if path in ("v1", "v2"):
        path = ""
    wanted_host, _, wanted_port = host.partition(":")
    actual_host, _, actual_port = name.registry.partition(":")
    wanted_parts, actual_parts = wanted_host.split("."), actual_host.split(".")
    if wanted_port != actual_port or len(wanted_parts) != len(actual_parts):
        return False
    if not all(fnmatchcase(actual, wanted) for actual, wanted in zip(actual_parts, wanted_parts, strict=True)):
        return False
    return name.path.startswith(path)

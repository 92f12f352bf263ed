"""The environment of a container, from everything that may fill it.

Sources in the order in which they are applied, later ones winning: ``envFrom`` (ConfigMaps and Secrets), ``env`` (a
value with ``$(VAR)``, or a reference), and the Services' variables for names that are not taken yet.

What is read from the API comes in through ``Sources``: ``references`` says beforehand what to fetch.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cybernetes.core.kubelet import spec
from cybernetes.core.kubelet.downward import Surroundings, field_value, resource_value
from cybernetes.core.kubelet.expansion import expand_from
from cybernetes.core.objects import Object


class ConfigurationError(Exception):
    """The container cannot be made as it is described: CreateContainerConfigError, with this text as its message."""


def _no_file(volume: str, path: str) -> str:
    raise ConfigurationError(f'cannot find the volume "{volume}" referenced by FileKeyRef')


@dataclass(frozen=True, slots=True)
class Sources:
    """Objects by name in the pod's namespace; None for one that does not exist."""

    config_maps: Mapping[str, Object | None] = field(default_factory=dict)
    secrets: Mapping[str, Object | None] = field(default_factory=dict)
    services: Mapping[str, str] = field(default_factory=dict)
    #: The content of a file in a volume: (volume's name, path in it) -> text.
    read_file: Callable[[str, str], str] = _no_file


def references(container: spec.Container) -> tuple[set[str], set[str]]:
    """Names of the ConfigMaps and of the Secrets that the environment of ``container`` needs."""
    config_maps: set[str] = set()
    secrets: set[str] = set()
    for source in container.get("envFrom") or ():
        if source.get("configMapRef"):
            config_maps.add(source["configMapRef"].get("name", ""))
        if source.get("secretRef"):
            secrets.add(source["secretRef"].get("name", ""))
    for variable in container.get("env") or ():
        value_from = variable.get("valueFrom") or {}
        if value_from.get("configMapKeyRef"):
            config_maps.add(value_from["configMapKeyRef"].get("name", ""))
        if value_from.get("secretKeyRef"):
            secrets.add(value_from["secretKeyRef"].get("name", ""))
    return config_maps, secrets


def environment(
    pod: Object, container: spec.Container, sources: Sources, around: Surroundings
) -> list[tuple[str, str]]:
    """(name, value) in the order in which they were declared. Raises ConfigurationError."""
    result: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        prefix = source.get("prefix") or ""
        for name, value in _whole_object(pod, source, sources).items():
            result[prefix + name] = value
    for variable in container.get("env") or ():
        value = variable.get("value") or ""
        if value:
            value = expand_from(value, result, sources.services)
        elif variable.get("valueFrom"):
            found = _referenced(pod, container, variable["valueFrom"], sources, around)
            if found is None:
                continue
            value = found
        result[variable["name"]] = value
    for name, value in sources.services.items():
        result.setdefault(name, value)
    return list(result.items())


def _whole_object(pod: Object, source: Mapping[str, Any], sources: Sources) -> dict[str, str]:
    for field_name, kind, objects in (
        ("configMapRef", "configmap", sources.config_maps),
        ("secretRef", "secret", sources.secrets),
    ):
        reference = source.get(field_name)
        if not reference:
            continue
        obj = objects.get(reference.get("name", ""))
        if obj is None:
            if reference.get("optional"):
                return {}
            raise ConfigurationError(f'{kind} "{reference.get("name", "")}" not found')
        if kind == "configmap":
            return dict(obj.get("data") or {})
        return {key: secret_text(obj, key) or "" for key in obj.get("data") or {}}
    return {}


def secret_bytes(secret: Object, key: str) -> bytes | None:
    """One value of a Secret, decoded; None when there is no such key."""
    value = (secret.get("data") or {}).get(key)
    if value is None:
        return None
    try:
        return base64.b64decode(value)
    except (binascii.Error, ValueError) as error:
        raise ConfigurationError(f"value of key {key} is not base64: {error}") from error


def secret_text(secret: Object, key: str) -> str | None:
    """The same as text. Bytes that are no UTF-8 are kept as surrogates: a process's environment is bytes."""
    value = secret_bytes(secret, key)
    return None if value is None else value.decode(errors="surrogateescape")


def _referenced(
    pod: Object, container: spec.Container, value_from: Mapping[str, Any], sources: Sources, around: Surroundings
) -> str | None:
    """The value of one reference, None for an optional one that is not there."""
    try:
        if value_from.get("fieldRef"):
            return field_value(pod, value_from["fieldRef"], around)
        if value_from.get("resourceFieldRef"):
            return resource_value(pod, container, value_from["resourceFieldRef"], around)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    if value_from.get("fileKeyRef"):
        return _from_file(value_from["fileKeyRef"], sources)
    is_secret = bool(value_from.get("secretKeyRef"))
    reference = value_from.get("secretKeyRef") or value_from.get("configMapKeyRef")
    if not reference:
        return ""
    name, key = reference.get("name", ""), reference["key"]
    obj = (sources.secrets if is_secret else sources.config_maps).get(name)
    if obj is None:
        if reference.get("optional"):
            return None
        raise ConfigurationError(f'{"secret" if is_secret else "configmap"} "{name}" not found')
    value = secret_text(obj, key) if is_secret else (obj.get("data") or {}).get(key)
    if value is None and not reference.get("optional"):
        namespace = pod["metadata"].get("namespace", "")
        kind = "Secret" if is_secret else "ConfigMap"
        raise ConfigurationError(f"couldn't find key {key} in {kind} {namespace}/{name}")
    return value


def _from_file(reference: Mapping[str, Any], sources: Sources) -> str | None:
    volume, path, key = reference["volumeName"], reference["path"], reference["key"]
    text = sources.read_file(volume, path)
    try:
        value = read_variable(text, key)
    except ValueError as error:
        raise ConfigurationError("couldn't parse env file") from error
    if value:
        return value
    if reference.get("optional"):
        return None
    raise ConfigurationError(f'environment variable key "{key}" not found in file "{path}"')


def read_variable(text: str, key: str) -> str:
    """The value of ``key`` in a file of lines ``NAME='value'``, "" when it is not there. Raises ValueError.

    A subset of the POSIX shell (KEP-3721): values in single quotes, over several lines if need be, ``#`` comments.
    """
    position, length = 0, len(text)
    while position < length:
        end = text.find("\n", position)
        end = length if end < 0 else end
        line = text[position:end].lstrip(" \t")
        position = end + 1
        if not line.rstrip("\r") or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals or not name or name != name.rstrip(" \t"):
            raise ValueError(f"invalid environment variable format: {line!r}")
        if value[:1] in (" ", "\t"):
            if name == key:
                return ""
            continue
        if not value.startswith("'"):
            raise ValueError("value must be enclosed in single quotes")
        begin = end - len(value) + 1
        close = text.find("'", begin)
        if close < 0:
            raise ValueError("unclosed single quote")
        line_end = text.find("\n", close)
        line_end = length if line_end < 0 else line_end
        rest = text[close + 1 : line_end].strip(" \t\r")
        if rest and not rest.startswith("#"):
            raise ValueError("unexpected content after closing quote")
        if name == key:
            return text[begin:close]
        position = line_end + 1
    return ""

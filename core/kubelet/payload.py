"""The files of a volume that is made of API data: ConfigMap, Secret, downward API, or several of them projected.

``wanted`` says beforehand which objects and tokens a volume needs; ``payload`` is a function of them. Errors are
collected, so that the event about a volume names everything that is wrong with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cybernetes.core.kubelet import spec
from cybernetes.core.kubelet.downward import Surroundings, field_value, resource_value
from cybernetes.core.kubelet.environment import ConfigurationError, secret_bytes
from cybernetes.core.objects import Object

PATH_MAX = 4096
FILE_NAME_MAX = 255
TOKEN_SECONDS = 3600


class File(NamedTuple):
    """``user``: who owns it, where that is not root (a token of a pod that runs as somebody else)."""

    data: bytes
    mode: int
    user: int | None = None


Files = dict[str, File]


class TokenKey(NamedTuple):
    """A ServiceAccount token that a volume asks for; it is bound to the pod."""

    audience: str
    expiration_s: int


class PayloadError(Exception):
    """Why a volume's content cannot be made, in upstream's words."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a volume's content comes from, by name in the pod's namespace."""

    config_maps: frozenset[str] = frozenset()
    secrets: frozenset[str] = frozenset()
    tokens: frozenset[TokenKey] = frozenset()
    trust_bundles: bool = False


@dataclass(frozen=True, slots=True)
class Data:
    """What has been fetched; None for objects that do not exist."""

    config_maps: Mapping[str, Object | None] = field(default_factory=dict)
    secrets: Mapping[str, Object | None] = field(default_factory=dict)
    tokens: Mapping[TokenKey, str] = field(default_factory=dict)
    trust_bundles: Sequence[Object] = ()


def is_payload_volume(volume: Mapping[str, Any]) -> bool:
    return any(volume.get(kind) is not None for kind in ("configMap", "secret", "downwardAPI", "projected"))


def _sources(volume: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """(kind, source), as a projected volume has them; the others are one source of their own."""
    if volume.get("configMap") is not None:
        yield "configMap", volume["configMap"]
    elif volume.get("secret") is not None:
        source = volume["secret"]
        yield "secret", {**source, "name": source.get("secretName", "")}
    elif volume.get("downwardAPI") is not None:
        yield "downwardAPI", volume["downwardAPI"]
    else:
        for source in (volume.get("projected") or {}).get("sources") or ():
            for kind, value in source.items():
                if value is not None:
                    yield kind, value


def _token_key(source: Mapping[str, Any]) -> TokenKey:
    return TokenKey(source.get("audience") or "", int(source.get("expirationSeconds") or TOKEN_SECONDS))


def wanted(volume: Mapping[str, Any]) -> Wanted:
    """What has to be fetched for a volume."""
    sources = list(_sources(volume))
    return Wanted(
        frozenset(source.get("name", "") for kind, source in sources if kind == "configMap"),
        frozenset(source.get("name", "") for kind, source in sources if kind == "secret"),
        frozenset(_token_key(source) for kind, source in sources if kind == "serviceAccountToken"),
        any(kind == "clusterTrustBundle" for kind, _ in sources),
    )


def payload(pod: Object, volume: Mapping[str, Any], data: Data, around: Surroundings) -> Files:
    """Path in the volume to file. Raises PayloadError with everything that is wrong."""
    kinds = ("configMap", "secret", "downwardAPI", "projected")
    own = next(volume[kind] for kind in kinds if volume.get(kind) is not None)
    mode = int(own.get("defaultMode") if own.get("defaultMode") is not None else 0o644)
    files: Files = {}
    errors: list[str] = []
    for kind, source in _sources(volume):
        try:
            if kind == "configMap":
                files.update(_config_map(source, data.config_maps.get(source.get("name", "")), mode))
            elif kind == "secret":
                files.update(_secret(source, data.secrets.get(source.get("name", "")), mode))
            elif kind == "downwardAPI":
                files.update(_downward(pod, source, mode, around))
            elif kind == "serviceAccountToken":
                files[source["path"]] = _token(pod, source, data, mode)
            elif kind == "clusterTrustBundle":
                files[source["path"]] = File(_trust_bundle(source, data.trust_bundles), mode)
        except (ConfigurationError, PayloadError, ValueError) as error:
            errors.append(str(error))
    if not errors:
        for path in files:
            _check_path(path)
        return files
    unique = list(dict.fromkeys(errors))
    raise PayloadError(unique[0] if len(unique) == 1 else "[" + ", ".join(unique) + "]")


def _picked(source: Mapping[str, Any], values: Mapping[str, bytes], mode: int, missing: str) -> Files:
    items = source.get("items")
    if not items:
        return {name: File(value, mode) for name, value in values.items()}
    files: Files = {}
    for item in items:
        value = values.get(item["key"])
        if value is None:
            if source.get("optional"):
                continue
            raise PayloadError(f"{missing}: {item['key']}")
        own = item.get("mode")
        files[item["path"]] = File(value, mode if own is None else int(own))
    return files


def _config_map(source: Mapping[str, Any], config_map: Object | None, mode: int) -> Files:
    if config_map is None:
        if not source.get("optional"):
            raise PayloadError(f'configmap "{source.get("name", "")}" not found')
        config_map = {}
    values = {name: text.encode() for name, text in (config_map.get("data") or {}).items()}
    for name in config_map.get("binaryData") or {}:
        values[name] = secret_bytes({"data": config_map["binaryData"]}, name) or b""
    return _picked(source, values, mode, "configmap references non-existent config key")


def _secret(source: Mapping[str, Any], secret: Object | None, mode: int) -> Files:
    if secret is None:
        if not source.get("optional"):
            raise PayloadError(f'secret "{source.get("name", "")}" not found')
        secret = {}
    values = {name: secret_bytes(secret, name) or b"" for name in secret.get("data") or {}}
    return _picked(source, values, mode, "references non-existent secret key")


def _downward(pod: Object, source: Mapping[str, Any], mode: int, around: Surroundings) -> Files:
    files: Files = {}
    for item in source.get("items") or ():
        if item.get("fieldRef"):
            text = field_value(pod, item["fieldRef"], around)
        else:
            text = resource_value(pod, None, item["resourceFieldRef"], around)
        own = item.get("mode")
        files[item["path"]] = File(text.encode(), mode if own is None else int(own))
    return files


def _token(pod: Object, source: Mapping[str, Any], data: Data, mode: int) -> File:
    token = data.tokens.get(_token_key(source))
    if token is None:
        raise PayloadError(f'failed to fetch token: no token for "{pod["spec"].get("serviceAccountName", "")}"')
    user, group = token_owner(pod)
    if user is not None or group is not None:
        mode = 0o600  # only whom it is for; with a group it becomes 0640
    return File(token.encode(), mode, user)


def token_owner(pod: Object) -> tuple[int | None, int | None]:
    """(user that all containers run as, fsGroup): whose the token's file is."""
    context = pod["spec"].get("securityContext") or {}
    users = set()
    for container in spec.all_containers(pod):
        user = (container.get("securityContext") or {}).get("runAsUser", context.get("runAsUser"))
        users.add(user)
    user = users.pop() if len(users) == 1 else None
    return user, context.get("fsGroup")


def _trust_bundle(source: Mapping[str, Any], bundles: Sequence[Object]) -> bytes:
    name, signer = source.get("name"), source.get("signerName")
    if name:
        found = [bundle for bundle in bundles if bundle["metadata"]["name"] == name]
        if not found and not source.get("optional"):
            raise PayloadError(f'clustertrustbundle "{name}" not found')
    elif signer:
        found = [bundle for bundle in bundles if (bundle.get("spec") or {}).get("signerName") == signer]
        if not found and not source.get("optional"):
            raise PayloadError("combination of signerName and labelSelector matched zero ClusterTrustBundles")
    else:
        raise PayloadError("ClusterTrustBundle projection requires either name or signerName to be set")
    texts = sorted({(bundle.get("spec") or {}).get("trustBundle", "").strip() for bundle in found})
    return "".join(text + "\n" for text in texts if text).encode()


def _check_path(path: str) -> None:
    """A file must stay in its volume, and out of the names that updates use (``..data``)."""
    if not path:
        raise PayloadError('invalid path: must not be empty: ""')
    if path.startswith("/"):
        raise PayloadError(f"invalid path: must be relative path: {path}")
    if len(path) > PATH_MAX:
        raise PayloadError(f"invalid path: must be less than or equal to {PATH_MAX} characters")
    parts = path.split("/")
    if ".." in parts:
        raise PayloadError(f"invalid path: must not contain '..': {path}")
    if any(len(part) > FILE_NAME_MAX for part in parts):
        raise PayloadError(f"invalid path: filenames must be less than or equal to {FILE_NAME_MAX} characters")
    if parts[0].startswith(".."):
        raise PayloadError(f"invalid path: must not start with '..': {path}")

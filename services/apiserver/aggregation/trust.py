"""What extension API servers need to believe us: ``kube-system/extension-apiserver-authentication``.

It holds the authority of client certificates, and that of the front proxy with the headers which that one writes.
Several servers may have several authorities: each adds its own to what is there.
"""

from __future__ import annotations

import orjson

from cybernetes.core.auth.user import API_SERVER_NAME, MASTERS, User
from cybernetes.core.errors import ApiError, is_already_exists
from cybernetes.core.objects import CONFIG_MAPS, Object
from cybernetes.services.apiserver.backend import Backend
from cybernetes.services.apiserver.call import Call
from cybernetes.services.apiserver.handlers.create import create
from cybernetes.services.apiserver.handlers.update import rewrite

NAMESPACE, NAME = "kube-system", "extension-apiserver-authentication"
_USER = User(API_SERVER_NAME, groups=(MASTERS,))
_HEADERS = {
    "requestheader-username-headers": ["X-Remote-User"],
    "requestheader-uid-headers": ["X-Remote-Uid"],
    "requestheader-group-headers": ["X-Remote-Group"],
    "requestheader-extra-headers-prefix": ["X-Remote-Extra-"],
}


async def publish(backend: Backend, client_ca: str, proxy_ca: str, proxy_names: list[str]) -> None:
    """Write the ConfigMap, or add to it what is missing. The authorities are PEM, or empty. Raises ApiError."""
    data: dict[str, str] = {}
    if client_ca:
        data["client-ca-file"] = client_ca
    if proxy_ca:
        data["requestheader-client-ca-file"] = proxy_ca
        data["requestheader-allowed-names"] = _json(proxy_names)
        data |= {name: _json(values) for name, values in _HEADERS.items()}
    if not data:
        return
    resource = backend.registry.get(CONFIG_MAPS)
    assert resource is not None

    def change(obj: Object) -> None:
        stored = obj.get("data") or {}
        obj["data"] = {
            **stored,
            **{
                key: _joined(stored.get(key, ""), value) if key.endswith("-file") else value
                for key, value in data.items()
            },
        }

    if backend.storage.find(CONFIG_MAPS, NAMESPACE, NAME) is None:
        obj = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": NAME, "namespace": NAMESPACE},
            "data": data,
        }
        call = Call("create", resource, None, NAMESPACE, "", _USER, {}, "kube-apiserver", obj=obj)
        try:
            await create(backend, call)
            return
        except ApiError as error:
            if not is_already_exists(error):
                raise
    await rewrite(backend, resource, NAMESPACE, NAME, change)


def _joined(stored: str, own: str) -> str:
    """The certificates of both, each once."""
    return stored if own.strip() in stored else stored + own


def _json(values: list[str]) -> str:
    return orjson.dumps(values).decode()

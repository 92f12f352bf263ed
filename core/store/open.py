"""From a URL to a Store: which engine a component talks to is one argument."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from cybernetes.core.clock import Random
from cybernetes.core.store.interface import Store


def open_store(url: str, *, random: Random | None = None) -> Store:
    """``unix:///path/store.sock``: the store process that listens there. ``etcd://host:port,…``: an etcd cluster, with
    TLS as query parameters (see ``etcd.address``). ``memory://``: a new store in this process.

    Connects when it is first used. Raises ValueError for any other URL, saying what can be done.
    """
    parts = urlsplit(url)
    if parts.scheme == "unix":
        if parts.netloc or not parts.path.startswith("/"):
            raise ValueError(f"{url}: write unix:///absolute/path of the store's socket, with three slashes")
        from cybernetes.core.store.remote import RemoteStore

        return RemoteStore(Path(unquote(parts.path)), random=random)
    if parts.scheme == "memory":
        from cybernetes.core.store.memory import MemoryStore

        return MemoryStore()
    if parts.scheme == "lmdb":
        raise ValueError(f"{url}: start a store process on that directory and give its socket, unix:///path/store.sock")
    if parts.scheme == "etcd":
        return _etcd(url, random)
    raise ValueError(f"{url}: a store is unix:///path/store.sock, etcd://host:port or memory://")


def _etcd(url: str, random: Random | None) -> Store:
    from cybernetes.core.store.etcd import address

    where = address.parse(url)
    try:
        from cybernetes.core.store.etcd.store import EtcdStore
    except ModuleNotFoundError as error:
        raise ValueError(f"{url}: {error.name} is not installed; pip install 'cybernetes[etcd]'") from None
    return EtcdStore(where, random=random)

"""Reads a whole cluster for questions about scheduling: a live one, a snapshot, or what kubectl wrote.

A file may be YAML or JSON (``kubectl get nodes,pods,… -A -o yaml``: a List, or several documents) or what
``cybernetes snapshot save`` wrote.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import yaml

from cybernetes.core.api.registry import builtin
from cybernetes.core.clock import Random
from cybernetes.core.errors import ApiError, is_not_found
from cybernetes.core.objects import NODES, PODS, PRIORITY_CLASSES, Gvk, Gvr, Object
from cybernetes.core.scheduling.configuration import Configuration
from cybernetes.core.scheduling.plugins.registry import Factory
from cybernetes.core.scheduling.profile import Profile, ProfileError
from cybernetes.core.scheduling.whatif import World
from cybernetes.core.store.interface import StoreError
from cybernetes.services.cli.datadir import DataDirectory
from cybernetes.services.cli.failure import CommandError, UsageError
from cybernetes.services.common import kubeconfig
from cybernetes.services.scheduler.loading import from_file, installed

TIMEOUT_S = 60.0
#: The first bytes of a YAML or JSON text; a snapshot begins with zeros.
_TEXT = frozenset(range(0x20, 0x7F)) | {0x09, 0x0A, 0x0D}


class Source(NamedTuple):
    """Where a cluster is read from, and whose decisions are asked for."""

    data_dir: str
    kubeconfig: str = ""
    file: str = ""
    scheduler_config: str = ""
    scheduler_plugins: str = ""

    @classmethod
    def of(cls, given: argparse.Namespace) -> Source:
        """What was asked for; the scheduler's files are those of the cluster in the data directory."""
        config, plugins = given.scheduler_config, ""
        data = DataDirectory.at(given.data_dir)
        if not config and not given.kubeconfig and not given.file and data.options_file.exists():
            options = data.load_options()
            config, plugins = options.scheduler_config, options.scheduler_plugins
        return cls(given.data_dir, given.kubeconfig, given.file, config, plugins)


def load(source: Source) -> World:
    """With the first profile, or the default one. Raises CommandError."""
    profiles = _profiles(source.scheduler_config)
    world = World({}, profiles[0], _plugins(source, profiles))
    wanted = list(dict.fromkeys(gvr for profile in profiles for gvr in _wanted(replace(world, profile=profile))))
    if source.file:
        path = Path(source.file)
        if not path.is_file():
            raise UsageError(f"there is no file {path}")
        is_text = all(byte in _TEXT for byte in path.open("rb").read(16))
        return replace(world, objects=from_text(path) if is_text else from_snapshot(path, wanted))
    path = Path(source.kubeconfig) if source.kubeconfig else DataDirectory.at(source.data_dir).admin_kubeconfig
    if not path.exists():
        raise CommandError(f"there is no cluster: {path} is missing; start one with `cybernetes up`, or name another")
    try:
        return replace(world, objects=asyncio.run(_from_api(path, wanted)))
    except (ApiError, OSError, TimeoutError, kubeconfig.KubeconfigError) as error:
        raise CommandError(f"the cluster cannot be read: {error}") from error


def of_scheduler(world: World, source: Source, name: str) -> World:
    """The same world as the profile of this name sees it, where there is one."""
    found = next((p for p in _profiles(source.scheduler_config) if p.scheduler_name == name), None)
    return world if found is None else replace(world, profile=found)


def _profiles(config: str) -> tuple[Profile, ...]:
    try:
        return Configuration.from_file(Path(config)).profiles if config else (Profile(),)
    except ProfileError as error:
        raise CommandError(f"{config}: {error}") from error


def _plugins(source: Source, profiles: Iterable[Profile]) -> Mapping[str, Factory]:
    names = [name for profile in profiles for name in profile.plugin_names]
    try:
        own = from_file(Path(source.scheduler_plugins)) if source.scheduler_plugins else {}
        return {**installed(name for name in names if name not in own), **own}
    except ProfileError as error:
        raise CommandError(str(error)) from error


def _wanted(world: World) -> list[Gvr]:
    try:
        reads = world.scheduler().framework.reads()
    except ProfileError as error:
        raise CommandError(str(error)) from error
    return [NODES, PODS, PRIORITY_CLASSES, *reads]


async def _from_api(path: Path, wanted: Iterable[Gvr]) -> dict[Gvr, list[Object]]:
    client = kubeconfig.read(path).client(random=Random(), user_agent="cybernetes-scheduling", timeout_s=TIMEOUT_S)

    async def listed(gvr: Gvr) -> list[Object]:
        try:
            return list((await client.list(gvr)).items)
        except ApiError as error:
            if is_not_found(error):  # not served here
                return []
            raise

    try:
        wanted = list(wanted)
        found = await asyncio.gather(*(listed(gvr) for gvr in wanted))
        return dict(zip(wanted, found, strict=True))
    finally:
        await client.close()


def from_text(path: Path) -> dict[Gvr, list[Object]]:
    """Raises CommandError."""
    objects: dict[Gvr, list[Object]] = {}
    for obj in _each(_documents(path), str(path)):
        group, _, version = (obj.get("apiVersion") or "").rpartition("/")
        resource = builtin().by_kind(Gvk(group, version, obj.get("kind") or ""))
        if resource is not None:
            objects.setdefault(resource.gvr, []).append(obj)
    return objects


def manifests(path: str) -> list[Object]:
    """The objects of a manifest file, lists taken apart. Raises CommandError."""
    file = Path(path)
    if path != "-" and not file.is_file():
        raise UsageError(f"there is no file {path}")
    return list(_each(_documents(file), path))


def _documents(path: Path) -> list[Any]:
    try:
        text = path.read_text()
        if text.lstrip()[:1] == "{":
            return [orjson.loads(text)]
        return list(yaml.load_all(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except (yaml.YAMLError, ValueError) as error:
        raise CommandError(f"{path}: {error}") from error


def _each(documents: Iterable[Any], where: str) -> Iterator[Object]:
    for document in documents:
        if document is None:
            continue
        if not isinstance(document, dict):
            raise CommandError(f"{where}: expected Kubernetes objects")
        if (document.get("kind") or "").endswith("List"):
            kind = document["kind"].removesuffix("List")
            common = {"apiVersion": document.get("apiVersion"), "kind": kind} if kind else {}
            yield from _each(({**common, **item} for item in document.get("items") or ()), where)
        else:
            document.setdefault("metadata", {})
            yield document


def from_snapshot(path: Path, wanted: Iterable[Gvr]) -> dict[Gvr, list[Object]]:
    """Raises CommandError."""
    from cybernetes.core.store.lmdb.engine import LmdbEngine
    from cybernetes.core.store.lmdb.snapshot import restore
    from cybernetes.core.store.lmdb.store import LmdbStore

    async def read(directory: Path) -> dict[Gvr, list[Object]]:
        store = LmdbStore(LmdbEngine(directory))
        try:
            return {gvr: await _stored(store, gvr) for gvr in wanted}
        finally:
            await store.close()

    with tempfile.TemporaryDirectory(prefix="cybernetes-") as folder:
        directory = Path(folder) / "store"
        try:
            restore(path, directory)
            return asyncio.run(read(directory))
        except StoreError as error:
            raise CommandError(f"{path}: {error}") from error


async def _stored(store: Any, gvr: Gvr) -> list[Object]:
    resource = builtin().get(gvr)
    if resource is None:
        return []
    prefix = resource.storage_prefix
    page = await store.range(prefix, prefix[:-1] + bytes([prefix[-1] + 1]))
    return [orjson.loads(record.value) for record in page.records]

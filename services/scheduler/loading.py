"""The scheduler that configuration files describe, with plugins that do not ship.

Plugins are found by entry point where they are installed, others in a Python file.

An installed distribution names its factories in the group ``cybernetes.scheduler_plugins``; a file has them in a
dictionary ``PLUGINS``: name -> callable of (args, handle), see ``core/scheduling/plugins/registry.py``.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from cybernetes.core.client.factory import InformerFactory
from cybernetes.core.client.interface import Client
from cybernetes.core.clock import Clock, Random
from cybernetes.core.scheduling.configuration import Configuration
from cybernetes.core.scheduling.plugins.registry import PLUGINS, Factory
from cybernetes.core.scheduling.profile import ProfileError
from cybernetes.services.scheduler.scheduler import SchedulerService

GROUP = "cybernetes.scheduler_plugins"


def scheduler(
    config: str,
    plugins: str,
    client: Client,
    clock: Clock,
    random: Random,
    *,
    informers: InformerFactory | None = None,
    on_failure: Callable[[BaseException], None] | None = None,
) -> SchedulerService:
    """As the files say: a KubeSchedulerConfiguration and one with plugins, either may be empty. Raises ProfileError."""
    read = Configuration.from_file(Path(config)) if config else Configuration()
    factories = dict(from_file(Path(plugins))) if plugins else {}
    names = {name for profile in read.profiles for name in profile.plugin_names}
    return SchedulerService(
        client,
        clock,
        random,
        informers=informers,
        profiles=read.profiles,
        plugins={**installed(names - factories.keys()), **factories},
        extenders=read.extenders,
        initial_backoff_s=read.initial_backoff_s,
        max_backoff_s=read.max_backoff_s,
        on_failure=on_failure,
    )


def installed(wanted: Iterable[str]) -> dict[str, Factory]:
    """The factories with these names that distributions offer; nothing else is imported. Raises ProfileError."""
    names = set(wanted) - PLUGINS.keys()
    if not names:
        return {}
    found: dict[str, Factory] = {}
    for entry in entry_points(group=GROUP):
        if entry.name in names:
            try:
                found[entry.name] = entry.load()
            except Exception as error:
                raise ProfileError(f'plugin "{entry.name}" ({entry.value}): {type(error).__name__}: {error}') from error
    return found


def from_file(path: Path) -> Mapping[str, Factory]:
    """What a file's ``PLUGINS`` names. Raises ProfileError."""
    spec = importlib.util.spec_from_file_location(f"cybernetes_scheduler_plugins_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ProfileError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ProfileError(f"{path}: {type(error).__name__}: {error}") from error
    plugins: Any = getattr(module, "PLUGINS", None)
    if not isinstance(plugins, Mapping) or not all(callable(factory) for factory in plugins.values()):
        raise ProfileError(f"{path}: expected PLUGINS, a dictionary of name -> factory")
    return plugins

"""Finds plugins that do not ship: installed ones by entry point, others in a Python file.

An installed distribution names its factories in the group ``cybernetes.scheduler_plugins``; a file has them in a
dictionary ``PLUGINS``: name -> callable of (args, handle), see ``core/scheduling/plugins/registry.py``.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from cybernetes.core.scheduling.plugins.registry import PLUGINS, Factory
from cybernetes.core.scheduling.profile import ProfileError

GROUP = "cybernetes.scheduler_plugins"


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

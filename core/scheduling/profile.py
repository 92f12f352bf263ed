"""Which plugins run, in which order, with which weights and arguments (KubeSchedulerConfiguration v1).

The default profile is that of kube-scheduler 1.36. A configuration's ``profiles`` entry changes it as upstream does:
``multiPoint`` enables a plugin wherever it has a method, an extension point adds, overrides or (``disabled``, with
``*`` for all) takes away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cybernetes.core.scheduling.interface import Plugin
from cybernetes.core.scheduling.plugins.registry import DEFAULT_PLUGINS
from cybernetes.core.scheduling.podshape import DEFAULT_SCHEDULER

#: Extension point in a configuration -> the method that a plugin of that point has.
POINTS: Mapping[str, str] = {
    "preEnqueue": "pre_enqueue",
    "queueSort": "queue_key",
    "preFilter": "pre_filter",
    "filter": "filter",
    "postFilter": "post_filter",
    "preScore": "pre_score",
    "score": "score",
    "reserve": "reserve",
    "permit": "permit",
    "preBind": "pre_bind",
    "bind": "bind",
    "postBind": "post_bind",
}


class ProfileError(ValueError):
    """A configuration that cannot be followed; says where and why."""


@dataclass(frozen=True, slots=True)
class Enabled:
    name: str
    weight: int = 0


@dataclass(frozen=True, slots=True)
class Profile:
    """``multi_point`` in order; ``points`` has what an extension point enables and disables by itself."""

    scheduler_name: str = DEFAULT_SCHEDULER
    multi_point: tuple[Enabled, ...] = tuple(Enabled(name, weight) for name, weight in DEFAULT_PLUGINS)
    points: Mapping[str, tuple[tuple[Enabled, ...], frozenset[str]]] = field(default_factory=dict)
    args: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def from_object(cls, profile: Mapping[str, Any]) -> Profile:
        """From an entry of ``profiles`` of a KubeSchedulerConfiguration v1. Raises ProfileError."""
        plugins = profile.get("plugins") or {}
        unknown = set(plugins) - {"multiPoint", *POINTS}
        if unknown:
            raise ProfileError(f"plugins: unknown extension point {', '.join(sorted(unknown))}")
        points = {point: _plugin_set(plugins[point], f"plugins.{point}") for point in POINTS if plugins.get(point)}
        args: dict[str, Mapping[str, Any]] = {}
        for position, entry in enumerate(profile.get("pluginConfig") or ()):
            name = entry.get("name")
            if not name:
                raise ProfileError(f"pluginConfig[{position}].name: Required value")
            if name in args:
                raise ProfileError(f"pluginConfig[{position}]: Duplicate value: {name}")
            args[name] = entry.get("args") or {}
        multi_point = _merged(cls().multi_point, *_plugin_set(plugins.get("multiPoint") or {}, "plugins.multiPoint"))
        return cls(profile.get("schedulerName") or DEFAULT_SCHEDULER, multi_point, points, args)

    @property
    def plugin_names(self) -> tuple[str, ...]:
        """All that are enabled anywhere, each once."""
        names = [enabled.name for enabled in self.multi_point]
        names += [enabled.name for point in self.points.values() for enabled in point[0]]
        return tuple(dict.fromkeys(names))

    def at(self, point: str, plugins: Mapping[str, Plugin]) -> list[Enabled]:
        """What runs at an extension point, in order: overrides, then multiPoint's, then the point's own.

        ``plugins`` are all that were made. Raises ProfileError for one that is enabled where it has no method.
        """
        method = POINTS[point]
        own, disabled = self.points.get(point, ((), frozenset()))
        for enabled in own:
            if not hasattr(plugins[enabled.name], method):
                raise ProfileError(f"plugins.{point}: plugin {enabled.name} does not extend {point}")
        if "*" in disabled:
            return list(own)
        own_names = {enabled.name for enabled in own}
        multi_names = {enabled.name for enabled in self.multi_point}
        return [
            *(enabled for enabled in own if enabled.name in multi_names),
            *(
                enabled
                for enabled in self.multi_point
                if enabled.name not in own_names
                and enabled.name not in disabled
                and hasattr(plugins[enabled.name], method)
            ),
            *(enabled for enabled in own if enabled.name not in multi_names),
        ]


def _plugin_set(value: Mapping[str, Any], path: str) -> tuple[tuple[Enabled, ...], frozenset[str]]:
    enabled: list[Enabled] = []
    for position, entry in enumerate(value.get("enabled") or ()):
        name = entry.get("name")
        if not name:
            raise ProfileError(f"{path}.enabled[{position}].name: Required value")
        if any(other.name == name for other in enabled):
            raise ProfileError(f"{path}.enabled[{position}]: plugin {name} is already registered")
        weight = entry.get("weight") or 0
        if not isinstance(weight, int) or weight < 0:
            raise ProfileError(f"{path}.enabled[{position}].weight: Invalid value: {weight}")
        enabled.append(Enabled(name, weight))
    return tuple(enabled), frozenset(entry.get("name", "") for entry in value.get("disabled") or ())


def _merged(defaults: Sequence[Enabled], enabled: Sequence[Enabled], disabled: frozenset[str]) -> tuple[Enabled, ...]:
    """The defaults that are not disabled, each replaced where it is enabled again, then what is new."""
    custom = {entry.name: entry for entry in enabled}
    kept: list[Enabled] = []
    if "*" not in disabled:
        for default in defaults:
            if default.name in custom:
                kept.append(custom.pop(default.name))
            elif default.name not in disabled:
                kept.append(default)
    return (*kept, *(entry for entry in enabled if entry.name in custom))

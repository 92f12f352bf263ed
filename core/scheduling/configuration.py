"""KubeSchedulerConfiguration v1, read as kube-scheduler reads it: strictly, and with every mistake named at once.

    apiVersion: kubescheduler.config.k8s.io/v1
    kind: KubeSchedulerConfiguration
    profiles:
    - schedulerName: default-scheduler
      plugins: {score: {disabled: [{name: ImageLocality}]}}
      pluginConfig: [{name: NodeResourcesFit, args: {scoringStrategy: {type: MostAllocated}}}]
    extenders: [{urlPrefix: http://gpu.example/, filterVerb: filter, weight: 1}]

What only concerns how kube-scheduler runs (leader election, client connection, parallelism, the sampling of nodes) is
checked and otherwise ignored: every node is looked at, and the process decides the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from cybernetes.core.scheduling.extender import Extender, ExtenderError
from cybernetes.core.scheduling.profile import Profile, ProfileError

API_VERSION = "kubescheduler.config.k8s.io/v1"
KIND = "KubeSchedulerConfiguration"

_FIELDS = frozenset(
    {
        "apiVersion",
        "kind",
        "parallelism",
        "leaderElection",
        "clientConnection",
        "enableProfiling",
        "enableContentionProfiling",
        "percentageOfNodesToScore",
        "podInitialBackoffSeconds",
        "podMaxBackoffSeconds",
        "profiles",
        "extenders",
        "delayCacheUntilActive",
    }
)
_PROFILE_FIELDS = frozenset({"schedulerName", "percentageOfNodesToScore", "plugins", "pluginConfig"})
#: Plugin -> the fields of its arguments. Plugins that are not here take what they like.
_ARGS_FIELDS: Mapping[str, frozenset[str]] = {
    "DefaultPreemption": frozenset({"minCandidateNodesPercentage", "minCandidateNodesAbsolute"}),
    "InterPodAffinity": frozenset({"hardPodAffinityWeight", "ignorePreferredTermsOfExistingPods"}),
    "NodeAffinity": frozenset({"addedAffinity"}),
    "NodeResourcesBalancedAllocation": frozenset({"resources"}),
    "NodeResourcesFit": frozenset({"ignoredResources", "ignoredResourceGroups", "scoringStrategy"}),
    "PodTopologySpread": frozenset({"defaultConstraints", "defaultingType"}),
    "VolumeBinding": frozenset({"bindTimeoutSeconds", "shape"}),
    "DynamicResources": frozenset({"filterTimeout", "bindingTimeout"}),
}
#: Plugins that earlier versions had.
_GONE = frozenset({"AzureDiskLimits", "CinderLimits", "EBSLimits", "GCEPDLimits"})


class ConfigurationError(ProfileError):
    """A file that cannot be followed. ``problems`` has one line for each mistake."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]")
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Configuration:
    profiles: tuple[Profile, ...] = (Profile(),)
    extenders: tuple[Extender, ...] = ()
    initial_backoff_s: float = 1.0
    max_backoff_s: float = 10.0

    @classmethod
    def from_file(cls, path: Path) -> Configuration:
        """Raises ConfigurationError."""
        try:
            return cls.from_text(path.read_text())
        except OSError as error:
            raise ConfigurationError([f"{path}: {error.strerror or error}"]) from error
        except UnicodeDecodeError as error:
            raise ConfigurationError([f"{path}: not text: {error}"]) from error

    @classmethod
    def from_text(cls, text: str) -> Configuration:
        """YAML or JSON. Raises ConfigurationError."""
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigurationError([f"not YAML: {error}"]) from error
        if not isinstance(value, dict):
            raise ConfigurationError([f"expected an object of kind {KIND}"])
        return cls.from_object(value)

    @classmethod
    def from_object(cls, value: Mapping[str, Any]) -> Configuration:
        """Raises ConfigurationError."""
        version, kind = value.get("apiVersion"), value.get("kind")
        if (version, kind) != (API_VERSION, KIND):
            raise ConfigurationError(
                [f'no kind "{kind}" is registered for version "{version}"; expected {KIND} of {API_VERSION}']
            )
        problems = [f'unknown field "{name}"' for name in sorted(value.keys() - _FIELDS)]
        parallelism = _integer(value, "parallelism", 16, problems)
        if parallelism <= 0:
            problems.append(f"parallelism: Invalid value: {parallelism}: should be an integer value greater than zero")
        _check_percentage(value, "", problems)
        initial_s = _integer(value, "podInitialBackoffSeconds", 1, problems)
        max_s = _integer(value, "podMaxBackoffSeconds", 10, problems)
        if initial_s <= 0:
            problems.append(f"podInitialBackoffSeconds: Invalid value: {initial_s}: must be greater than 0")
        if max_s < initial_s:
            problems.append(
                f"podMaxBackoffSeconds: Invalid value: {max_s}:"
                " must be greater than or equal to PodInitialBackoffSeconds"
            )
        extenders = _extenders(_list(value, "extenders", problems), problems)
        ignored = [r.name for extender in extenders for r in extender.managed if r.is_ignored_by_scheduler]
        profiles = _profiles(_list(value, "profiles", problems), ignored, problems)
        if problems:
            raise ConfigurationError(problems)
        return cls(tuple(profiles), tuple(extenders), float(initial_s), float(max_s))


def _profiles(given: Sequence[Any], ignored: Sequence[str], problems: list[str]) -> list[Profile]:
    profiles: list[Profile] = []
    first: dict[str, int] = {}
    for position, entry in enumerate(given or ({},)):
        path = f"profiles[{position}]"
        if not isinstance(entry, dict):
            problems.append(f"{path}: expected an object")
            continue
        problems.extend(f'unknown field "{path}.{name}"' for name in sorted(entry.keys() - _PROFILE_FIELDS))
        _check_percentage(entry, f"{path}.", problems)
        name = entry.get("schedulerName")
        if not name and len(given) > 1:  # a single one has the default name
            problems.append(f"{path}.schedulerName: Required value")
        if name in first:
            problems.append(f'{path}.schedulerName: Duplicate value: "profiles[{first[name]}].schedulerName"')
        first.setdefault(name or "", position)
        if not _is_shaped(entry, path, problems):
            continue
        _check_plugins(entry, path, problems)
        try:
            profile = Profile.from_object(entry)
        except (ProfileError, AttributeError, TypeError) as error:
            problems.append(f"{path}.{error}" if isinstance(error, ProfileError) else f"{path}: not a profile: {error}")
            continue
        profiles.append(_ignoring(profile, ignored) if ignored else profile)
    sorters = [profile.points.get("queueSort") for profile in profiles]
    for position, sorter in enumerate(sorters):
        if sorter != sorters[0]:
            problems.append(f"profiles[{position}].plugins.queueSort: Invalid value: must be the same for all profiles")
    return profiles


def _is_shaped(entry: Mapping[str, Any], path: str, problems: list[str]) -> bool:
    plugins, config = entry.get("plugins"), entry.get("pluginConfig")
    if plugins is not None and not isinstance(plugins, dict):
        problems.append(f"{path}.plugins: expected an object")
    elif config is not None and not isinstance(config, list):
        problems.append(f"{path}.pluginConfig: expected a list")
    else:
        return True
    return False


def _check_plugins(entry: Mapping[str, Any], path: str, problems: list[str]) -> None:
    for position, config in enumerate(entry.get("pluginConfig") or ()):
        if not isinstance(config, dict):
            problems.append(f"{path}.pluginConfig[{position}]: expected an object")
            continue
        name, args = config.get("name") or "", config.get("args") or {}
        known = _ARGS_FIELDS.get(name)
        where = f"{path}.pluginConfig[{position}]"
        if name in _GONE:
            problems.append(f'{where}: Invalid value: "{name}": was invalid in version "{API_VERSION}"')
        if not isinstance(args, dict):
            problems.append(f"{where}.args: expected an object")
            continue
        if known is None:
            continue
        kind = args.get("kind")
        if kind is not None and kind != f"{name}Args":
            problems.append(f"{where}.args: Invalid value: {kind}: has to match plugin args")
            continue
        unknown = sorted(args.keys() - known - {"apiVersion", "kind"})
        problems.extend(f'decoding args for plugin {name}: unknown field "{field}"' for field in unknown)
    for point, plugins in (entry.get("plugins") or {}).items():
        for position, plugin in enumerate((plugins or {}).get("enabled") or () if isinstance(plugins, dict) else ()):
            if isinstance(plugin, dict) and plugin.get("name") in _GONE:
                problems.append(
                    f'{path}.plugins.{point}.enabled[{position}]: Invalid value: "{plugin["name"]}":'
                    f' was invalid in version "{API_VERSION}"'
                )


def _ignoring(profile: Profile, resources: Sequence[str]) -> Profile:
    """Resources that an extender counts are none of NodeResourcesFit's business."""
    own = profile.args.get("NodeResourcesFit", {})
    ignored = list(dict.fromkeys([*(own.get("ignoredResources") or ()), *resources]))
    return replace(profile, args={**profile.args, "NodeResourcesFit": {**own, "ignoredResources": ignored}})


def _extenders(given: Sequence[Any], problems: list[str]) -> list[Extender]:
    extenders: list[Extender] = []
    managed: set[str] = set()
    for position, entry in enumerate(given):
        path = f"extenders[{position}]"
        try:
            extender = Extender.from_object(entry)
        except ExtenderError as error:
            problems.extend(f"{path}{problem}" for problem in error.problems)
            continue
        for number, resource in enumerate(extender.managed):
            if resource.name in managed:
                where = f"{path}.managedResources[{number}].name"
                problems.append(f'{where}: Invalid value: "{resource.name}": duplicate extender managed resource name')
            managed.add(resource.name)
        extenders.append(extender)
    binders = sum(bool(extender.bind_verb) for extender in extenders)
    if binders > 1:
        problems.append(
            f'extenders: Invalid value: "found {binders} extenders implementing bind":'
            " only one extender can implement bind"
        )
    return extenders


def _list(value: Mapping[str, Any], name: str, problems: list[str]) -> Sequence[Any]:
    found = value.get(name)
    if found is None:
        return ()
    if not isinstance(found, list):
        problems.append(f"{name}: expected a list")
        return ()
    return found


def _integer(value: Mapping[str, Any], name: str, default: int, problems: list[str]) -> int:
    found = value.get(name)
    if found is None:
        return default
    if not isinstance(found, int) or isinstance(found, bool):
        problems.append(f"{name}: expected an integer, not {found!r}")
        return default
    return found


def _check_percentage(value: Mapping[str, Any], prefix: str, problems: list[str]) -> None:
    name = "percentageOfNodesToScore"
    found = _integer(value, name, 0, problems)
    if not 0 <= found <= 100:
        problems.append(f"{prefix}{name}: Invalid value: {found}: not in valid range [0-100]")

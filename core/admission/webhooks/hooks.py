"""Webhooks as their configurations describe them.

Hooks are asked in the order of the names of their configurations, within one in the order of its list.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cybernetes.core.admission.expressions import Conditions
from cybernetes.core.admission.matching import Matcher, matcher_of
from cybernetes.core.objects import Object


@dataclass(slots=True)
class Hook:
    """One webhook. ``uid`` tells it apart from every other; ``client`` is its clientConfig as it stands there."""

    uid: str
    configuration: str
    name: str
    is_mutating: bool
    client: Mapping[str, Any]
    matcher: Matcher
    fails_open: bool
    side_effects: str
    timeout_s: float
    review_versions: tuple[str, ...]
    is_reinvoked: bool
    conditions: Conditions

    @property
    def supports_dry_run(self) -> bool:
        return self.side_effects in ("None", "NoneOnDryRun")


def hooks_of(configurations: Iterable[Object], *, is_mutating: bool) -> tuple[Hook, ...]:
    """The webhooks of all configurations of one kind, in the order in which they are asked."""
    found: list[Hook] = []
    for configuration in sorted(configurations, key=lambda each: str(each["metadata"]["name"])):
        name = configuration["metadata"]["name"]
        counts: dict[str, int] = {}
        for raw in configuration.get("webhooks") or ():
            number = counts[raw["name"]] = counts.get(raw["name"], -1) + 1
            found.append(_hook(raw, name, f"{name}/{raw['name']}/{number}", is_mutating))
    return tuple(found)


def _hook(raw: Object, configuration: str, uid: str, is_mutating: bool) -> Hook:
    fails_open = raw.get("failurePolicy") == "Ignore"
    return Hook(
        uid=uid,
        configuration=configuration,
        name=raw["name"],
        is_mutating=is_mutating,
        client=raw["clientConfig"],
        matcher=matcher_of(
            raw.get("namespaceSelector"),
            raw.get("objectSelector"),
            raw.get("rules") or (),
            (),
            match_policy=raw.get("matchPolicy") or "",
        ),
        fails_open=fails_open,
        side_effects=raw.get("sideEffects") or "",
        timeout_s=float(raw.get("timeoutSeconds") or 10),
        review_versions=tuple(raw.get("admissionReviewVersions") or ()),
        is_reinvoked=raw.get("reinvocationPolicy") == "IfNeeded",
        conditions=Conditions(raw.get("matchConditions") or (), fails_open=fails_open),
    )

"""How fast an autoscaler may change its mind: stabilization windows, and limits of pods and percent in a period.

    metrics ask for    10 9 4 4 4 …        stabilized downwards: the highest of the last five minutes
    goes to            10 10 10 … 4        upwards (no window by default): at once, by at most 100 % or 4 pods in 15 s

What is remembered (recommendations and changes of the longest window) is observation: a new leader begins with the size
that it finds. Source: "Configurable scaling behavior" in the Kubernetes documentation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

DOWNSCALE_WINDOW_S = 300.0
INT32_MAX = 2**31 - 1


class Verdict(NamedTuple):
    """The size, and what is said about it in conditions AbleToScale and ScalingLimited: (reason, message)."""

    replicas: int
    able: tuple[str, str]
    limited: tuple[str, str]
    is_limited: bool


class _Record(NamedTuple):
    at_s: float
    number: int


READY = ("ReadyForNewScale", "recommended size matches current size")
_UP = (
    "ScaleUpStabilized",
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
)
_DOWN = (
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent recommendation",
)
_TOO_FAST = ("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate")
_TOO_MANY = ("TooManyReplicas", "the desired replica count is more than the maximum replica count")
_TOO_FAST_DOWN = ("ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate")
_TOO_FEW = ("TooFewReplicas", "the desired replica count is less than the minimum replica count")
_WITHIN = ("DesiredWithinRange", "the desired count is within the acceptable range")


class History:
    """What one autoscaler has recommended and done lately."""

    def __init__(self, current: int, now: float) -> None:
        self.recommendations: list[_Record] = [_Record(now, current)]
        self.ups: list[_Record] = []
        self.downs: list[_Record] = []

    def normalize(
        self, behavior: Mapping[str, Any] | None, current: int, desired: int, least: int, most: int, now: float
    ) -> Verdict:
        """The size to go to now when the metrics ask for ``desired``."""
        if behavior is None:
            stable = self._stabilized(desired, now)
            able = READY if stable == desired else _DOWN
            replicas, why = _by_rules(current, stable, least, most)
        else:
            up, down = _rules(behavior, "scaleUp"), _rules(behavior, "scaleDown")
            stable = self._stabilized_by(up, down, current, desired, now)
            able = READY if stable == desired else _UP if desired >= current else _DOWN
            replicas, why = self._by_rate(up, down, current, stable, least, most, now)
        return Verdict(replicas, able, why, replicas != stable)

    def scaled(self, behavior: Mapping[str, Any] | None, before: int, after: int, now: float) -> None:
        """Remember a change of size."""
        if behavior is None or before == after:
            return
        records, rules = (self.ups, "scaleUp") if after > before else (self.downs, "scaleDown")
        longest_s = max((float(one["periodSeconds"]) for one in _rules(behavior, rules)["policies"]), default=0.0)
        records[:] = [record for record in records if record.at_s >= now - longest_s]
        records.append(_Record(now, abs(after - before)))

    def _stabilized(self, desired: int, now: float) -> int:
        self.recommendations = [one for one in self.recommendations if one.at_s >= now - DOWNSCALE_WINDOW_S]
        highest = max((one.number for one in self.recommendations), default=desired)
        self.recommendations.append(_Record(now, desired))
        return max(highest, desired)

    def _stabilized_by(
        self, up: Mapping[str, Any], down: Mapping[str, Any], current: int, desired: int, now: float
    ) -> int:
        up_s, down_s = float(up["stabilizationWindowSeconds"]), float(down["stabilizationWindowSeconds"])
        self.recommendations = [one for one in self.recommendations if one.at_s >= now - max(up_s, down_s)]
        lowest = min([desired, *(one.number for one in self.recommendations if one.at_s > now - up_s)])
        highest = max([desired, *(one.number for one in self.recommendations if one.at_s > now - down_s)])
        self.recommendations.append(_Record(now, desired))
        return min(max(current, lowest), highest)

    def _by_rate(
        self,
        up: Mapping[str, Any],
        down: Mapping[str, Any],
        current: int,
        desired: int,
        least: int,
        most: int,
        now: float,
    ) -> tuple[int, tuple[str, str]]:
        if desired > current:
            limit = max(current, self._limit(up, current, now, is_up=True))
            allowed, why = (limit, _TOO_FAST) if most > limit else (most, _TOO_MANY)
            if desired > allowed:
                return allowed, why
        elif desired < current:
            limit = min(current, self._limit(down, current, now, is_up=False))
            allowed, why = (limit, _TOO_FAST_DOWN) if least < limit else (least, _TOO_FEW)
            if desired < allowed:
                return allowed, why
        return desired, _WITHIN

    def _limit(self, rules: Mapping[str, Any], current: int, now: float, *, is_up: bool) -> int:
        """How far the policies let the size go."""
        select = rules["selectPolicy"]
        if select == "Disabled":
            return current
        choose: Callable[[Sequence[int]], int] = max if (select == "Min") != is_up else min
        proposals = []
        for policy in rules["policies"]:
            period_s, value = float(policy["periodSeconds"]), int(policy["value"])
            start = current - _sum(self.ups, period_s, now) + _sum(self.downs, period_s, now)
            if policy["type"] == "Pods":
                proposals.append(start + value if is_up else start - value)
            elif is_up:
                proposals.append(math.ceil(start * (1 + value / 100)))
            else:
                proposals.append(int(start * (1 - value / 100)))
        if not proposals:
            return INT32_MAX if (select == "Min") == is_up else -INT32_MAX
        return choose(proposals)


def _sum(records: Sequence[_Record], period_s: float, now: float) -> int:
    return sum(record.number for record in records if record.at_s > now - period_s)


def _by_rules(current: int, desired: int, least: int, most: int) -> tuple[int, tuple[str, str]]:
    """Without a behavior: at most twice as many, or four."""
    limit = int(max(2.0 * current, 4.0))
    allowed, why = (limit, _TOO_FAST) if most > limit else (most, _TOO_MANY)
    if desired < least:
        return least, _TOO_FEW
    return (allowed, why) if desired > allowed else (desired, _WITHIN)


def _rules(behavior: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """One direction's rules with what the API would fill in."""
    found = behavior.get(name) or {}
    percent = {"type": "Percent", "value": 100, "periodSeconds": 15}
    pods = {"type": "Pods", "value": 4, "periodSeconds": 15}
    window = found.get("stabilizationWindowSeconds")
    if window is None:
        window = 0 if name == "scaleUp" else DOWNSCALE_WINDOW_S
    return {
        "selectPolicy": found.get("selectPolicy") or "Max",
        "policies": found.get("policies") or ([percent, pods] if name == "scaleUp" else [percent]),
        "stabilizationWindowSeconds": window,
    }

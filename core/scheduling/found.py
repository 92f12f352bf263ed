"""What a framework answers, and how a plugin that scores is asked."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy
from numpy.typing import NDArray

from cybernetes.core.scheduling.cycle import Cycle
from cybernetes.core.scheduling.diagnosis import Diagnosis
from cybernetes.core.scheduling.interface import PreFiltered


class PluginError(RuntimeError):
    """A plugin raised, stalled, or answered what it may not."""


class Scorer(NamedTuple):
    plugin: Any
    weight: int

    @property
    def is_normalized(self) -> bool:
        return hasattr(self.plugin, "normalize_scores")

    def normalized(self, cycle: Cycle, raw: NDArray[numpy.int64]) -> NDArray[numpy.int64]:
        if not len(raw) or not self.is_normalized:
            return raw
        scores: NDArray[numpy.int64] = self.plugin.normalize_scores(cycle, raw)
        return scores


class Found(NamedTuple):
    """Where a pod goes; or ``row`` -1 and why nowhere."""

    row: int
    score: int
    feasible: int
    diagnosis: Diagnosis | None = None


class Candidates(NamedTuple):
    """Where a pod may go, and how good each row is."""

    rows: list[int]
    scores: list[int]


class Judged(NamedTuple):
    """For every row: not 0 where the pod may not go, and what is added to its ranked score."""

    codes: NDArray[numpy.uint8]
    extra: NDArray[numpy.int64]
    own: PreFiltered

"""NodeResourcesBalancedAllocation: prefers nodes whose resources the pod makes more evenly used.

The score compares how even the use is with and without the pod: 75 when nothing changes, towards 100 when the pod evens
it out, towards 50 when it tilts it. Pods that ask for nothing are not scored. Columns are scored by the ranking kernel;
``score`` is its slow twin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cybernetes.core.scheduling import scores
from cybernetes.core.scheduling.cycle import Cycle
from cybernetes.core.scheduling.interface import SKIP, PreScorePlugin, ScorePlugin, Status
from cybernetes.core.scheduling.nodeinfo import NodeInfo
from cybernetes.core.scheduling.nodetable import NodeTable
from cybernetes.core.scheduling.plugins.noderesourcesfit import resource_weights, scored_resources
from cybernetes.core.scheduling.podshape import PodShape
from cybernetes.core.scheduling.requests import incoming_requests, is_scalar
from cybernetes.ext.ranking import Ranking

NAME = "NodeResourcesBalancedAllocation"


class NodeResourcesBalancedAllocation:
    name = NAME

    def __init__(self, args: Mapping[str, Any] | None = None) -> None:
        """``args``: NodeResourcesBalancedAllocationArgs."""
        self.resources = resource_weights((args or {}).get("resources"))

    def pre_score(self, cycle: Cycle, nodes: Sequence[NodeInfo]) -> Status | None:
        return None if any(self._incoming(cycle.shape)) else SKIP

    def score(self, cycle: Cycle, node: NodeInfo) -> int:
        used, after, total = [], [], []
        requested = node.requested
        for (name, _), request in zip(self.resources, self._incoming(cycle.shape), strict=True):
            has = node.allocatable.get(name, 0)
            if has and not (request == 0 and is_scalar(name)):
                used.append(requested.get(name, 0))
                after.append(requested.get(name, 0) + request)
                total.append(has)
        return scores.balanced(used, after, total)

    def concerns(self, shape: PodShape) -> bool:
        """Whether it has anything to say about pods of this shape."""
        return any(self._incoming(shape))

    def configure(self, ranking: Ranking, shape: PodShape, table: NodeTable, weight: int) -> None:
        """Have the kernel score as ``score`` does."""
        incoming = self._incoming(shape)
        if weight and any(incoming):
            ranking.score_balanced(weight, scored_resources(self.resources, incoming, table))

    def _incoming(self, shape: PodShape) -> tuple[int, ...]:
        key = (NAME, self.resources)
        found: tuple[int, ...] | None = shape.derived.get(key)
        if found is None:
            found = tuple(
                incoming_requests(shape.pod, name, is_filled=False, has_pod_level=True) for name, _ in self.resources
            )
            shape.derived[key] = found
        return found


_contract: tuple[PreScorePlugin, ScorePlugin] = (NodeResourcesBalancedAllocation(),) * 2

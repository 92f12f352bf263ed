"""ImageLocality: prefers nodes that have the pod's images, by their size and by how many nodes have them too.

An image that only few nodes have counts for little, so that pods do not all heat up the same nodes.
"""

from __future__ import annotations

import numpy

from cybernetes.core.scheduling.cycle import Cycle
from cybernetes.core.scheduling.interface import SCORE_MAX, ColumnScore, Rows, Scope, ScorePlugin, Scores
from cybernetes.core.scheduling.nodeinfo import NodeInfo

NAME = "ImageLocality"

_MIB = 1024 * 1024
SIZE_MIN = 23 * _MIB
SIZE_MAX = 1000 * _MIB


class ImageLocality:
    name = NAME
    scope = Scope.NODE

    def score(self, cycle: Cycle, node: NodeInfo) -> int:
        total = 0
        nodes = len(cycle.table)
        for image in cycle.shape.images:
            name = normalized_name(image)
            size = node.images.get(name)
            if size is not None:
                total += int(float(size) * (cycle.table.image_nodes[name] / nodes))
        return _scaled(total, _containers(cycle))

    def score_rows(self, cycle: Cycle, rows: Rows) -> Scores | None:
        present = cycle.table.image_nodes
        if not any(normalized_name(image) in present for image in cycle.shape.images):
            return None
        table = cycle.table
        return numpy.fromiter((self.score(cycle, table.at(int(row))) for row in rows), numpy.int64, len(rows))


def normalized_name(image: str) -> str:
    """With the tag that an image without one has."""
    return image if image.rfind(":") > image.rfind("/") else f"{image}:latest"


def _containers(cycle: Cycle) -> int:
    spec = cycle.shape.spec
    return len(spec["containers"]) + len(spec.get("initContainers") or ())


def _scaled(total: int, containers: int) -> int:
    largest = SIZE_MAX * containers
    total = min(max(total, SIZE_MIN), largest)
    return SCORE_MAX * (total - SIZE_MIN) // (largest - SIZE_MIN)


_contract: tuple[ScorePlugin, ColumnScore] = (ImageLocality(),) * 2

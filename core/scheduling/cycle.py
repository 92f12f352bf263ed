"""One attempt to place one pod, as plugins see it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cybernetes.core.objects import Object
from cybernetes.core.scheduling.nodetable import NodeTable
from cybernetes.core.scheduling.podshape import PodShape

if TYPE_CHECKING:
    from cybernetes.core.scheduling.cluster import Cluster


class Cycle:
    """``pod`` is the pod to be placed, read-only. ``state`` is for plugins: from pre_filter to filter, from
    pre_score to score, by the plugin's name or any key of its own. ``cluster`` is everything else that is known."""

    __slots__ = ("cluster", "labels", "memo", "pod", "shape", "state", "table")

    def __init__(self, pod: Object, shape: PodShape, table: NodeTable, cluster: Cluster) -> None:
        self.pod = pod
        self.shape = shape
        self.table = table
        self.cluster = cluster
        self.labels: Mapping[str, str] = pod["metadata"].get("labels") or {}
        self.state: dict[Any, Any] = {}
        #: For plugins: what holds for all pods of a template, until the template is made anew.
        self.memo: dict[Any, Any] = {}

    @property
    def name(self) -> str:
        name: str = self.pod["metadata"].get("name", "")
        return name

    @property
    def namespace(self) -> str:
        return self.shape.namespace

    @property
    def uid(self) -> str:
        uid: str = self.pod["metadata"].get("uid", "")
        return uid

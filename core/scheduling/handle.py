"""What a plugin may use of the scheduler that it runs in: given to its factory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cybernetes.core.client.interface import Client
from cybernetes.core.clock import Clock, Random
from cybernetes.core.objects import Object
from cybernetes.core.scheduling.cluster import Cluster
from cybernetes.core.scheduling.cycle import Cycle
from cybernetes.core.scheduling.interface import Status
from cybernetes.core.scheduling.nodeinfo import PodRecord
from cybernetes.core.scheduling.nodetable import NodeTable
from cybernetes.core.scheduling.topology import Tracker
from cybernetes.core.scheduling.waiting import WaitingPods

if TYPE_CHECKING:
    from cybernetes.core.scheduling.framework import Framework
    from cybernetes.core.scheduling.queue import SchedulingQueue


@dataclass(slots=True)
class Handle:
    """What is None is for who acts for real; in the library nothing is written."""

    table: NodeTable
    cluster: Cluster
    clock: Clock
    random: Random
    tracker: Tracker
    #: For what pre_bind and post_bind write.
    client: Client | None = None
    #: (namespace, name, uid, node name) of a pod to bind.
    write_binding: Callable[[str, str, str, str], Awaitable[Status | None]] | None = None
    #: Begin to evict pods from a node to make room for the cycle's pod.
    evict: Callable[[Cycle, str, Sequence[PodRecord]], None] | None = None
    #: Whether evictions for the pod of this uid are under way.
    is_evicting: Callable[[str], bool] | None = None
    #: Whether extenders are asked before pods are evicted for this one.
    is_reviewed: Callable[[Object], bool] | None = None
    #: Run something that writes, beside the decisions; with what it does, for logs.
    spawn: Callable[[Coroutine[Any, Any, None], str], object] | None = None
    #: Entered around each call of a plugin that does not ship, by its name: it may cut off one that stalls.
    guard: Callable[[str], AbstractContextManager[None]] | None = None
    #: The pods that wait for their turn.
    queue: SchedulingQueue | None = None
    #: Pods that permit plugins hold.
    waiting: WaitingPods = field(default_factory=WaitingPods)
    #: One a profile, by schedulerName; filled in as they are made.
    frameworks: dict[str, Framework] = field(default_factory=dict)

    def framework_of(self, cycle: Cycle) -> Framework:
        """The profile that schedules the cycle's pod; the only one, where there is one."""
        found = self.frameworks.get(cycle.shape.scheduler_name)
        return found if found is not None else next(iter(self.frameworks.values()))

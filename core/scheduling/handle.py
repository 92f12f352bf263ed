"""What a plugin may use of the scheduler that it runs in: given to its factory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cybernetes.core.clock import Clock, Random
from cybernetes.core.scheduling.cluster import Cluster
from cybernetes.core.scheduling.interface import Status
from cybernetes.core.scheduling.nodetable import NodeTable
from cybernetes.core.scheduling.topology import Tracker

if TYPE_CHECKING:
    from cybernetes.core.scheduling.framework import Framework


@dataclass(slots=True)
class Handle:
    """``write_binding`` is None in the library, where nothing is written."""

    table: NodeTable
    cluster: Cluster
    clock: Clock
    random: Random
    tracker: Tracker
    write_binding: Callable[[str, str, str, str], Awaitable[Status | None]] | None = None
    #: Set when the profile's plugins have been made.
    framework: Framework | None = None

"""Nodes that die and come back, and how often the others say that they live.

While every node lives, nobody can tell how often it says so: on virtual time the nodes renew their Leases every eight
hours, and the node controller waits for a day. Before a node is killed all go over to what a real cluster has, ten
seconds and fifty, so that the death is noticed when it would be; once it has been, they relax again.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from cybernetes.services.testing.errors import Misuse
from cybernetes.services.testing.parts import GRACE_S, Options

if TYPE_CHECKING:
    from cybernetes.services.testing.cluster import Cluster


class LifeOfNodes:
    """Of one cluster's simulated nodes. ``options`` are what its components are started with."""

    def __init__(self, cluster: Cluster, options: Options) -> None:
        self._cluster = cluster
        self._options = options
        self._relaxing: asyncio.Task[None] | None = None

    async def kill(self, name: str) -> None:
        nodes = self._nodes()
        if name not in self._options.nodes:
            raise Misuse(f"there is no node {name!r}: {', '.join(self._options.nodes)}")
        await self._beat(nodes, is_relaxed=False)
        nodes.silence(name)
        if self._cluster.time is not None:
            await self.stop()
            self._relaxing = asyncio.get_running_loop().create_task(self._relax_once_noticed(nodes))

    def revive(self, name: str) -> None:
        self._nodes().revive(name)

    async def stop(self) -> None:
        relaxing, self._relaxing = self._relaxing, None
        if relaxing is not None:
            relaxing.cancel()
            await asyncio.gather(relaxing, return_exceptions=True)

    async def _relax_once_noticed(self, nodes: Any) -> None:
        await asyncio.sleep(2 * GRACE_S)
        await self._beat(nodes, is_relaxed=True)

    async def _beat(self, nodes: Any, *, is_relaxed: bool) -> None:
        """Have all nodes renew their Leases now, and be watched as closely as this."""
        self._options.relax(is_relaxed)
        nodes.fleet.renew_all(self._options.lease_interval_s)
        if self._cluster.time is not None:
            await self._cluster.time.idle()
        controllers: Any = self._cluster.running.running.get("controllers")
        for runner in controllers.runners if controllers is not None else ():
            if runner.controller.name == "node-lifecycle-controller":
                runner.controller.grace_s = self._options.grace_s
                runner.add(self._options.nodes)

    def _nodes(self) -> Any:
        nodes: Any = self._cluster.running.running.get("nodes")
        if nodes is None:
            raise Misuse("the nodes do not run")
        return nodes

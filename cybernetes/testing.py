"""A cluster inside a test: ``Cluster``, the faults that can strike it, and what it raises.

    async with Cluster(nodes=3) as cluster: …       see docs/testing.md

The pytest plugin gives fixtures: ``cluster``, ``namespace``, ``fresh_cluster``, ``kubeconfig``.
"""

from cybernetes.services.testing.cluster import Cluster
from cybernetes.services.testing.errors import (
    BlockingCallWarning,
    ClusterError,
    Misuse,
    NotSettled,
)
from cybernetes.services.testing.faults import Crashed, Fault, Faults
from cybernetes.services.testing.image import Image
from cybernetes.services.testing.virtualtime import VirtualTime

__all__ = [
    "BlockingCallWarning",
    "Cluster",
    "ClusterError",
    "Crashed",
    "Fault",
    "Faults",
    "Image",
    "Misuse",
    "NotSettled",
    "VirtualTime",
]

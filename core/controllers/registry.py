"""Every controller there is, in upstream's order, and which of them run.

A controller is made from the cluster's Settings and has no other dependency; to add one, write its file and list it
here. ``select`` understands what ``--controllers`` takes: ``*`` is all that are on by default, ``name`` turns one on,
``-name`` turns one off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from cybernetes.core.controllers.deployment import Deployments
from cybernetes.core.controllers.interface import Controller, Settings
from cybernetes.core.controllers.replicaset import replica_sets, replication_controllers

Maker = Callable[[Settings], Controller]

CONTROLLERS: Mapping[str, Maker] = {
    "replicationcontroller-controller": lambda settings: replication_controllers(),
    "deployment-controller": lambda settings: Deployments(),
    "replicaset-controller": lambda settings: replica_sets(),
}

#: Those that have to be named to run.
OFF_BY_DEFAULT: frozenset[str] = frozenset()

#: Names that older flags use.
ALIASES: Mapping[str, str] = {
    "replicationcontroller": "replicationcontroller-controller",
    "deployment": "deployment-controller",
    "replicaset": "replicaset-controller",
}


def select(wanted: Iterable[str]) -> list[str]:
    """The names of the controllers to run, in order. Raises ValueError for a name that there is not."""
    chosen: set[str] = set()
    removed: set[str] = set()
    for text in wanted:
        if text == "*":
            chosen |= CONTROLLERS.keys() - OFF_BY_DEFAULT
            continue
        name = text.removeprefix("-")
        name = ALIASES.get(name, name)
        if name not in CONTROLLERS:
            raise ValueError(f"there is no controller {name!r}; there are: {', '.join(CONTROLLERS)}")
        (removed if text.startswith("-") else chosen).add(name)
    return [name for name in CONTROLLERS if name in chosen - removed]

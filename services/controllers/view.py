"""What controllers see: the shared informers of the process, read-only."""

from __future__ import annotations

from collections.abc import Sequence

from cybernetes.core.client.factory import InformerFactory
from cybernetes.core.controllers.indexes import INDEXES
from cybernetes.core.controllers.interface import View
from cybernetes.core.objects import Gvr, Object


class InformerView:
    """A View on a factory's informers, with the indexes that controllers use."""

    def __init__(self, informers: InformerFactory) -> None:
        self.informers = informers

    def prepare(self, gvr: Gvr) -> None:
        """Have an informer for ``gvr``, with its indexes, started with the factory."""
        informer = self.informers.informer(gvr)
        for name, function in INDEXES.get(gvr, {}).items():
            informer.add_index(name, function)

    def get(self, gvr: Gvr, namespace: str, name: str) -> Object | None:
        return self.informers.informer(gvr).get(namespace, name)

    def list(self, gvr: Gvr, namespace: str = "") -> Sequence[Object]:
        return self.informers.informer(gvr).list(namespace)

    def by_index(self, gvr: Gvr, index: str, value: str) -> Sequence[Object]:
        return self.informers.informer(gvr).by_index(index, value)


def _conforms(view: InformerView) -> View:
    return view

"""What controllers see: the shared informers of the process, read-only."""

from __future__ import annotations

from collections.abc import Sequence

from cybernetes.core.client.factory import InformerFactory
from cybernetes.core.client.informer import Informer
from cybernetes.core.controllers.indexes import INDEXES
from cybernetes.core.controllers.interface import View, Watch
from cybernetes.core.objects import Gvr, Object


class InformerView:
    """A View on a factory's informers, with the indexes that controllers use."""

    def __init__(self, informers: InformerFactory) -> None:
        self.informers = informers

    @property
    def now(self) -> float:
        return self.informers.clock.now()

    def prepare(self, watch: Watch) -> Informer:
        """The informer of a watch, with its indexes; started with the factory."""
        if watch.metadata_only:
            return self.informers.metadata_informer(watch.gvr)
        informer = self.informers.informer(watch.gvr)
        for name, function in INDEXES.get(watch.gvr, {}).items():
            informer.add_index(name, function)
        return informer

    def _informer(self, gvr: Gvr) -> Informer:
        informer = self.informers.find(gvr)
        if informer is None:
            raise LookupError(f"{gvr.qualified} is not among what the controller watches")
        return informer

    def get(self, gvr: Gvr, namespace: str, name: str) -> Object | None:
        return self._informer(gvr).get(namespace, name)

    def list(self, gvr: Gvr, namespace: str = "") -> Sequence[Object]:
        return self._informer(gvr).list(namespace)

    def count(self, gvr: Gvr, namespace: str) -> int:
        return len(self._informer(gvr).cache.namespace_keys(namespace))

    def by_index(self, gvr: Gvr, index: str, value: str) -> Sequence[Object]:
        return self._informer(gvr).by_index(index, value)


def _conforms(view: InformerView) -> View:
    return view

"""The slow twin of ``LabelIndex``: the same answers by looking at every object. Tests hold the kernel against it."""

from __future__ import annotations

from collections.abc import Mapping

from cybernetes.core.labels.selector import Selector


class ReferenceIndex:
    """``select`` gives a sorted list of ids."""

    def __init__(self) -> None:
        self._labels: dict[int, dict[str, str]] = {}

    def __len__(self) -> int:
        return len(self._labels)

    def __contains__(self, id: int) -> bool:
        return id in self._labels

    def put(self, id: int, labels: Mapping[str, str]) -> None:
        self._labels[id] = dict(labels)

    def discard(self, id: int) -> bool:
        return self._labels.pop(id, None) is not None

    def labels(self, id: int) -> dict[str, str]:
        return dict(self._labels[id])

    def select(self, selector: Selector) -> list[int]:
        if selector.is_nothing:
            return []
        return sorted(
            id
            for id, labels in self._labels.items()
            if all(requirement.matches(labels) for requirement in selector.requirements)
        )

    def count(self, selector: Selector) -> int:
        return len(self.select(selector))

    def groups(self, key: str, selector: Selector | None = None) -> dict[str, list[int]]:
        groups: dict[str, list[int]] = {}
        for id in self.select(selector or Selector.everything()):
            value = self._labels[id].get(key)
            if value is not None:
                groups.setdefault(value, []).append(id)
        return groups

    def counts(self, key: str, selector: Selector | None = None) -> dict[str, int]:
        return {value: len(ids) for value, ids in self.groups(key, selector).items()}

    def keys(self) -> list[str]:
        return sorted({key for labels in self._labels.values() for key in labels})

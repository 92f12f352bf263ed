"""The versions of one kind, as apply needs them: how each is merged and compared, and how one becomes another.

Entries of managedFields speak of fields in the version of the request that made them. A write in one version has to
find out what it changed in every version that an entry speaks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cybernetes.core.api.apply.comparison import Comparer, Comparison
from cybernetes.core.api.apply.fieldset import FieldSet, Filter
from cybernetes.core.api.apply.mergetypes import MergeType
from cybernetes.core.objects import Object


class Version:
    """One version. ``filter`` drops from a set what writes to this (sub)resource do not change; None: nothing."""

    __slots__ = ("_comparer", "api_version", "convert", "filter", "type")

    def __init__(
        self,
        api_version: str,
        type_: MergeType,
        filter: Filter | None = None,
        convert: Callable[[Object, str], Object] | None = None,
        passed_over: frozenset[str] = frozenset(),
    ) -> None:
        """``passed_over``: fields of the object that ``filter`` drops whole, so that nobody needs to compare them.

        ``convert(obj, api_version)`` makes an object of another version one of this; it leaves ``obj`` as it is."""
        self.api_version = api_version
        self.type = type_
        self.filter = filter
        self.convert = convert
        self._comparer = Comparer(type_, passed_over)

    def compare(self, old: Any, new: Any) -> Comparison:
        """What counts of the difference. Raises MergeError."""
        found = self._comparer.compare(old, new)
        keep = self.filter
        if keep is None:
            return found
        changed, removed = found
        if changed:
            changed = keep(changed)
        if removed:
            removed = keep(removed)
        return Comparison(changed, removed)

    def filtered(self, fields: FieldSet) -> FieldSet:
        return fields if self.filter is None else self.filter(fields)

    def of(self, obj: Object, api_version: str) -> Object:
        """``obj``, which is of ``api_version``, in this version."""
        if api_version == self.api_version or self.convert is None:
            return obj
        return self.convert(obj, api_version)


#: The version by its apiVersion; None for one that is not served (any more).
Versions = Callable[[str], Version | None]

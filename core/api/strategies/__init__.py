"""What is done to objects of each kind on their way into the store: one module a group, and here all of them."""

from __future__ import annotations

from collections.abc import Mapping

from cybernetes.core.api.resource import Strategy
from cybernetes.core.objects import Gvk

#: Kinds that are not listed are stored as they come.
ALL: Mapping[Gvk, Strategy] = {}

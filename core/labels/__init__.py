"""Labels and selectors: text to Selector, an index that answers selectors, and field selectors."""

from typing import TYPE_CHECKING, Any

from cybernetes.core.labels.field import FieldRequirement, FieldSelector
from cybernetes.core.labels.requirement import Requirement, SelectorError, requirement
from cybernetes.core.labels.selector import Selector
from cybernetes.core.labels.syntax import key_errors, value_errors

if TYPE_CHECKING:
    from cybernetes.core.labels.index import LabelIndex

__all__ = [
    "FieldRequirement",
    "FieldSelector",
    "LabelIndex",
    "Requirement",
    "Selector",
    "SelectorError",
    "key_errors",
    "requirement",
    "value_errors",
]


def __getattr__(name: str) -> Any:
    if name == "LabelIndex":  # on first use: it brings numpy
        from cybernetes.core.labels.index import LabelIndex

        return LabelIndex
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

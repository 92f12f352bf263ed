"""The library: decisions without I/O.

``from cybernetes.core import Selector, LabelIndex, Scheduler`` is the public library. Everything is loaded on first
use, so that a program which wants selectors does not pay for numpy.

In a checkout ``import core`` also works and hands over this same package (see ``cybernetes/alias.py``).
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cybernetes.core.labels import FieldSelector, LabelIndex, Selector, SelectorError
    from cybernetes.core.scheduling import Explanation, Placement, Scheduler

__all__ = ["Explanation", "FieldSelector", "LabelIndex", "Placement", "Scheduler", "Selector", "SelectorError"]

_HOMES = {
    "Explanation": "cybernetes.core.scheduling",
    "FieldSelector": "cybernetes.core.labels",
    "LabelIndex": "cybernetes.core.labels",
    "Placement": "cybernetes.core.scheduling",
    "Scheduler": "cybernetes.core.scheduling",
    "Selector": "cybernetes.core.labels",
    "SelectorError": "cybernetes.core.labels",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if __name__ == "core":  # a checkout, imported by its short name
    from cybernetes.alias import adopt

    adopt("core")

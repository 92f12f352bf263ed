"""What the functions of expressions do: one module a family, and here all of them by name.

A function takes plain values (the target of a member first) and gives one, or raises EvaluationError. It looks at the
kinds of its arguments itself: of what the checker could not know, it may get anything.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

Function = Callable[..., Any]
_FAMILIES = (
    "operators", "conversions", "times", "optionals", "strings", "lists", "regexes", "urls", "quantities", "networks",
    "versions", "named_formats", "authorization",
)  # fmt: skip


@lru_cache(maxsize=1)
def functions() -> Mapping[str, Function]:
    """All of them. The first call imports the modules."""
    found: dict[str, Function] = {}
    for family in _FAMILIES:
        module = importlib.import_module(f"cybernetes.core.cel.library.{family}")
        for name, function in module.FUNCTIONS.items():
            found[name] = _either(found[name], function) if name in found else function
    return found


def _either(one: Function, other: Function) -> Function:
    """A name that two families have: the first that knows what to do with the arguments."""
    from cybernetes.core.cel.errors import EvaluationError

    def call(*arguments: Any) -> Any:
        try:
            return one(*arguments)
        except EvaluationError as error:
            if str(error) != "no such overload":
                raise
        return other(*arguments)

    return call

"""What the functions of expressions do: one module a family, and here all of them by name.

A function takes plain values (the target of a member first) and gives one, or raises EvaluationError. It looks at the
kinds of its arguments itself: of what the checker could not know, it may get anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

Function = Callable[..., Any]


@lru_cache(maxsize=1)
def functions() -> Mapping[str, Function]:
    """All of them. The first call imports the modules."""
    from cybernetes.core.cel.library import (
        authorization,
        conversions,
        lists,
        named_formats,
        networks,
        operators,
        optionals,
        quantities,
        regexes,
        strings,
        times,
        urls,
        versions,
    )

    modules = (
        operators, conversions, times, optionals, strings, lists, regexes, urls, quantities, networks, versions,
        named_formats, authorization,
    )  # fmt: skip
    found: dict[str, Function] = {}
    for module in modules:
        for name, function in module.FUNCTIONS.items():
            if name in found:
                found[name] = _either(found[name], function)
            else:
                found[name] = function
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

"""Expressions compiled and run: text in, a program out, values in, a value and its cost out.

    environment = Environment({"self": types.INT})
    program = environment.compile("self > 3 ? 'large' : 'small'")     # raises CompileError
    program.type, program.uses("self")                                # string, True
    program.estimate(size_of)                                         # Range(low, high)
    program.evaluate({"self": 5})                                     # Evaluation('large', cost=3)

A compiled program holds no state of an evaluation: one serves any number of calls. Compiling takes about 0.2 ms,
evaluating about 0.15 µs a node.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from cybernetes.core.cel import cost, declarations, literals
from cybernetes.core.cel.ast import Ident, Node, Select
from cybernetes.core.cel.checker import Declarations, check, children
from cybernetes.core.cel.declarations import Functions
from cybernetes.core.cel.errors import CompileError, CostExceeded, EvaluationError, InstantiationError
from cybernetes.core.cel.evaluation import Build, Compiler
from cybernetes.core.cel.parser import parse
from cybernetes.core.cel.ranges import Range
from cybernetes.core.cel.types import Type

#: What evaluating one expression may cost.
CALL_COST_MAX = 1_000_000


class Evaluation(NamedTuple):
    """``error`` is why there is no value."""

    value: Any
    cost: int
    error: EvaluationError | None = None


class Program:
    """A compiled expression."""

    __slots__ = ("_names", "_places", "_root", "_step", "source", "type")

    def __init__(self, source: str, root: Node, type_: Type, build: Build | None) -> None:
        compiler = Compiler(build)
        self.source = source
        self.type = type_
        self._root = root
        self._step = compiler.step(root)
        self._places = compiler.places - 2
        self._names = frozenset(_names(root))

    def uses(self, variable: str) -> bool:
        """Whether the expression mentions the variable."""
        return variable in self._names

    def estimate(self, size_of: cost.SizeOf) -> Range:
        """The least and the most that it may cost; ``size_of`` knows the sizes of what variables hold."""
        return cost.estimate(self._root, size_of)

    def evaluate(self, variables: Mapping[str, Any], cost_max: int = CALL_COST_MAX) -> Evaluation:
        """Compute it. What goes wrong is in the result; nothing is raised."""
        frame: list[Any] = [0, cost_max]
        frame += [variables] + [None] * (self._places - 1)
        try:
            value = self._step(frame)
        except EvaluationError as error:
            return Evaluation(None, frame[0], error)
        except RecursionError:
            return Evaluation(None, frame[0], EvaluationError("expression is too deep"))
        if frame[0] > cost_max:
            return Evaluation(None, frame[0], CostExceeded())
        return Evaluation(value, frame[0])


class Environment:
    """What expressions of one kind may speak of.

    ``structs`` are objects that they may make by name, with ``build``; ``functions`` those beyond the standard ones.
    """

    def __init__(
        self,
        variables: Mapping[str, Type],
        *,
        functions: Functions | None = None,
        structs: Mapping[str, Type] | None = None,
        build: Build | None = None,
    ) -> None:
        self._variables = variables
        self._functions = functions
        self._structs = structs
        self._build = build

    def compile(self, source: str) -> Program:
        """Raises CompileError with every complaint about types, or the first about syntax; InstantiationError where
        the types fit and constants do not.
        """
        known = declarations.standard()
        if self._functions:
            known = {**known, **self._functions}
        root = parse(source)
        type_ = check(source, root, Declarations(known, self._variables, self._structs))
        issues = literals.complaints(root)
        if issues:
            raise CompileError(source, issues)
        if wrong := literals.problem(root):
            raise InstantiationError(source, wrong)
        return Program(source, root, type_, self._build)


def _names(node: Node) -> list[str]:
    """The variables that are mentioned, also those of loops."""
    if isinstance(node, Ident):
        return [node.name.removeprefix(".")]
    if isinstance(node, Select) and node.as_ident is not None:
        return [node.as_ident.name]
    return [name for child in children(node) for name in _names(child)]

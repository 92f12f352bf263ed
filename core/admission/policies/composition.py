"""Expressions that may use the policy's own variables, which are computed when an expression first asks for them.

    Composed       the variables and one environment, compiled once for a policy
    Composition    their values during one evaluation; what they cost is paid by the expression that asked first

Each variable sees those before it. One that cannot be compiled or computed fails the expressions that use it alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from cybernetes.core.admission.expressions import variable_types
from cybernetes.core.cel import types
from cybernetes.core.cel.declarations import Functions
from cybernetes.core.cel.errors import CompileError, EvaluationError
from cybernetes.core.cel.evaluation import Build, Fields
from cybernetes.core.cel.library.operators import MISSING
from cybernetes.core.cel.program import Environment, Evaluation, Program
from cybernetes.core.cel.schematypes import Declared
from cybernetes.core.cel.types import Type

#: What all expressions of a policy may cost for one write and binding.
COST_MAX = 10_000_000
_OUT_OF_BUDGET = "validation failed due to running out of cost budget, no further validation rules will be run"


class OutOfBudget(Exception):
    """Nothing more may be evaluated."""

    def __init__(self) -> None:
        super().__init__(_OUT_OF_BUDGET)


class Compiled(NamedTuple):
    """An expression. ``program`` None: ``problem`` says why."""

    source: str
    program: Program | None
    problem: str = ""


class Value(NamedTuple):
    """``error`` is the text of why there is none."""

    value: Any
    error: str = ""


class Composed:
    """``variables`` are (name, expression). ``overrides`` are types of variables that are known better than dyn."""

    def __init__(
        self,
        variables: Sequence[tuple[str, str]],
        *,
        has_params: bool,
        overrides: Mapping[str, Type] | None = None,
        structs: Mapping[str, Type] | None = None,
        build: Build | None = None,
        functions: Functions | None = None,
        is_composed: bool = True,
    ) -> None:
        """``is_composed`` False: there is no ``variables`` to speak of."""
        self._fields: dict[str, Declared] = {}
        own = types.struct("kubernetes.variables", self._fields)
        extra = {**({"variables": own} if is_composed else {}), **(overrides or {})}
        self._authorized = Environment({**variable_types(has_params=has_params), **extra})
        plain = variable_types(has_params=has_params, has_authorizer=False)
        self._plain = Environment({**plain, **extra})
        self._making = Environment(
            {**variable_types(has_params=has_params), **extra}, structs=structs, build=build, functions=functions
        )
        self.variables: dict[str, Compiled] = {}
        for name, source in variables:
            compiled = self.compile(source)
            self.variables[name] = compiled
            type_ = compiled.program.type if compiled.program is not None else types.DYN
            self._fields[name] = Declared(type_, name=name)

    def compile(
        self,
        source: str,
        returns: Sequence[Type] = (),
        *,
        has_authorizer: bool = True,
        makes_objects: bool = False,
    ) -> Compiled:
        """``returns`` are the types that it may have; none is any."""
        environment = self._authorized if has_authorizer else self._plain
        if makes_objects:
            environment = self._making
        try:
            program = environment.compile(source)
        except CompileError as error:
            return Compiled(source, None, f"{error.stage}: {error}")
        if returns and program.type not in returns:
            if len(returns) == 1:
                expected = returns[0].declared_name
            else:
                expected = f"one of [{' '.join(each.declared_name for each in returns)}]"
            return Compiled(source, None, f"must evaluate to {expected} but got {program.type.declared_name}")
        return Compiled(source, program)


class Composition(Fields):
    """The variables of one evaluation. ``take_cost`` gives what they have cost since it was last asked."""

    __slots__ = ("_composed", "_cost", "_found", "_scope")

    def __init__(self, composed: Composed, scope: Mapping[str, Any]) -> None:
        self._composed = composed
        self._scope = {**scope, "variables": self}
        self._found: dict[str, Any] = {}
        self._cost = 0

    @property
    def scope(self) -> Mapping[str, Any]:
        """What expressions are evaluated with."""
        return self._scope

    def take_cost(self) -> int:
        cost, self._cost = self._cost, 0
        return cost

    def field(self, name: str) -> Any:
        compiled = self._composed.variables.get(name)
        if compiled is None:
            return MISSING
        if name not in self._found:
            self._found[name] = self._compute(name, compiled)
        found = self._found[name]
        if isinstance(found, EvaluationError):
            raise found
        return found

    def _compute(self, name: str, compiled: Compiled) -> Any:
        if compiled.program is None:
            return EvaluationError(f'composited variable "{name}" fails to compile: {compiled.problem}')
        result: Evaluation = compiled.program.evaluate(self._scope)
        self._cost += result.cost
        if result.error is not None:
            return EvaluationError(f'composited variable "{name}" fails to evaluate: {result.error}')
        return result.value


class Budget:
    """Evaluates expressions as long as there is something left. Raises OutOfBudget."""

    __slots__ = ("_composition", "left")

    def __init__(self, composition: Composition, left: int = COST_MAX) -> None:
        self._composition = composition
        self.left = left

    def evaluate(self, compiled: Compiled, scope: Mapping[str, Any] | None = None) -> Value:
        if compiled.program is None:
            return Value(None, f"compilation error: {compiled.problem}")
        result = compiled.program.evaluate(scope or self._composition.scope)
        self.left -= self._composition.take_cost() + result.cost
        if self.left < 0:
            raise OutOfBudget
        if result.error is not None:
            return Value(None, f"expression '{compiled.source}' resulted in error: {result.error}")
        return Value(result.value)

"""CEL selectors over devices: ``device.attributes["gpu.example.com"].model == "a100"``.

Attributes and capacities are read by domain and name; what has no domain belongs to the driver's. A domain that the
device has nothing of is an empty map, so the expression fails for the name and not for the domain.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from cybernetes.core import quantity

if TYPE_CHECKING:
    from cybernetes.core.cel.program import Environment, Program

#: ``resourceapi.CELSelectorExpressionMaxCost``.
COST_MAX = 1_000_000
PROGRAMS_MAX = 256


@cache
def _environment() -> Environment:
    """On first use: most schedulers never see a device."""
    from cybernetes.core.cel import types
    from cybernetes.core.cel.declarations import QUANTITY
    from cybernetes.core.cel.program import Environment
    from cybernetes.core.cel.schematypes import Declared

    fields = {
        "driver": types.STRING,
        "allowMultipleAllocations": types.BOOL,
        "attributes": types.map_of(types.STRING, types.map_of(types.STRING, types.DYN)),
        "capacity": types.map_of(types.STRING, types.map_of(types.STRING, QUANTITY)),
    }
    declared = {name: Declared(each).named(name) for name, each in fields.items()}
    return Environment({"device": types.struct("kubernetes.DRADevice", declared)})


class SelectorError(ValueError):
    """An expression that cannot be compiled, or fails on a device."""


class Domains(dict[str, dict[str, Any]]):
    """Domain -> name -> value; a domain that is not there is empty."""

    def __missing__(self, key: str) -> dict[str, Any]:
        return {}

    def __contains__(self, key: object) -> bool:
        return True

    def get(self, key: str, default: Any = None) -> Any:
        return self[key]


class Selectors:
    """Compiled expressions, remembered by their text."""

    def __init__(self) -> None:
        self._programs: dict[str, Program | str] = {}

    def match(self, expression: str, variables: Mapping[str, Any]) -> bool:
        """Raises SelectorError."""
        program = self._programs.get(expression)
        if program is None:
            if len(self._programs) >= PROGRAMS_MAX:
                self._programs.clear()
            program = self._programs[expression] = _compiled(expression)
        if isinstance(program, str):
            raise SelectorError(f"CEL compile error: {program}")
        result = program.evaluate(variables, COST_MAX)
        if result.error is not None:
            raise SelectorError(f"CEL runtime error: {result.error}")
        return result.value is True


def _compiled(expression: str) -> Program | str:
    """The program, or what is wrong with the expression."""
    from cybernetes.core.cel.errors import CompileError

    try:
        return _environment().compile(expression)
    except CompileError as error:
        return str(error)


def variables(driver: str, device: Mapping[str, Any]) -> dict[str, Any]:
    """What expressions see of a device. Raises SelectorError for an attribute that is none."""
    from cybernetes.core.cel.library.quantities import Amount

    attributes: Domains = Domains()
    for name, attribute in (device.get("attributes") or {}).items():
        domain, own = _split(name, driver)
        attributes.setdefault(domain, {})[own] = _value(name, attribute)
    capacity: Domains = Domains()
    for name, entry in (device.get("capacity") or {}).items():
        domain, own = _split(name, driver)
        capacity.setdefault(domain, {})[own] = Amount(quantity.parse(entry["value"]))
    is_shared = bool(device.get("allowMultipleAllocations"))
    seen = {"driver": driver, "allowMultipleAllocations": is_shared, "attributes": attributes, "capacity": capacity}
    return {"device": seen}


def _split(name: str, driver: str) -> tuple[str, str]:
    domain, slash, own = name.partition("/")
    return (domain, own) if slash else (driver, name)


def _value(name: str, attribute: Mapping[str, Any]) -> Any:
    for kind in ("int", "bool", "string"):
        if kind in attribute:
            return attribute[kind]
    if "version" in attribute:
        from cybernetes.core.cel.errors import EvaluationError
        from cybernetes.core.cel.library.versions import Semver

        try:
            return Semver(attribute["version"])
        except EvaluationError as error:
            raise SelectorError(f"attribute {name}: parse semantic version: {error}") from error
    raise SelectorError(f"attribute {name}: unsupported attribute value")

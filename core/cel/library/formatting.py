"""``'%s has %d'.format(['a', 1])``: the formatting of strings as Kubernetes has it (cel-go, ext/formatting.go).

    %s  anything but optionals      %d  integers       %f %e  doubles, grouped as in English
    %b  integers and bools          %x %X  integers, texts, bytes       %o  integers

What stands in lists and maps is written as a literal would be. ``clauses`` reads a template; evaluation formats what it
finds, and a template that is known when an expression is compiled is held to the types of its arguments (``check``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from cybernetes.core.cel.errors import EvaluationError, no_such_overload
from cybernetes.core.cel.types import Type
from cybernetes.core.cel.values import Duration, Timestamp, UInt, format_double, type_of

_PRECISION = 6
_PRECISION_MAX = 1000
_SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
_TEXTS_OF_NUMBERS = ("NaN", "Infinity", "-Infinity")
#: verb -> (the kinds of what it takes, what is said of others).
_TAKES: Mapping[str, tuple[frozenset[str], str]] = {
    "s": (
        frozenset(
            {"list", "map", "int", "uint", "double", "bool", "string", "timestamp", "bytes", "duration", "type", "null"}
        ),
        "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and "
        "timestamps",
    ),
    "d": (frozenset({"int", "uint"}), "decimal clause can only be used on integers"),
    "f": (frozenset({"double", "string"}), "fixed-point clause can only be used on doubles"),
    "e": (frozenset({"double", "string"}), "scientific clause can only be used on doubles"),
    "b": (frozenset({"int", "uint", "bool"}), "only integers and bools can be formatted as binary"),
    "x": (
        frozenset({"int", "uint", "string", "bytes"}),
        "only integers, byte buffers, and strings can be formatted as hex",
    ),
    "o": (frozenset({"int", "uint"}), "octal clause can only be used on integers"),
}


class Clause(NamedTuple):
    verb: str
    precision: int


def clauses(template: str, count: int) -> Iterator[str | Clause]:
    """Texts and clauses of a template in order, for ``count`` values. Raises EvaluationError, also for too few."""
    position = used = 0
    while position < len(template):
        percent = template.find("%", position)
        if percent < 0:
            yield template[position:]
            return
        if percent > position:
            yield template[position:percent]
        position = percent + 1
        if template.startswith("%", position):
            yield "%"
            position += 1
            continue
        if position >= len(template) and used < count:
            raise EvaluationError("unexpected end of string")
        if used >= count:
            raise EvaluationError(f"index {used} out of range")
        precision, position = _precision(template, position)
        verb = template[position]
        if verb.lower() not in _TAKES or (verb.isupper() and verb != "X"):
            raise EvaluationError(f'could not parse formatting clause: unrecognized formatting clause "{verb}"')
        yield Clause(verb, precision)
        used += 1
        position += 1


def _precision(template: str, position: int) -> tuple[int, int]:
    if template[position] != ".":
        return _PRECISION, position
    end = position + 1
    while end < len(template) and template[end] in "0123456789":
        end += 1
    problem = "could not parse formatting clause: error while parsing precision"
    if end >= len(template):
        raise EvaluationError(f"{problem}: could not find end of precision specifier")
    digits = template[position + 1 : end]
    if not digits:
        why = 'error while converting precision to integer: strconv.Atoi: parsing "": invalid syntax'
        raise EvaluationError(f"{problem}: {why}")
    return min(int(digits), _PRECISION_MAX), end


def format_(template: Any, values: Any) -> str:
    """The function itself. Values that no clause asks for are left out."""
    if not isinstance(template, str) or not isinstance(values, list | tuple):
        raise no_such_overload()
    parts: list[str] = []
    rest = iter(values)
    for each in clauses(template, len(values)):
        parts.append(each if isinstance(each, str) else _formatted(each, next(rest)))
    return "".join(parts)


def _formatted(clause: Clause, value: Any) -> str:
    verb = clause.verb
    kinds, complaint = _TAKES[verb.lower()]
    kind = type_of(value)
    is_number_text = verb in "fe" and isinstance(value, str)
    if kind.kind not in kinds or (is_number_text and value not in _TEXTS_OF_NUMBERS):
        raise EvaluationError(f"error during formatting: {complaint}, was given {_type_name(kind)}")
    if verb == "s":
        return shown(value)
    if verb in "fe":
        return _double(float(value), clause)
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, str | bytes):
        text = (value.encode() if isinstance(value, str) else value).hex()
        return text.upper() if verb == "X" else text
    return f"{int(value):{verb}}"


def _double(value: float, clause: Clause) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if clause.verb == "f":
        return f"{value:,.{clause.precision}f}"
    # Upstream takes the precision for a width.
    digits, exponent = f"{value:.{_PRECISION}e}".split("e")
    sign, power = ("-", exponent[1:]) if exponent.startswith("-") else ("", exponent.lstrip("+"))
    return f"{digits}×10{(sign + power).translate(_SUPERSCRIPTS)}".rjust(clause.precision)


def shown(value: Any) -> str:
    """What ``%s`` makes of a value. Raises EvaluationError."""
    if isinstance(value, str):
        return value
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, UInt | int):
        return str(int(value))
    if isinstance(value, float):
        return format_double(value)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            why = "invalid UTF-8 in bytes, cannot convert to string"
            raise EvaluationError(f'error during formatting: could not convert argument "{why}" to string') from None
    if isinstance(value, Duration | Timestamp):
        return str(value)
    if isinstance(value, Type):
        return value.declared_name
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, Mapping):
        entries = sorted((_key(key), _literal(each)) for key, each in value.items())
        return "{" + ", ".join(f"{key}:{each}" for key, each in entries) + "}"
    raise EvaluationError(f"error during formatting: {_TAKES['s'][1]}, was given {_type_name(type_of(value))}")


def _literal(value: Any) -> str:
    """A value inside a list or map."""
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, bytes):
        return f"b{quoted(shown(value))}"
    if isinstance(value, float):
        text = "NaN" if math.isnan(value) else ("+Inf" if value > 0 else "-Inf") if math.isinf(value) else ""
        return f'"{text}"' if text else f"{value:.{_PRECISION}f}"
    if isinstance(value, Timestamp):
        return f"timestamp({quoted(str(value))})"
    if isinstance(value, Duration):
        return f"duration({quoted(str(value))})"
    kind = type_of(value)
    if kind.kind not in _TAKES["s"][0]:
        raise EvaluationError(f"error during formatting: no formatting function for {_type_name(kind)}")
    return shown(value)


def _key(value: Any) -> str:
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, int):
        return shown(value)
    raise EvaluationError(
        f"error during formatting: no formatting function for map key of type {_type_name(type_of(value))}"
    )


def quoted(text: str) -> str:
    """As Go's %q."""
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r", "\a": "\\a", "\b": "\\b", "\f": "\\f",
               "\v": "\\v"}  # fmt: skip
    found = []
    for each in text:
        if each in escapes:
            found.append(escapes[each])
        elif each.isprintable():
            found.append(each)
        else:
            code = ord(each)
            found.append(f"\\x{code:02x}" if code < 128 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}")
    return f'"{"".join(found)}"'


def _type_name(kind: Type) -> str:
    return kind.name if kind.params else kind.declared_name


#: The arguments of a list or map that is written out; None for what is neither.
Parts = Callable[[Any], Sequence[Any] | None]


def check(template: str, arguments: Sequence[Any], type_at: Callable[[Any], Type], parts: Parts) -> tuple[Any, str]:
    """What is wrong with a template for its arguments, which have types: (the argument or None, the complaint)."""
    used = 0
    try:
        for each in clauses(template, len(arguments)):
            if isinstance(each, str):
                continue
            kinds, complaint = _TAKES[each.verb.lower()]
            wrong = _misfit(arguments[used], kinds, type_at, parts if each.verb == "s" else lambda node: None)
            used += 1
            if wrong is not None:
                return wrong, f"error during formatting: {complaint}, was given {_type_name(type_at(wrong))}"
    except EvaluationError as error:
        return None, str(error)
    if len(arguments) > used:
        return None, f"too many arguments supplied to string.format (expected {used}, got {len(arguments)})"
    return None, ""


def _misfit(node: Any, kinds: frozenset[str], type_at: Callable[[Any], Type], parts: Parts) -> Any:
    kind = type_at(node).kind
    if kind != "dyn" and kind not in kinds:
        return node
    for each in parts(node) or ():
        found = _misfit(each, kinds, type_at, parts)
        if found is not None:
            return found
    return None

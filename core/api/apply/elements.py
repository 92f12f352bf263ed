"""The steps of a field's path, as text: how ``fieldsV1`` names them and how messages show them.

==================  =======================================  ====================  ==============
step                what it selects                          in fieldsV1           in messages
==================  =======================================  ====================  ==============
a field             a member of an object or of a map        ``f:replicas``        ``.replicas``
a key               the element of a list with these keys    ``k:{"name":"web"}``  ``[name="web"]``
a value             an element of a set                      ``v:"kubernetes"``    ``[="kubernetes"]``
an index            a place in a list that is merged whole   ``i:0``               ``[0]``
==================  =======================================  ====================  ==============

The text of a step is canonical: equal steps are equal strings. Keys stand in the order of their names, JSON is
compact, ``<``, ``>`` and ``&`` are escaped as Go does, and 1.0 is 1. What a client sends is brought into this form
once, when its managedFields are read. Steps have an order, which is neither that of the text nor that of the lists:
fields, keys, values, indexes, and within each by what they hold, numbers before text.

Source: structured-merge-diff, ``fieldpath``.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any

import orjson

from cybernetes.core.errors import quoted

FIELD = "f:"
KEY = "k:"
VALUE = "v:"
INDEX = "i:"
#: Not a step: says that a field with fields below it belongs to the set itself.
SELF = "."

_ESCAPES = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"},
)
_NEEDS_ESCAPE = frozenset("<>&\u2028\u2029")


class ElementError(ValueError):
    """A text that names no step."""


def key_of(pairs: Sequence[tuple[str, Any]]) -> str:
    """The step to the element of a list that has these keys. ``pairs`` are in the order of their names."""
    return f"k:{{{','.join(f'{_json(name)}:{_json(value)}' for name, value in pairs)}}}"


def value_of(value: Any) -> str:
    """The step to an element of a set."""
    return VALUE + _json(value)


@lru_cache(maxsize=4096)
def canonical(text: str) -> str | None:
    """The step that a client wrote, as we write it; None for an unknown kind of step. Raises ElementError."""
    if len(text) < 2:
        raise ElementError("key must be 2 characters long:")
    if text[1] != ":":
        raise ElementError(f"missing colon: {text}")
    kind = text[:2]
    if kind == FIELD:
        return text
    if kind == INDEX:
        try:
            return f"i:{int(text[2:])}"
        except ValueError:
            raise ElementError(f'strconv.Atoi: parsing "{text[2:]}": invalid syntax') from None
    if kind not in (KEY, VALUE):
        return None
    try:
        value = orjson.loads(text[2:])
    except ValueError as error:
        raise ElementError(str(error)) from None
    if kind == VALUE:
        return value_of(value)
    if value is None:
        return "k:{}"
    if not isinstance(value, dict):
        raise ElementError("expected { or n, but found something else")
    return key_of(sorted(value.items()))


@lru_cache(maxsize=8192)
def order(element: str) -> tuple[Any, ...]:
    """What steps are sorted by. The whole tuple is made of what compares."""
    kind = element[:2]
    if kind == FIELD:
        return (0, element[2:])
    if kind == KEY:
        return (1, tuple((name, _rank(value)) for name, value in orjson.loads(element[2:]).items()))
    if kind == VALUE:
        return (2, _rank(orjson.loads(element[2:])))
    if kind == INDEX:
        return (3, int(element[2:]))
    return (-1,)  # SELF comes first


def shown(element: str) -> str:
    """The step as messages show it."""
    kind = element[:2]
    if kind == FIELD:
        return "." + element[2:]
    if kind == KEY:
        pairs = orjson.loads(element[2:]).items()
        return f"[{','.join(f'{name}={show_value(value)}' for name, value in pairs)}]"
    if kind == VALUE:
        return f"[={show_value(orjson.loads(element[2:]))}]"
    return f"[{element[2:]}]"


def shown_path(path: Sequence[str]) -> str:
    """``.spec.containers[name="web"].image``."""
    return "".join(map(shown, path))


def show_value(value: Any) -> str:
    """A value as Go's ``%v`` of structured-merge-diff shows it."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{','.join(map(show_value, value))}]"
    if isinstance(value, dict):
        return "".join(f"{name}={show_value(item)}" for name, item in value.items())
    return _general(value)


def go_number(value: float) -> str:
    """A number as Go writes it into JSON: plain below 1e21, from there on with an exponent."""
    if isinstance(value, int):
        return str(value)
    if value.is_integer() and abs(value) < 1e21:
        return str(int(value))
    text = repr(value)
    mantissa, e, exponent = text.partition("e")
    if not e:
        return text
    return f"{mantissa.removesuffix('.0')}e{exponent[0]}{exponent[1:].zfill(2)}"


def _general(value: float) -> str:
    """A number as Go's ``%v`` prints a float64: with an exponent from a million on, and below 0.0001."""
    number = Decimal(repr(float(value))).normalize()
    exponent = number.adjusted()
    if not number or -4 <= exponent < 6:
        return format(number, "f")
    digits = "".join(map(str, number.as_tuple().digits))
    sign = "-" if number.is_signed() else ""
    return f"{sign}{digits[0]}{'.' + digits[1:] if digits[1:] else ''}e{exponent:+03d}"


def _json(value: Any) -> str:
    if isinstance(value, float):
        return go_number(value)
    text = orjson.dumps(value).decode()
    return text.translate(_ESCAPES) if not _NEEDS_ESCAPE.isdisjoint(text) else text


def _rank(value: Any) -> tuple[Any, ...]:
    """Numbers, texts, truth values, lists, maps, null: in this order."""
    if value is None:
        return (5,)
    if isinstance(value, bool):
        return (2, value)
    if isinstance(value, int | float):
        return (0, value)
    if isinstance(value, str):
        return (1, value)
    if isinstance(value, list):
        return (3, *map(_rank, value))
    return (4, *((name, _rank(item)) for name, item in sorted(value.items())))

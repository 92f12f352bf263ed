"""Amounts of resources: ``100m``, ``1.5Gi``, ``2e3`` (apimachinery, ``pkg/api/resource``).

A quantity is exact: an integer number of nanos (10^-9), which is the finest that Kubernetes keeps; anything finer is
rounded away from zero when it is read. It remembers how it was written, because its text form keeps the family of its
suffix, and adding keeps it too:

    str(parse("1.5Gi"))                 # '1536Mi': no fraction, the largest suffix that needs none
    str(parse("0.5"))                   # '500m'
    str(parse("100m") + parse("0.9"))   # '1'
    parse("1").milli_value              # 1000

Texts that upstream's reader finds canonical enough are given back as they were written ("1.500", "+1"), as upstream
does: an object must not change because it was read.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Literal

Format = Literal["DecimalSI", "BinarySI", "DecimalExponent"]

NANOS = 10**9
_MILLIS = 10**6
#: Where binary quantities are cut off.
_BINARY_MAX = (2**63 - 1) * NANOS
#: Larger exponents are refused: no resource needs them, and a short text must not make an endless number.
_EXPONENT_MAX = 400
_INT64_MAX = 2**63 - 1

_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_DECIMAL_BY_EXPONENT = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_BINARY_BY_POWER = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")

# The first pattern is what upstream's scanner accepts, the second is only quoted in its message.
_SPLIT = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?([eEinumkKMGTP]*[-+]?[0-9]*)")
_QUOTED = "^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$"
_EXPONENT = re.compile(r"[eE]([+-]?[0-9]+)")

WRONG_FORMAT = f"quantities must match the regular expression '{_QUOTED}'"
WRONG_NUMBER = "unable to parse numeric part of quantity"
WRONG_SUFFIX = "unable to parse quantity's suffix"


class QuantityError(ValueError):
    """A text that is no quantity, with upstream's words for why."""


class Quantity:
    """An amount. Immutable; equal amounts are equal however they are written."""

    __slots__ = ("_text", "format", "nanos")

    def __init__(self, nanos: int, format: Format = "DecimalSI", text: str | None = None) -> None:
        self.nanos = nanos
        self.format: Format = format
        self._text = text

    @property
    def value(self) -> int:
        """Whole units, rounded away from zero."""
        return _divided_up(self.nanos, NANOS)

    @property
    def milli_value(self) -> int:
        """Thousandths, rounded away from zero. CPU is counted in these."""
        return _divided_up(self.nanos, _MILLIS)

    @property
    def is_integer(self) -> bool:
        return self.nanos % NANOS == 0

    def __str__(self) -> str:
        if self._text is None:
            self._text = _canonical_text(self.nanos, self.format)
        return self._text

    def __repr__(self) -> str:
        return f"Quantity({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quantity) and self.nanos == other.nanos

    def __hash__(self) -> int:
        return hash(self.nanos)

    def __lt__(self, other: Quantity) -> bool:
        return self.nanos < other.nanos

    def __le__(self, other: Quantity) -> bool:
        return self.nanos <= other.nanos

    def __gt__(self, other: Quantity) -> bool:
        return self.nanos > other.nanos

    def __ge__(self, other: Quantity) -> bool:
        return self.nanos >= other.nanos

    def __bool__(self) -> bool:
        return self.nanos != 0

    def __neg__(self) -> Quantity:
        return Quantity(-self.nanos, self.format)

    def __add__(self, other: Quantity) -> Quantity:
        """The sum, in the form of the first term; in that of the second when the first is zero."""
        return Quantity(self.nanos + other.nanos, self.format if self.nanos else other.format)

    def __sub__(self, other: Quantity) -> Quantity:
        return Quantity(self.nanos - other.nanos, self.format if self.nanos else other.format)

    def __mul__(self, factor: int) -> Quantity:
        return Quantity(self.nanos * factor, self.format)


ZERO = Quantity(0, "DecimalSI", "0")


def parse(value: Any) -> Quantity:
    """Read a quantity as JSON has it: a string or a number. Cached. Raises QuantityError."""
    if isinstance(value, str):
        return _parse(value.strip())
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _parse(repr(value))
    raise QuantityError(WRONG_FORMAT)


def canonical(value: Any) -> str:
    """The text that an object carries after it was read. Raises QuantityError."""
    return str(parse(value))


def of(value: int, format: Format = "DecimalSI") -> Quantity:
    """``value`` whole units."""
    return Quantity(value * NANOS, format)


def of_milli(value: int, format: Format = "DecimalSI") -> Quantity:
    """``value`` thousandths."""
    return Quantity(value * _MILLIS, format)


def value_of(text: Any) -> int:
    """Whole units of a quantity's text, rounded away from zero. Raises QuantityError."""
    return parse(text).value


def milli_value_of(text: Any) -> int:
    """Thousandths of a quantity's text, rounded away from zero. Raises QuantityError."""
    return parse(text).milli_value


@lru_cache(maxsize=8192)  # a cluster has few different amounts
def _parse(text: str) -> Quantity:
    if not text:
        raise QuantityError(WRONG_FORMAT)
    match = _SPLIT.fullmatch(text)
    if match is None:
        raise QuantityError(WRONG_FORMAT)
    sign, whole, fraction, suffix = match.groups()
    fraction = fraction or ""
    digits = (whole.lstrip("0") or "0") + fraction
    exponent, power, format = _suffix(suffix)
    if len(digits) > 2 * _EXPONENT_MAX:
        raise QuantityError(WRONG_NUMBER)
    number = int(digits) << power
    nanos = _scaled(number, exponent - len(fraction) + 9)
    if format == "BinarySI":
        nanos = min(nanos, _BINARY_MAX)
        if 0 < nanos < NANOS:
            format = "DecimalSI"  # less than one of anything is shown in milli
    if sign == "-":
        nanos = -nanos
    return Quantity(nanos, format, text if _is_kept(text, digits, fraction, exponent, power, format) else None)


def _suffix(suffix: str) -> tuple[int, int, Format]:
    """(power of ten, power of two, format)."""
    exponent = _DECIMAL.get(suffix)
    if exponent is not None:
        return exponent, 0, "DecimalSI"
    power = _BINARY.get(suffix)
    if power is not None:
        return 0, power, "BinarySI"
    match = _EXPONENT.fullmatch(suffix)
    if match is None or len(match[1]) > 8 or abs(int(match[1])) > _EXPONENT_MAX:
        raise QuantityError(WRONG_SUFFIX)
    return int(match[1]), 0, "DecimalExponent"


def _is_kept(text: str, digits: str, fraction: str, exponent: int, power: int, format: Format) -> bool:
    """Whether upstream's fast reader would give the text back unchanged instead of writing the canonical one."""
    if text == "0":
        return True
    if power:
        room = 15 - len(digits) - int(power * 3 / 10) - 1
        number = int(digits)
        return not fraction and format == "BinarySI" and room >= 0 and number & 7 != 0
    scale = exponent - len(fraction)
    return len(digits) <= 18 and scale >= -9 and scale % 3 == 0 and not digits.endswith("000") and digits[0] != "0"


def _scaled(number: int, exponent: int) -> int:
    """number * 10^exponent, rounded up."""
    power: int = 10 ** abs(exponent)
    return number * power if exponent >= 0 else -(-number // power)


def _divided_up(nanos: int, unit: int) -> int:
    quotient = -(-abs(nanos) // unit)
    return -quotient if nanos < 0 else quotient


def _canonical_text(nanos: int, format: Format) -> str:
    if nanos == 0:
        return "0"
    if format == "BinarySI" and nanos % NANOS == 0 and abs(nanos) >= 1024 * NANOS:
        number, power = nanos // NANOS, 0
        while number % 1024 == 0 and power < 6:
            number //= 1024
            power += 1
        return f"{number}{_BINARY_BY_POWER[power]}"
    number, exponent = nanos, -9
    while number % 1000 == 0 and (format == "DecimalExponent" or exponent < 18):
        number //= 1000
        exponent += 3
    if format == "DecimalExponent":
        return f"{number}e{exponent}" if exponent else str(number)
    return f"{number}{_DECIMAL_BY_EXPONENT[exponent]}"

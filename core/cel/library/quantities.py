"""Quantities (library/quantity.go): ``quantity('1.5Gi').isGreaterThan(quantity('1G'))``."""

from __future__ import annotations

from typing import Any

from cybernetes.core.cel.declarations import QUANTITY
from cybernetes.core.cel.errors import EvaluationError, no_such_overload
from cybernetes.core.cel.library import Function
from cybernetes.core.cel.values import INT_MAX, INT_MIN, Opaque
from cybernetes.core.quantity import NANOS, Quantity, QuantityError, parse


class Amount(Opaque):
    __slots__ = ("quantity",)
    cel_type = QUANTITY

    def __init__(self, quantity: Quantity) -> None:
        self.quantity = quantity

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Amount) and self.quantity == other.quantity

    def __hash__(self) -> int:
        return hash(self.quantity)


def _amount(text: Any) -> Amount:
    if not isinstance(text, str):
        raise no_such_overload()
    try:
        return Amount(parse(text))
    except QuantityError as error:
        raise EvaluationError(str(error)) from None


def _is_amount(text: Any) -> bool:
    try:
        _amount(text)
    except EvaluationError as error:
        if str(error) == "no such overload":
            raise
        return False
    return True


def _of(value: Any) -> Quantity:
    if not isinstance(value, Amount):
        raise no_such_overload()
    return value.quantity


def _sign(value: Any) -> int:
    nanos = _of(value).nanos
    return (nanos > 0) - (nanos < 0)


def _compare(one: Any, other: Any) -> int:
    mine, theirs = _of(one).nanos, _of(other).nanos
    return (mine > theirs) - (mine < theirs)


def _fits(value: Any) -> bool:
    quantity = _of(value)
    return quantity.is_integer and INT_MIN <= quantity.nanos // NANOS <= INT_MAX


def _integer(value: Any) -> int:
    if not _fits(value):
        raise EvaluationError("cannot convert value to integer")
    return _of(value).nanos // NANOS


def _changed(sign: int) -> Function:
    def changed(one: Any, other: Any) -> Amount:
        mine = _of(one)
        if type(other) is int:
            theirs = Quantity(other * NANOS)
        else:
            theirs = _of(other)
        return Amount(mine + (theirs if sign > 0 else -theirs))

    return changed


FUNCTIONS: dict[str, Function] = {
    "quantity": _amount,
    "isQuantity": _is_amount,
    "sign": _sign,
    "isGreaterThan": lambda one, other: _compare(one, other) > 0,
    "isLessThan": lambda one, other: _compare(one, other) < 0,
    "compareTo": _compare,
    "asApproximateFloat": lambda value: _of(value).nanos / NANOS,
    "asInteger": _integer,
    "isInteger": _fits,
    "add": _changed(1),
    "sub": _changed(-1),
}

"""Quantities against exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cybernetes.core.quantity import NANOS, Quantity, QuantityError, canonical, parse

DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
LARGEST_BINARY = 2**63 - 1

numbers = st.from_regex(r"[+-]?[0-9]{1,12}(\.[0-9]{0,12})?", fullmatch=True)
suffixes = st.sampled_from([*DECIMAL, *BINARY]) | st.integers(-12, 20).map(lambda power: f"e{power}")
texts = st.builds(str.__add__, numbers, suffixes)


def exact(text: str) -> Fraction:
    """What the text says, in nanos and before anything is rounded."""
    digits = text.rstrip("eEinumkKMGTP")
    number, suffix = Fraction(digits.rstrip(".")) if "e" not in digits else Fraction(0), text[len(digits) :]
    if "e" in digits:
        mantissa, _, power = digits.partition("e")
        return Fraction(mantissa.rstrip(".")) * Fraction(10) ** int(power) * NANOS
    if suffix in BINARY:
        return number * 1024 ** BINARY[suffix] * NANOS
    return number * Fraction(10) ** DECIMAL[suffix] * NANOS


def away_from_zero(value: Fraction) -> int:
    magnitude = -((-abs(value)) // 1)
    return int(-magnitude if value < 0 else magnitude)


@given(texts)
def test_what_is_read_is_what_is_written_rounded_away_from_zero_at_nanos(text):
    nanos = away_from_zero(exact(text))
    if text.endswith("i"):
        nanos = max(-LARGEST_BINARY * NANOS, min(nanos, LARGEST_BINARY * NANOS))
    quantity = parse(text)
    assert quantity.nanos == nanos
    assert quantity.value == away_from_zero(Fraction(nanos, NANOS))
    assert quantity.milli_value == away_from_zero(Fraction(nanos, 10**6))


@given(texts)
def test_the_canonical_text_says_the_same_and_stays(text):
    written = canonical(text)
    assert parse(written) == parse(text)
    assert canonical(written) == written


@given(texts, texts)
def test_sums_and_order_are_exact(one, other):
    first, second = parse(one), parse(other)
    assert (first + second).nanos == first.nanos + second.nanos
    assert (first - second).nanos == first.nanos - second.nanos
    assert (first < second) == (first.nanos < second.nanos)
    assert (first == second) == (first.nanos == second.nanos)
    assert parse(str(first + second)) == first + second or abs((first + second).nanos) > LARGEST_BINARY * NANOS


@given(st.text(alphabet="0123456789.+-eEinumkKMGTP xé", max_size=8) | st.text(max_size=6))
def test_any_text_is_a_quantity_or_refused(text):
    try:
        quantity = parse(text)
    except QuantityError as error:
        assert str(error)
    else:
        assert isinstance(quantity, Quantity)


@pytest.mark.parametrize("value", [None, True, [], {}, float("nan"), float("inf")])
def test_what_is_neither_text_nor_number_is_refused(value):
    with pytest.raises(QuantityError):
        parse(value)

import pytest

from cybernetes.core import quantity
from cybernetes.core.quantity import Quantity, QuantityError, parse


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("0", "0"),
        ("00", "0"),
        ("1", "1"),
        ("+1", "+1"),  # as upstream: what its fast reader finds canonical enough is given back
        ("-1", "-1"),
        ("1.5", "1500m"),
        ("0.5", "500m"),
        (".5", "500m"),
        ("5.", "5."),
        ("100m", "100m"),
        ("1000m", "1"),
        ("1500m", "1500m"),
        ("0.0001", "100u"),
        ("1n", "1n"),
        ("0.1n", "1n"),  # finer than a nano is rounded up
        ("1k", "1k"),
        ("1000k", "1M"),
        ("1024", "1024"),
        ("1Ki", "1Ki"),
        ("1024Ki", "1Mi"),
        ("1.5Gi", "1536Mi"),
        ("0.5Ki", "512"),
        ("0.1Ki", "102400m"),
        ("1e3", "1e3"),
        ("1E3", "1E3"),
        ("1e-3", "1e-3"),
        ("12e4", "120e3"),
        ("1Ei", "1Ei"),
        ("1E", "1E"),
        ("1000E", "1000E"),
    ],
)
def test_texts(text, canonical):
    assert quantity.canonical(text) == canonical


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", quantity.WRONG_FORMAT),
        ("1mi", quantity.WRONG_SUFFIX),
        ("1 ", None),
        ("1 Gi", quantity.WRONG_FORMAT),
        ("1.2.3", quantity.WRONG_FORMAT),
        ("1ee3", quantity.WRONG_SUFFIX),
        ("1e999999999", quantity.WRONG_SUFFIX),
        ("١", quantity.WRONG_FORMAT),
        ("Infinity", quantity.WRONG_FORMAT),
    ],
)
def test_what_is_no_quantity(text, message):
    if message is None:
        parse(text)
    else:
        with pytest.raises(QuantityError) as refused:
            parse(text)
        assert str(refused.value) == message


@pytest.mark.parametrize("value", [None, True, [], {}])
def test_other_values_are_no_quantities(value):
    with pytest.raises(QuantityError):
        parse(value)


def test_numbers_are_read_as_their_text():
    assert quantity.canonical(2) == "2"
    assert quantity.canonical(0.1) == "100m"


def test_whole_and_thousandths_are_rounded_away_from_zero():
    assert parse("1m").value == 1
    assert parse("-1m").value == -1
    assert parse("1u").milli_value == 1
    assert parse("1.0001").milli_value == 1001
    assert parse("2Ki").value == 2048


def test_amounts_compare_and_add_exactly():
    assert parse("1") == parse("1000m")
    assert hash(parse("1")) == hash(parse("1000m"))
    assert parse("0.1") + parse("0.2") == parse("0.3")
    assert parse("1Gi") > parse("1G")
    assert not parse("0")
    assert -parse("1") < parse("0")


def test_a_sum_keeps_the_form_of_the_first_term():
    assert str(parse("1Gi") + parse("1Mi")) == "1025Mi"
    assert str(parse("0") + parse("1Mi")) == "1Mi"
    assert str(parse("100m") + parse("900m")) == "1"
    assert str(parse("1Ki") - parse("1Ki")) == "0"


def test_amounts_can_be_made_of_numbers():
    assert str(quantity.of(3)) == "3"
    assert str(quantity.of(2048, "BinarySI")) == "2Ki"
    assert str(quantity.of_milli(1500)) == "1500m"
    assert quantity.milli_value_of("0.5") == 500
    assert quantity.value_of("1500m") == 2


def test_huge_numbers_take_no_time():
    assert parse("9" * 18).value == 10**18 - 1
    with pytest.raises(QuantityError):
        parse("9" * 100_000)
    assert isinstance(parse("1e300"), Quantity)

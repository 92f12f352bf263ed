import pytest

from cybernetes.core.labels import key_errors, value_errors

NAME_RULE = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric"
    " character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is"
    " '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)


@pytest.mark.parametrize(
    "key",
    [
        "simple",
        "now-with-dashes",
        "1-starts-with-num",
        "1234",
        "simple/simple",
        "a.b.c/D_e.f",
        "x" * 63,
        "a" * 253 + "/b",
    ],
)
def test_good_keys(key: str) -> None:
    assert key_errors(key) == []


@pytest.mark.parametrize(
    ("key", "errors"),
    [
        ("", ["name part must be non-empty", NAME_RULE]),
        ("-a", [NAME_RULE]),
        ("a b", [NAME_RULE]),
        ("a\n", [NAME_RULE]),
        ("é", [NAME_RULE]),
        ("x" * 64, ["name part must be no more than 63 bytes"]),
        ("/a", ["prefix part must be non-empty"]),
        ("a/", ["name part must be non-empty", NAME_RULE]),
        ("a" * 254 + "/b", ["prefix part must be no more than 253 bytes"]),
    ],
)
def test_bad_keys(key: str, errors: list[str]) -> None:
    assert key_errors(key) == errors


def test_a_key_has_at_most_one_slash() -> None:
    (error,) = key_errors("a/b/c")
    assert error.startswith("a valid label key must consist of")
    assert error.endswith("with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')")


def test_the_prefix_is_a_subdomain() -> None:
    (error,) = key_errors("Not_Dns/a")
    assert error.startswith("prefix part a lowercase RFC 1123 subdomain must consist of lower case")


@pytest.mark.parametrize("value", ["", "a", "A-b_c.9", "x" * 63])
def test_good_values(value: str) -> None:
    assert value_errors(value) == []


@pytest.mark.parametrize("value", ["-", "a ", "a\n", "_a", "ä"])
def test_bad_values(value: str) -> None:
    (error,) = value_errors(value)
    assert error.startswith("a valid label must be an empty string or consist of alphanumeric characters")


def test_lengths_are_bytes() -> None:
    assert value_errors("x" * 64) == ["must be no more than 63 bytes"]
    assert value_errors("é" * 32)[0] == "must be no more than 63 bytes"

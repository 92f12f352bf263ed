import pytest

from cybernetes.core.labels import FieldSelector, SelectorError
from cybernetes.core.labels.field import escape, unescape


@pytest.mark.parametrize(
    ("text", "requirements"),
    [
        ("", []),
        ("a=b", [("a", "=", "b")]),
        ("a==b", [("a", "=", "b")]),
        ("a!=b", [("a", "!=", "b")]),
        ("b=2,a=1", [("a", "=", "1"), ("b", "=", "2")]),
        ("a=", [("a", "=", "")]),
        (",a=b,", [("a", "=", "b")]),
        (r"a=x\,y\=z\\", [("a", "=", "x,y=z\\")]),
        ("spec.nodeName=n1,status.phase!=Running", [("spec.nodeName", "=", "n1"), ("status.phase", "!=", "Running")]),
    ],
)
def test_parsing(text: str, requirements: list[tuple[str, str, str]]) -> None:
    selector = FieldSelector.parse(text)
    assert [tuple(each) for each in selector.requirements] == requirements
    assert FieldSelector.parse(str(selector)) == selector


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a", "invalid selector: 'a'; can't understand 'a'"),
        ("a=b,c", "invalid selector: 'a=b,c'; can't understand 'c'"),
        ("a=b=c", "invalid field selector: unescaped character in value: 61"),
        (r"a=\x", r"invalid field selector: invalid escape sequence: \x"),
        ("a=\\", "invalid field selector: invalid escape sequence: \\"),
    ],
)
def test_errors(text: str, error: str) -> None:
    with pytest.raises(SelectorError) as raised:
        FieldSelector.parse(text)
    assert str(raised.value) == error


def test_an_absent_field_is_empty() -> None:
    assert FieldSelector.parse("spec.nodeName=").matches({})
    assert not FieldSelector.parse("spec.nodeName!=").matches({})
    assert FieldSelector.parse("a=1,b!=2").matches({"a": "1", "b": "3"})
    assert not FieldSelector.parse("a=1,b!=2").matches({"a": "1", "b": "2"})


def test_exact_value_of_a_path() -> None:
    selector = FieldSelector.parse("a=1,b!=2")
    assert selector.exact("a") == "1"
    assert selector.exact("b") is None


def test_escaping_is_undone() -> None:
    assert escape("a,b=c\\d") == r"a\,b\=c\\d"
    assert unescape(escape("a,b=c\\d")) == "a,b=c\\d"

import pytest

from cybernetes.core.labels import Requirement, Selector, SelectorError, requirement


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("", ""),
        ("x=a,y=b,z=c", "x=a,y=b,z=c"),
        ("x!=a,y=b", "x!=a,y=b"),
        ("x==a", "x==a"),
        ("x=", "x="),
        ("x= ,z= ", "x=,z="),
        ("b,a", "a,b"),
        ("!canary", "!canary"),
        (
            "environment in (production, qa),tier!=frontend,!canary",
            "!canary,environment in (production,qa),tier!=frontend",
        ),
        ("x notin (b,a,b)", "x notin (a,b)"),
        ("x in ()", "x in ()"),
        ("x in (,)", "x in ()"),
        ("x in (a,,b)", "x in (,a,b)"),
        ("x in (foo,,baz),y,z notin ()", "x in (,baz,foo),y,z notin ()"),
        ("x>1,z<5", "x>1,z<5"),
        ("\tx\n=\r a ", "x=a"),
        ("in", "in"),
        ("in in (in,notin)", "in in (in,notin)"),
        ("notin=in", "notin=in"),
        ("a.b/c=d", "a.b/c=d"),
    ],
)
def test_canonical_text_parses_back(text: str, canonical: str) -> None:
    selector = Selector.parse(text)
    assert str(selector) == canonical
    assert Selector.parse(canonical) == selector


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (",", "found ',', expected: !, identifier, or 'end of string'"),
        ("x,", "found '', expected: identifier after ','"),
        ("x,,y", "found ',', expected: identifier after ','"),
        ("x=a,,y", "found ',', expected: identifier after ','"),
        ("x==a==b", "found '==', expected: ',' or 'end of string'"),
        ("!x=a", "found '=', expected: ',' or 'end of string'"),
        ("!", "unable to parse requirement: found '', expected: identifier"),
        ("x y", "unable to parse requirement: found 'y', expected: in, notin, =, ==, !=, gt, lt"),
        ("x!a", "unable to parse requirement: found '!', expected: in, notin, =, ==, !=, gt, lt"),
        ("x in", "unable to parse requirement: found '' expected: '('"),
        ("x in a", "unable to parse requirement: found 'a' expected: '('"),
        ("x in (", "unable to parse requirement: found '', expected: ',', ')' or identifier"),
        ("x in (a", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("x in (a,", "unable to parse requirement: found '', expected: ',', or identifier"),
        ("x in (a b)", "unable to parse requirement: found 'b', expected: ',' or ')'"),
        ("x=(", "unable to parse requirement: found '(', expected: identifier"),
        (
            "x>a",
            'unable to parse requirement: values[0]: Invalid value: "a":'
            " for 'Gt', 'Lt' operators, the value must be an integer",
        ),
    ],
)
def test_errors_of_the_grammar(text: str, error: str) -> None:
    with pytest.raises(SelectorError) as raised:
        Selector.parse(text)
    assert str(raised.value) == error


def test_errors_of_keys_and_values() -> None:
    with pytest.raises(
        SelectorError, match=r'^unable to parse requirement: <nil>: Invalid value: "-a": name part must'
    ):
        Selector.parse("-a=b")
    with pytest.raises(
        SelectorError, match=r'^unable to parse requirement: values\[0\]\[a\]: Invalid value: "-b": a valid'
    ):
        Selector.parse("a=-b")
    with pytest.raises(
        SelectorError, match=r'^unable to parse requirement: values\[1\]\[a\]: Invalid value: "b_": a valid'
    ):
        Selector.parse("a in (b_,a)")


def test_all_complaints_of_a_requirement_are_reported() -> None:
    with pytest.raises(SelectorError) as raised:
        requirement("-", "exists", ["-"])
    text = str(raised.value)
    assert text.startswith('[key: Invalid value: "-": name part')
    assert ', values: Invalid value: ["-"]: values set must be empty for exists and does not exist' in text
    assert text.endswith("]")


def test_an_unknown_operator_names_those_there_are() -> None:
    with pytest.raises(SelectorError) as raised:
        requirement("a", "~", ["b"])
    supported = '"in", "notin", "=", "==", "!=", "gt", "lt", "exists", "!"'
    assert str(raised.value) == f'operator: Unsupported value: "~": supported values: {supported}'


@pytest.mark.parametrize(
    ("selector", "canonical"),
    [
        ({}, ""),
        ({"matchLabels": {"b": "1", "a": "2"}}, "a=2,b=1"),
        (
            {"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["y", "x"]}], "matchLabels": {"z": ""}},
            "a notin (x,y),z=",
        ),
        ({"matchExpressions": [{"key": "a", "operator": "Exists"}, {"key": "b", "operator": "DoesNotExist"}]}, "a,!b"),
    ],
)
def test_selector_objects(selector: dict, canonical: str) -> None:
    assert str(Selector.from_object(selector)) == canonical


@pytest.mark.parametrize(
    ("expression", "error"),
    [
        (
            {"key": "a", "operator": "In"},
            "values: Invalid value: null: for 'in', 'notin' operators, values set can't be empty",
        ),
        (
            {"key": "a", "operator": "Exists", "values": ["x"]},
            'values: Invalid value: ["x"]: values set must be empty for exists and does not exist',
        ),
        ({"key": "a", "operator": "Gt", "values": ["1"]}, '"Gt" is not a valid label selector operator'),
        ({"key": "a"}, '"" is not a valid label selector operator'),
    ],
)
def test_errors_of_selector_objects(expression: dict, error: str) -> None:
    with pytest.raises(SelectorError) as raised:
        Selector.from_object({"matchExpressions": [expression]})
    assert str(raised.value) == error


def test_no_selector_matches_nothing_and_an_empty_one_everything() -> None:
    assert not Selector.from_object(None).matches({})
    assert Selector.from_object(None).is_nothing
    assert not Selector.from_object(None).is_empty
    assert Selector.from_object({}).matches({"a": "b"})
    assert Selector.from_object({}).is_empty


CASES = [
    ("x=y", {"x": "y"}, True),
    ("x=y", {"x": "z"}, False),
    ("x=y", {}, False),
    ("x=", {}, False),
    ("x=", {"x": ""}, True),
    ("x!=y", {}, True),
    ("x!=y", {"x": "y"}, False),
    ("x!=y", {"x": ""}, True),
    ("x in (a,b)", {"x": "b"}, True),
    ("x in (a,b)", {}, False),
    ("x notin (a,b)", {}, True),
    ("x notin (a,b)", {"x": "a"}, False),
    ("x notin (a,b)", {"x": "c"}, True),
    ("x", {"x": ""}, True),
    ("x", {"y": ""}, False),
    ("!x", {"y": ""}, True),
    ("!x", {"x": ""}, False),
    ("x>1", {"x": "2"}, True),
    ("x>1", {"x": "1"}, False),
    ("x>1", {}, False),
    ("x>1", {"x": "two"}, False),
    ("x<7", {"x": "-9223372036854775808"}, True),
    ("x<7", {"x": "-9223372036854775809"}, False),
    ("x>0", {"x": "01"}, True),
    ("x=y,z", {"x": "y", "z": "w"}, True),
    ("x=y,z", {"x": "y"}, False),
]


@pytest.mark.parametrize(("text", "labels", "expected"), CASES)
def test_matching(text: str, labels: dict[str, str], expected: bool) -> None:
    selector = Selector.parse(text)
    assert selector.matches(labels) is expected
    assert all(each.matches(labels) for each in selector.requirements) is expected  # the slow twin


def test_more_requirements_make_another_selector() -> None:
    base = Selector.parse("b=1")
    more = base.with_requirements(Requirement("a", "exists"))
    assert str(base) == "b=1"
    assert str(more) == "a,b=1"
    assert Selector.nothing().with_requirements(Requirement("a", "exists")).is_nothing


def test_selectors_are_values() -> None:
    assert Selector.parse("a=1,b=2") == Selector.parse("b=2,a=1")
    assert len({Selector.parse("a=1"), Selector.from_labels({"a": "1"})}) == 1
    assert Selector.everything() != Selector.nothing()

import pytest

from cybernetes.core.api.patch import apply_merge_patch
from cybernetes.core.errors import ApiError

# The examples of RFC 7386, appendix A, where both are objects.
RFC = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(
    ("obj", "patch", "expected"),
    [
        *RFC,
        ({"a": 1}, {"a": {"b": None, "c": [{"d": None, "e": 1}, None]}}, {"a": {"c": [{"e": 1}, None]}}),
        ({"a": 1}, {"b": None}, {"a": 1}),
        ({"a": {"b": 1}}, {"a": {}}, {"a": {"b": 1}}),
    ],
)
def test_merging(obj, patch, expected):
    before = (repr(obj), repr(patch))
    assert apply_merge_patch(obj, patch) == expected
    assert (repr(obj), repr(patch)) == before, "the inputs are not changed"


@pytest.mark.parametrize("patch", [None, [], "x", 1])
def test_what_is_no_patch(patch):
    with pytest.raises(ApiError) as caught:
        apply_merge_patch({}, patch)
    assert (caught.value.code, caught.value.message) == (400, "Invalid JSON Patch")

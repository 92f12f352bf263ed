import time

import pytest

from cybernetes.core.api import yamlreader
from cybernetes.core.api.yamlreader import MalformedYaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1\nb: [x, 'y', \"z\"]\n", {"a": 1, "b": ["x", "y", "z"]}),
        ("a: yes\nb: no\nc: on\nd: True\n", {"a": True, "b": False, "c": True, "d": True}),  # YAML 1.1, as upstream
        ("a: 0o17\nb: 017\nc: 0x1f\nd: 1_000\n", {"a": 15, "b": 15, "c": 31, "d": 1000}),
        ("a: 1.5\nb: 1e3\nc: .5\n", {"a": 1.5, "b": 1000.0, "c": 0.5}),
        ("a: ~\nb: null\nc:\n", {"a": None, "b": None, "c": None}),
        ("a: 2024-01-01\n", {"a": "2024-01-01"}),
        ("a: |\n  x\n  y\nb: >\n  x\n  y\n", {"a": "x\ny\n", "b": "x y\n"}),
        ("1: a\ntrue: b\n", {"1": "a", "true": "b"}),
        ("a: &x {b: 1}\nc: *x\nd:\n  <<: *x\n  e: 2\n", {"a": {"b": 1}, "c": {"b": 1}, "d": {"b": 1, "e": 2}}),
        ("a: &x {b: 1}\n'<<': *x\n", {"a": {"b": 1}, "<<": {"b": 1}}),  # quoted, it merges nothing
        ("a: !!str 1\nb: !!int '1'\n", {"a": "1", "b": 1}),
        ("# nothing\n", None),
        ("", None),
        ("---\na: 1\n---\nb: 2\n", {"a": 1}),
    ],
)
def test_values(text, value):
    assert yamlreader.read(text.encode())[0] == value


def test_what_is_anchored_is_not_shared():
    found = yamlreader.read(b"a: &x {b: [1]}\nc: *x\n")[0]
    found["a"]["b"].append(2)
    assert found["c"] == {"b": [1]}


def test_repeated_keys_are_told_with_their_lines():
    found, repeated = yamlreader.read(b"a: 1\nb: 2\na: 3\n")
    assert found == {"a": 3, "b": 2}
    assert repeated == ['line 3: key "a" already set in map']


@pytest.mark.parametrize("text", ["a: b: c", "a: [", "a: *x", "\ta: 1", "a: 1\n b: 2", "%"])
def test_what_is_no_yaml(text):
    with pytest.raises(MalformedYaml, match=r"^yaml: "):
        yamlreader.read(text.encode())


def test_a_small_text_does_not_make_a_large_object():
    rows = ["a: &a [x,x,x,x,x,x,x,x,x,x]"]
    rows += [f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 10)}]" for n in range(9)]
    started = time.perf_counter()
    with pytest.raises(MalformedYaml, match="excessive aliasing"):
        yamlreader.read("\n".join(rows).encode())
    assert time.perf_counter() - started < 2


def test_deep_nesting_is_refused():
    with pytest.raises(MalformedYaml):
        yamlreader.read(b"[" * 20_000 + b"]" * 20_000)

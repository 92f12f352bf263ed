"""The shapes of one cached object."""

from __future__ import annotations

import orjson
import pytest
from cachehelpers import header, pod
from hypothesis import given
from hypothesis import strategies as st

from cybernetes.core.labels import FieldSelector, Selector
from cybernetes.core.store.cached import Cached, CachedCustom, Change, Header, Selection, without_managers
from cybernetes.ext.jsonskip import end_of_value


def make(value: bytes, kind: type[Cached] = Cached, revision: int = 7) -> Cached:
    return kind(b"default/a", "default", "a", value, revision, header(value, orjson.loads(value)))


def test_the_revision_is_spliced_in() -> None:
    cached = make(pod("a", app="web"))
    whole = orjson.loads(cached.json())
    assert whole["metadata"].pop("resourceVersion") == "7"
    assert whole == orjson.loads(cached.value)
    assert orjson.loads(cached.item()) == {
        k: v for k, v in orjson.loads(cached.json()).items() if k not in ("apiVersion", "kind")
    }
    assert orjson.loads(cached.metadata()) == orjson.loads(cached.json())["metadata"]
    assert cached.object() == orjson.loads(cached.json())


def test_items_of_custom_resources_keep_their_kind() -> None:
    cached = make(pod("a"), CachedCustom)
    assert cached.item() == cached.json()
    assert orjson.loads(cached.item())["kind"] == "Pod"
    assert isinstance(cached.at(9), CachedCustom)
    assert orjson.loads(cached.at(9).json())["metadata"]["resourceVersion"] == "9"


def test_the_object_is_shared_until_it_is_released() -> None:
    cached = make(pod("a"))
    assert cached.bare() is not cached.bare()
    shared = cached.decoded()
    cached.share(shared)
    assert cached.bare() is shared
    assert orjson.loads(cached.metadata())["resourceVersion"] == "7"
    cached.release()
    assert cached.bare() == shared
    assert cached.bare() is not shared


def test_a_value_that_is_not_canonical_is_refused() -> None:
    with pytest.raises(ValueError, match="not found"):
        make(b'{"metadata": {"name":"a"}}')


def test_a_change_is_framed_once_for_each_encoding() -> None:
    change = Change("ADDED", make(pod("a")), None)
    built = []

    def build(change: Change) -> bytes:
        built.append(change)
        return change.type.encode() + change.cached.json()

    assert change.frame("json", build) is change.frame("json", build)
    assert change.frame("table", lambda change: b"table") == b"table"
    assert built == [change]


@pytest.mark.parametrize(
    ("selection", "matches"),
    [
        (Selection(), True),
        (Selection("default"), True),
        (Selection("other"), False),
        (Selection("", "a"), True),
        (Selection("", "b"), False),
        (Selection(labels=Selector.parse("app=web")), True),
        (Selection(labels=Selector.parse("app!=web")), False),
        (Selection(labels=Selector.nothing()), False),
        (Selection(fields=FieldSelector.parse("metadata.name=a")), True),
        (Selection(fields=FieldSelector.parse("metadata.name=b")), False),
        (Selection(fields=FieldSelector.parse("metadata.name!=a")), False),
        (Selection("default", "b", fields=FieldSelector.parse("metadata.name=a")), False),
        (Selection("default", "a", fields=FieldSelector.parse("metadata.name=b")), False),
        (Selection(fields=FieldSelector.parse("metadata.namespace=default,spec.nodeName=n1")), True),
        (Selection(fields=FieldSelector.parse("metadata.namespace!=default")), False),
        (Selection(fields=FieldSelector.parse("spec.nodeName!=n1")), False),
        (Selection(fields=FieldSelector.parse("spec.nodeName=")), False),
        (Selection(fields=FieldSelector.parse("metadata.name=")), False),
    ],
)
def test_selections(selection: Selection, matches: bool) -> None:
    assert selection.matches(make(pod("a", node="n1", app="web"))) is matches


def test_equal_selections_are_one() -> None:
    one = Selection("default", "", Selector.parse("a=b,c"), FieldSelector.parse("spec.nodeName=n1"))
    two = Selection("default", "", Selector.parse("c,a=b"), FieldSelector.parse("spec.nodeName=n1"))
    assert one == two
    assert hash(one) == hash(two)
    assert one != Selection("default")
    assert Selection("", "a") == Selection(fields=FieldSelector.parse("metadata.name=a"))
    assert not Selection("", "a").is_selective
    assert Selection(fields=FieldSelector.parse("metadata.name=a")).is_selective


def test_a_value_without_its_managers() -> None:
    metadata = {"name": "a", "managedFields": [{"fieldsV1": {'k:{"name":"]}\\"}': {"f:x": [1, {}]}}}, {}], "uid": "u"}
    obj = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"managedFields": [1]}}
    value = orjson.dumps(obj)
    bare = {**obj, "metadata": {"name": "a", "uid": "u"}}
    assert orjson.loads(without_managers(value)) == bare
    plain = orjson.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": ',"managedFields":['}})
    assert without_managers(plain) is plain
    cached = Cached(b"ns/a", "ns", "a", value, 7, Header("u", {}, {}))
    assert "managedFields" in cached.object()["metadata"] and "managedFields" in orjson.loads(cached.metadata())
    assert "managedFields" not in cached.bare()["metadata"]
    assert cached.bare()["metadata"]["resourceVersion"] == "7"
    assert cached.decoded(is_bare=True) == cached.bare()


@given(
    st.recursive(
        st.text(alphabet='ab"\\{}[],:é', max_size=5) | st.integers(-9, 9) | st.none(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=15,
    ),
    st.binary(max_size=5),
)
def test_where_a_value_ends(value: object, rest: bytes) -> None:
    text = orjson.dumps([value])
    before = b'{"a":'
    assert end_of_value(before + text + rest, len(before)) == len(before) + len(text)
    assert end_of_value(text[:-1], 0) == -1

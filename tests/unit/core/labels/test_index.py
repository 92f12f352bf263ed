import threading

import pytest

from cybernetes.core.labels import LabelIndex, Selector
from cybernetes.core.labels.reference import ReferenceIndex


@pytest.fixture(params=[LabelIndex, ReferenceIndex])
def index(request: pytest.FixtureRequest) -> LabelIndex:
    """The kernel and its slow twin: every test holds for both."""
    index = request.param()
    index.put(7, {"app": "web", "tier": "a"})
    index.put(9, {"app": "web"})
    index.put(-3, {"app": "db", "tier": "b", "version": "12"})
    return index


def ids(index: LabelIndex, text: str) -> list[int]:
    return sorted(int(id) for id in index.select(Selector.parse(text)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("app=web", [7, 9]),
        ("app=web,tier notin (a)", [9]),
        ("tier", [-3, 7]),
        ("!tier", [9]),
        ("", [-3, 7, 9]),
        ("app in (web,db),tier!=a", [-3, 9]),
        ("version>9", [-3]),
        ("version>12", []),
        ("nothing=here", []),
        ("nothing!=here", [-3, 7, 9]),
        ("app=absent", []),
    ],
)
def test_select_and_count(index: LabelIndex, text: str, expected: list[int]) -> None:
    assert ids(index, text) == expected
    assert index.count(Selector.parse(text)) == len(expected)


def test_nothing_selects_nothing(index: LabelIndex) -> None:
    assert len(index.select(Selector.nothing())) == 0
    assert index.count(Selector.nothing()) == 0
    assert index.groups("app", Selector.nothing()) == {}


def test_put_replaces_and_discard_forgets(index: LabelIndex) -> None:
    index.put(7, {"app": "db"})
    assert ids(index, "app=db") == [-3, 7]
    assert ids(index, "tier=a") == []
    assert index.labels(7) == {"app": "db"}
    assert index.discard(7)
    assert not index.discard(7)
    assert 7 not in index
    assert len(index) == 2
    with pytest.raises(KeyError):
        index.labels(7)


def test_groups(index: LabelIndex) -> None:
    assert index.counts("app") == {"web": 2, "db": 1}
    assert index.counts("app", Selector.parse("tier")) == {"web": 1, "db": 1}
    groups = {value: sorted(map(int, found)) for value, found in index.groups("app").items()}
    assert groups == {"web": [7, 9], "db": [-3]}
    assert index.groups("absent") == {}
    assert sorted(index.keys()) == ["app", "tier", "version"]


def test_an_object_without_labels_is_there(index: LabelIndex) -> None:
    index.put(1, {})
    assert 1 in index
    assert 1 in ids(index, "!app")
    assert index.labels(1) == {}


def test_labels_must_be_texts_and_a_refused_put_changes_nothing() -> None:
    index = LabelIndex()
    index.put(1, {"a": "b"})
    with pytest.raises(TypeError, match="labels map str to str"):
        index.put(1, {"a": "c", "n": 5})  # type: ignore[dict-item]
    assert index.labels(1) == {"a": "b"}
    assert index.keys() == ["a"]


def test_results_are_read_only_arrays_of_int64() -> None:
    index = LabelIndex()
    index.put(2**40, {"a": "b"})
    found = index.select(Selector.parse("a"))
    assert found.dtype == "int64"
    assert found.tolist() == [2**40]
    assert not found.flags.writeable


def test_statistics_count_pairs_and_memory() -> None:
    index = LabelIndex()
    for id in range(5000):
        index.put(id, {"app": "web", "name": f"n{id}"})
    by_pair = {(entry.key, entry.value): entry for entry in index.statistics()}
    assert by_pair["app", "web"].objects == 5000
    assert by_pair["app", "web"].size_bytes > by_pair["name", "n1"].size_bytes > 0
    assert index.memory_bytes() < 5000 * 200


def test_what_is_emptied_is_used_again() -> None:
    index = LabelIndex()
    for turn in range(20):
        for id in range(3000):
            index.put(id, {"app": f"a{turn}", "name": f"n{turn}-{id}"})
        size = index.memory_bytes()
        for id in range(3000):
            index.discard(id)
        if turn == 1:
            first = size
    assert index.keys() == []
    assert size <= first * 2


def test_readers_in_threads_see_before_or_after() -> None:
    index = LabelIndex()
    for id in range(2000):
        index.put(id, {"half": str(id % 2)})
    odd = Selector.parse("half=1")
    wrong: list[int] = []
    stopped = threading.Event()

    def read() -> None:
        while not stopped.is_set():
            found = len(index.select(odd))
            if not 999 <= found <= 1001:
                wrong.append(found)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(2000):
        index.put(0, {"half": "1"})
        index.put(0, {"half": "0"})
    stopped.set()
    for thread in threads:
        thread.join()
    assert wrong == []

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cybernetes.core.auth.requestheader import HeaderNames, read, write
from cybernetes.core.auth.user import User

texts = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=6)


def taken(headers: list[tuple[str, str]]) -> User | None:
    found: dict[str, list[str]] = {}
    for name, value in headers:
        found.setdefault(name.lower(), []).append(value)
    return read(HeaderNames(), found, lambda name: found.get(name, []))


@given(
    texts,
    st.lists(texts, max_size=3),
    st.dictionaries(
        texts.map(str.lower).filter(lambda key: key == key.lower()), st.lists(texts, min_size=1), max_size=3
    ),
)
def test_what_is_written_is_read(name: str, groups: list[str], extra: dict[str, list[str]]) -> None:
    user = User(name, "u", tuple(groups), {key: tuple(values) for key, values in extra.items()})
    found = taken(write(user))
    assert found is not None and (found.name, found.groups) == (name, tuple(groups))
    assert dict(found.extra) == dict(user.extra)


def test_without_a_name_there_is_nobody() -> None:
    assert taken([("X-Remote-Group", "system:masters")]) is None
    assert taken([("X-Remote-User", "")]) is None


def test_which_headers_are_kept_back() -> None:
    names = HeaderNames()
    assert names.is_ours("x-remote-user") and names.is_ours("x-remote-extra-x") and not names.is_ours("x-remote")

"""URLs of etcd clusters, and what is said of those that are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from cybernetes.core.store.etcd.address import Address, parse
from cybernetes.core.store.open import open_store


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("etcd://localhost", Address(("localhost:2379",))),
        ("etcd://a:1,b,[::1]:3/", Address(("a:1", "b:2379", "[::1]:3"))),
        ("etcd://a?tls=true", Address(("a:2379",), True)),
        ("etcd://a?tls=false", Address(("a:2379",), False)),
        ("etcd://a?cacert=/ca.crt", Address(("a:2379",), True, Path("/ca.crt"))),
        (
            "etcd://a?cacert=/a%20b&cert=c&key=k&servername=etcd.local",
            Address(("a:2379",), True, Path("/a b"), Path("c"), Path("k"), "etcd.local"),
        ),
    ],
)
def test_addresses(url: str, expected: Address) -> None:
    assert parse(url) == expected


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("etcd://", "write etcd://HOST:PORT"),
        ("etcd://a/b", "write etcd://HOST:PORT"),
        ("etcd://a:port", "Port could not be cast"),
        ("etcd://:1", "names no host"),
        ("etcd://user:secret@a", "users and passwords"),
        ("etcd://a?ca=x", "there is no parameter 'ca'"),
        ("etcd://a?cert=x", "belong together"),
    ],
)
def test_what_is_no_address(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as refused:
        open_store(url)
    assert "secret" not in str(refused.value)

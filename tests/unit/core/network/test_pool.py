from __future__ import annotations

import pytest

from cybernetes.core.network.pool import AddressPool, PoolExhausted


def test_the_first_address_is_the_bridges_and_the_last_is_broadcast() -> None:
    pool = AddressPool("10.244.1.0/29")
    assert str(pool.gateway) == "10.244.1.1"
    assert [pool.allocate() for _ in range(5)] == [f"10.244.1.{n}" for n in range(2, 7)]
    with pytest.raises(PoolExhausted, match=r"all 5 addresses of pod CIDR 10.244.1.0/29"):
        pool.allocate()


def test_an_address_that_was_given_back_is_the_last_to_be_used_again() -> None:
    pool = AddressPool("10.244.1.0/29")
    first = pool.allocate()
    pool.release(first)
    assert [pool.allocate() for _ in range(5)] == ["10.244.1.3", "10.244.1.4", "10.244.1.5", "10.244.1.6", first]


def test_what_is_in_use_already_is_not_given_out() -> None:
    pool = AddressPool("10.244.1.0/29")
    assert pool.reserve("10.244.1.4")
    assert not pool.reserve("10.244.1.4")
    assert not pool.reserve("10.244.2.4")
    assert not pool.reserve("10.244.1.1")
    assert not pool.reserve("fd00::2")
    assert len(pool) == 1
    assert [pool.allocate() for _ in range(4)] == ["10.244.1.5", "10.244.1.6", "10.244.1.2", "10.244.1.3"]


def test_giving_back_twice_or_a_stranger_changes_nothing() -> None:
    pool = AddressPool("10.244.1.0/29")
    address = pool.allocate()
    for _ in range(2):
        pool.release(address)
    pool.release("192.0.2.1")
    assert len(pool) == 0


def test_ipv6_has_no_broadcast_address() -> None:
    pool = AddressPool("fd00:10:244::/126")
    assert str(pool.gateway) == "fd00:10:244::1"
    assert [pool.allocate(), pool.allocate()] == ["fd00:10:244::2", "fd00:10:244::3"]


@pytest.mark.parametrize("cidr", ["10.0.0.0/31", "fd00::/127"])
def test_a_cidr_without_room_is_refused(cidr: str) -> None:
    with pytest.raises(ValueError, match="has no room for a pod"):
        AddressPool(cidr)

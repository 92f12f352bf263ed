import pytest

from cybernetes.core.admission.deny_service_external_ips import DenyServiceExternalIPs
from cybernetes.core.errors import ApiError
from cybernetes.core.objects import SERVICES, Object


def service(*addresses: str) -> Object:
    return {"metadata": {"name": "s", "namespace": "d"}, "spec": {"externalIPs": list(addresses)} if addresses else {}}


def judge(world, new: Object, old: Object | None = None) -> None:
    DenyServiceExternalIPs().validate(world.write(SERVICES, new, old=old), world)


@pytest.mark.parametrize(
    ("new", "old"), [(["192.0.2.1"], None), (["192.0.2.1"], []), (["192.0.2.1", "192.0.2.2"], ["192.0.2.1"])]
)
def test_new_addresses_are_refused(world, new, old):
    with pytest.raises(ApiError) as caught:
        judge(world, service(*new), None if old is None else service(*old))
    assert caught.value.code == 403
    assert caught.value.message == 'services "s" is forbidden: Use of external IPs is denied by admission control'


@pytest.mark.parametrize(("new", "old"), [([], None), (["192.0.2.1"], ["192.0.2.1", "192.0.2.2"]), ([], ["192.0.2.1"])])
def test_what_was_there_may_stay_or_go(world, new, old):
    judge(world, service(*new), None if old is None else service(*old))

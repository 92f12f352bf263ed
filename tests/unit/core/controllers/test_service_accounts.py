"""What every namespace gets, and Secrets with tokens."""

import base64

import pytest
from world import World

from cybernetes.core.controllers.service_account import ROOT_CA_NAME, RootCaPublisher, ServiceAccounts
from cybernetes.core.controllers.service_account_tokens import ACCOUNT_NAME, ACCOUNT_UID, TYPE, ServiceAccountTokens
from cybernetes.core.objects import CONFIG_MAPS, NAMESPACES, SECRETS, SERVICE_ACCOUNTS


def issue(account, secret):
    return f"token of {account['metadata']['name']} in {secret}"


def account(name="robot", **fields):
    return {"metadata": {"name": name, "namespace": "default"}, **fields}


def secret(name="s", owner="robot", uid="", kind=TYPE):
    annotations = {ACCOUNT_NAME: owner, **({ACCOUNT_UID: uid} if uid else {})}
    return {"metadata": {"name": name, "namespace": "default", "annotations": annotations}, "type": kind}


def data(world, name="s"):
    found = world.read(SECRETS, name).get("data") or {}
    return {key: base64.b64decode(value).decode() for key, value in found.items()}


@pytest.fixture
def world():
    return World(lambda: ServiceAccountTokens(issue, "root"))


@pytest.mark.parametrize("account_first", [True, False])
def test_a_secret_is_filled(world, account_first):
    if account_first:
        made = world.create(SERVICE_ACCOUNTS, account())
        world.create(SECRETS, secret())
    else:
        # Both are on the server before the first look.
        world.create(SECRETS, secret())
        made = world.create(SERVICE_ACCOUNTS, account())
    world.settle()
    assert data(world) == {"ca.crt": "root", "namespace": "default", "token": "token of robot in s"}
    annotations = world.read(SECRETS, "s")["metadata"]["annotations"]
    assert annotations == {ACCOUNT_NAME: "robot", ACCOUNT_UID: made["metadata"]["uid"]}
    assert len(world.writes) == 1
    world.start_controllers()
    world.settle()
    assert len(world.writes) == 1


def test_what_is_there_stays_and_what_is_wrong_is_mended(world):
    world.create(SERVICE_ACCOUNTS, account())
    made = secret()
    made["data"] = {"token": "bWluZQ==", "ca.crt": "b2xk", "extra": "eA=="}
    world.create(SECRETS, made)
    world.settle()
    assert data(world) == {"ca.crt": "root", "namespace": "default", "token": "mine", "extra": "x"}


@pytest.mark.parametrize("uid", ["", "another"])
def test_a_secret_without_its_account_is_deleted(world, uid):
    if uid:
        world.create(SERVICE_ACCOUNTS, account())
    world.create(SECRETS, secret(uid=uid))
    world.create(SECRETS, secret("other", kind="Opaque"))
    world.settle()
    assert [one["metadata"]["name"] for one in world.all(SECRETS)] == ["other"]


def test_an_account_takes_its_tokens_with_it(world):
    world.create(SERVICE_ACCOUNTS, account())
    world.create(SERVICE_ACCOUNTS, account("stays"))
    world.create(SECRETS, secret())
    world.create(SECRETS, secret("kept", "stays"))
    world.settle()
    world.delete(SERVICE_ACCOUNTS, world.read(SERVICE_ACCOUNTS, "robot"))
    world.settle()
    assert [one["metadata"]["name"] for one in world.all(SECRETS)] == ["kept"]


def test_an_account_that_the_view_does_not_know_yet_keeps_its_secret(world):
    world.create(SERVICE_ACCOUNTS, account())
    cache = world.cache(SERVICE_ACCOUNTS)
    cache.remove("default/robot", cache.get("default/robot"))
    world.create(SECRETS, secret())
    world.settle()
    assert data(world)["token"] == "token of robot in s"


def test_a_deleted_secret_leaves_the_list_of_its_account(world):
    listed = account(secrets=[{"name": "s"}, {"name": "other"}])
    world.create(SERVICE_ACCOUNTS, listed)
    world.create(SECRETS, secret())
    world.settle()
    world.delete(SECRETS, world.read(SECRETS, "s"))
    world.settle()
    assert world.read(SERVICE_ACCOUNTS, "robot")["secrets"] == [{"name": "other"}]


def test_every_namespace_has_an_account_and_the_root_ca():
    world = World(ServiceAccounts, lambda: RootCaPublisher("root"))
    world.create(NAMESPACES, {"metadata": {"name": "x"}, "status": {"phase": "Active"}})
    world.create(NAMESPACES, {"metadata": {"name": "ending"}, "status": {"phase": "Terminating"}})
    world.settle()
    assert world.read(SERVICE_ACCOUNTS, "default", "x")
    assert world.read(CONFIG_MAPS, ROOT_CA_NAME, "x")["data"] == {"ca.crt": "root"}
    assert world.all(SERVICE_ACCOUNTS, "ending") == []
    world.change(CONFIG_MAPS, ROOT_CA_NAME, {"data": {"ca.crt": "forged"}}, "x")
    world.delete(SERVICE_ACCOUNTS, world.read(SERVICE_ACCOUNTS, "default", "x"))
    world.settle()
    assert world.read(CONFIG_MAPS, ROOT_CA_NAME, "x")["data"] == {"ca.crt": "root"}
    assert world.read(SERVICE_ACCOUNTS, "default", "x")

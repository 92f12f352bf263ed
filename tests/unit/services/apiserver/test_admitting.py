"""Admission in the chain: quotas are counted, what is on its way is waited for, nodes see what their pods name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from cybernetes.core.auth.user import User
from cybernetes.core.errors import ApiError
from cybernetes.core.objects import (
    CONFIG_MAPS,
    NAMESPACES,
    NODES,
    PODS,
    RESOURCE_QUOTAS,
    ROLE_BINDINGS,
    SECRETS,
    SERVICE_ACCOUNTS,
    Object,
)
from cybernetes.core.store.interface import Compacted
from cybernetes.services.apiserver import admitting

PODS_PATH = "/api/v1/namespaces/default/pods"
NODE = User("system:node:n", groups=("system:nodes", "system:authenticated"))


async def quota(cluster, hard: dict[str, str], name: str = "q") -> None:
    client = cluster.direct()
    await client.create(RESOURCE_QUOTAS, {"metadata": {"name": name, "namespace": "default"}, "spec": {"hard": hard}})
    used = dict.fromkeys(hard, "0")
    await client.patch(RESOURCE_QUOTAS, name, {"status": {"hard": hard, "used": used}}, "default", subresource="status")


async def test_a_quota_is_counted_and_refuses(cluster, make_config_map: Callable[..., Object]) -> None:
    await quota(cluster, {"count/configmaps": "2"})
    path = "/api/v1/namespaces/default/configmaps"
    for name in ("a", "b"):
        assert (await cluster.post(path, make_config_map(name))).code == 201
    used = (await cluster.direct().get(RESOURCE_QUOTAS, "q", "default"))["status"]["used"]
    assert used == {"count/configmaps": "2"}
    refused = await cluster.post(path, make_config_map("c"))
    assert refused.code == 403
    assert refused.json()["message"] == (
        'configmaps "c" is forbidden: exceeded quota: q, requested: count/configmaps=1, used: count/configmaps=2, '
        "limited: count/configmaps=2"
    )
    assert (await cluster.get(f"{path}/c")).code == 404


async def test_creations_at_once_do_not_outrun_a_quota(cluster, make_config_map: Callable[..., Object]) -> None:
    await quota(cluster, {"count/configmaps": "3"})
    await quota(cluster, {"count/configmaps": "9"}, "wide")
    path = "/api/v1/namespaces/default/configmaps"
    answers = await asyncio.gather(*(cluster.post(path, make_config_map(f"m{number}")) for number in range(6)))
    assert sorted(answer.code for answer in answers).count(201) == 3
    listed = await cluster.direct().list(CONFIG_MAPS, "default")
    assert len(listed.items) == 3


async def test_a_dry_run_is_judged_and_not_counted(cluster, make_config_map: Callable[..., Object]) -> None:
    await quota(cluster, {"count/configmaps": "0"})
    answer = await cluster.post("/api/v1/namespaces/default/configmaps?dryRun=All", make_config_map("a"))
    assert answer.code == 403


async def test_what_is_on_its_way_is_waited_for(cluster, make_pod: Callable[..., Object]) -> None:
    client = cluster.direct()
    await client.create(NAMESPACES, {"metadata": {"name": "new"}})
    creating = asyncio.create_task(client.create(PODS, make_pod("p", namespace="new")))
    await asyncio.sleep(0.01)
    assert not creating.done(), "the account of a new namespace is made by a controller"
    await client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "default", "namespace": "new"}})
    assert (await asyncio.wait_for(creating, 5))["spec"]["serviceAccountName"] == "default"


async def test_what_does_not_come_is_refused(
    cluster, make_pod: Callable[..., Object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admitting, "_NOT_YET_S", 0.01)
    answer = await cluster.post("/api/v1/namespaces/kube-public/pods", make_pod("p"))
    assert answer.code == 403
    why = 'error looking up service account kube-public/default: serviceaccount "default" not found'
    assert answer.json()["message"] == f'pods "p" is forbidden: {why}'


async def test_a_node_sees_what_its_pods_name(cluster, make_pod: Callable[..., Object]) -> None:
    client, node = cluster.direct(), cluster.direct(NODE)
    for name in ("mine", "other"):
        await client.create(SECRETS, {"metadata": {"name": name, "namespace": "default"}})
    await node.create(NODES, {"metadata": {"name": "n"}})
    with pytest.raises(ApiError) as caught:
        await node.create(NODES, {"metadata": {"name": "m"}})
    assert caught.value.message == 'nodes "m" is forbidden: node "n" is not allowed to modify node "m"'
    with pytest.raises(ApiError) as caught:
        await node.get(SECRETS, "mine", "default")
    assert "no relationship found between node 'n' and this object" in caught.value.message
    pod = make_pod("p", namespace="default")
    pod["spec"]["volumes"] = [{"name": "v", "secret": {"secretName": "mine"}}]
    await client.create(PODS, pod)
    binding = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}}
    await client.create(PODS, binding, "default", name="p", subresource="binding")
    assert (await node.get(SECRETS, "mine", "default"))["metadata"]["name"] == "mine"
    with pytest.raises(ApiError):
        await node.get(SECRETS, "other", "default")
    await client.delete(PODS, "p", "default", grace_period_s=0)
    await cluster.server.storage.catch_up()
    with pytest.raises(ApiError):
        await node.get(SECRETS, "mine", "default")


async def test_the_zone_of_its_node_reaches_a_pod(cluster, make_pod: Callable[..., Object]) -> None:
    client = cluster.direct()
    await client.create(NODES, {"metadata": {"name": "z", "labels": {"topology.kubernetes.io/zone": "a"}}})
    await client.create(PODS, make_pod("p", namespace="default"))
    binding = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "z"}}
    await client.create(PODS, binding, "default", name="p", subresource="binding")
    assert (await client.get(PODS, "p", "default"))["metadata"]["labels"]["topology.kubernetes.io/zone"] == "a"


async def test_authorizers_are_told_anew_when_the_caches_are(cluster) -> None:
    client = cluster.direct()
    group = "rbac.authorization.k8s.io"
    binding = {
        "metadata": {"name": "b", "namespace": "default"},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "view"},
        "subjects": [{"apiGroup": group, "kind": "User", "name": "jane"}],
    }
    feed = cluster.server.storage.feed
    for cache in list(feed._caches.values()):
        cache.end(Compacted(1, 2))  # as the feed does when the store has compacted what it missed
    await feed._load()
    for told in feed.on_reload:
        told()
    await client.create(ROLE_BINDINGS, binding)
    assert (await cluster.get(PODS_PATH, token="jane-token")).code == 200
    await client.delete(ROLE_BINDINGS, "b", "default")
    assert (await cluster.get(PODS_PATH, token="jane-token")).code == 403


async def test_many_creations_at_once_fill_a_quota(cluster, make_config_map: Callable[..., Object]) -> None:
    await quota(cluster, {"count/configmaps": "30"})
    path = "/api/v1/namespaces/default/configmaps"
    answers = await asyncio.gather(*(cluster.post(path, make_config_map(f"m{number}")) for number in range(40)))
    codes = [answer.code for answer in answers]
    assert (codes.count(201), codes.count(403)) == (30, 10)

"""Priority and fairness over HTTP: classes, headers, conditions, refusals."""

from __future__ import annotations

import asyncio

import pytest

from cybernetes.core.auth.attributes import Attributes
from cybernetes.core.auth.user import User
from cybernetes.core.store.cached import EVERYTHING
from cybernetes.services.apiserver.fairness.fairness import seats_of_list
from cybernetes.services.apiserver.fairness.flows import FLOW_SCHEMAS, PRIORITY_LEVELS

PATH = "/apis/flowcontrol.apiserver.k8s.io/v1"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


def uid(cluster, gvr, name: str) -> str:
    return str(cluster.server.storage.find(gvr, "", name)["metadata"]["uid"])


@pytest.mark.parametrize(
    ("name", "groups", "request_", "schema"),
    [
        ("a", ("system:masters", "system:authenticated"), Attributes("get", resource="pods", namespace="x"), "exempt"),
        (
            "system:node:n",
            ("system:nodes",),
            Attributes("update", resource="nodes", subresource="status"),
            "system-node-high",
        ),
        ("system:node:n", ("system:nodes",), Attributes("list", resource="pods"), "system-nodes"),
        ("system:kube-scheduler", (), Attributes("create", resource="pods", namespace="x"), "kube-scheduler"),
        (
            "system:kube-scheduler",
            (),
            Attributes("update", "coordination.k8s.io", "v1", "leases", namespace="kube-system"),
            "system-leader-election",
        ),
        (
            "system:serviceaccount:kube-system:x",
            ("system:serviceaccounts",),
            Attributes("get", resource="pods"),
            "kube-system-service-accounts",
        ),
        (
            "system:serviceaccount:x:y",
            ("system:serviceaccounts",),
            Attributes("get", resource="pods"),
            "service-accounts",
        ),
        ("jane", ("system:authenticated",), Attributes("get", resource="pods"), "global-default"),
        ("system:anonymous", ("system:unauthenticated",), Attributes("get", path="/livez/ping"), "probes"),
        ("nobody", (), Attributes("get", resource="pods"), "catch-all"),
    ],
)
async def test_classes(cluster, name: str, groups: tuple[str, ...], request_: Attributes, schema: str) -> None:
    assert cluster.server.fairness.ticket(User(name, groups=groups), request_).schema.name == schema


async def test_answers_name_their_class(cluster) -> None:
    answers = [
        (await cluster.get(CONFIG_MAPS), "exempt", "exempt"),
        (await cluster.get(CONFIG_MAPS, token="jane-token"), "global-default", "global-default"),
        (await cluster.get("/version"), "exempt", "exempt"),
    ]
    for answer, schema, level in answers:
        assert answer.headers["X-Kubernetes-Pf-Flowschema-Uid"] == uid(cluster, FLOW_SCHEMAS, schema)
        assert answer.headers["X-Kubernetes-Pf-Prioritylevel-Uid"] == uid(cluster, PRIORITY_LEVELS, level)


async def test_own_schemas_take_effect_and_are_told_whether_their_level_exists(cluster) -> None:
    spec = {
        "priorityLevelConfiguration": {"name": "tight"},
        "matchingPrecedence": 50,
        "rules": [
            {
                "subjects": [{"kind": "User", "user": {"name": "jane"}}],
                "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"]}],
            }
        ],
    }
    changed = asyncio.Event()
    cache = cluster.server.storage.cache_of(FLOW_SCHEMAS)
    watcher = cache.watch(EVERYTHING, cache.revision, lambda batch: changed.set())
    assert (await cluster.post(f"{PATH}/flowschemas", {"metadata": {"name": "jane"}, "spec": spec})).code == 201

    async def told(status: str) -> None:
        async with asyncio.timeout(20):
            while True:
                found = cluster.server.storage.find(FLOW_SCHEMAS, "", "jane").get("status", {}).get("conditions")
                if found and found[0]["status"] == status:
                    return
                await changed.wait()
                changed.clear()

    await told("True")
    answer = await cluster.get(CONFIG_MAPS, token="jane-token")
    assert answer.headers["X-Kubernetes-Pf-Flowschema-Uid"] == uid(cluster, FLOW_SCHEMAS, "global-default")
    limited = {"nominalConcurrencyShares": 1, "limitResponse": {"type": "Reject"}, "borrowingLimitPercent": 0}
    level = {"metadata": {"name": "tight"}, "spec": {"type": "Limited", "limited": limited}}
    assert (await cluster.post(f"{PATH}/prioritylevelconfigurations", level)).code == 201
    await told("False")
    watcher.close()
    answer = await cluster.get(CONFIG_MAPS, token="jane-token")
    assert answer.code == 403
    assert answer.headers["X-Kubernetes-Pf-Flowschema-Uid"] == uid(cluster, FLOW_SCHEMAS, "jane")
    assert answer.headers["X-Kubernetes-Pf-Prioritylevel-Uid"] == uid(cluster, PRIORITY_LEVELS, "tight")


async def test_a_full_level_refuses_with_a_time_to_come_again(cluster) -> None:
    group = "rbac.authorization.k8s.io"
    binding = {
        "metadata": {"name": "b"},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "view"},
        "subjects": [{"apiGroup": group, "kind": "User", "name": "jane"}],
    }
    await cluster.post(f"/apis/{group}/v1/namespaces/default/rolebindings", binding)
    level = cluster.server.fairness.levels["global-default"]
    level.settings = level.settings._replace(queues=0, borrowing_percent=0)
    level.seats = level.limit
    refused = await cluster.get(CONFIG_MAPS, token="jane-token")
    assert refused.code == 429 and refused.headers["Retry-After"] == "1"
    assert refused.json()["message"] == "Too many requests, please try again later."
    assert (await cluster.get(CONFIG_MAPS)).code == 200, "the cluster's masters can always look"
    assert (await cluster.get("/livez")).code == 200
    level.leave(level.limit)
    assert (await cluster.get(CONFIG_MAPS, token="jane-token")).code == 200


async def test_what_is_mandatory_applies_when_it_was_deleted(cluster) -> None:
    for name in ("exempt", "catch-all"):
        await cluster.delete(f"{PATH}/flowschemas/{name}")
        await cluster.delete(f"{PATH}/prioritylevelconfigurations/{name}")
    assert (await cluster.get(CONFIG_MAPS)).code == 200
    assert cluster.server.fairness.ticket(
        User("a", groups=("system:masters",)), Attributes("get")
    ).level.settings.is_exempt


def test_lists_cost_by_their_length() -> None:
    assert [seats_of_list(count, limit) for count, limit in ((0, 0), (100, 0), (101, 0), (10**6, 0), (10**6, 250))] == [
        1,
        1,
        2,
        10,
        3,
    ]

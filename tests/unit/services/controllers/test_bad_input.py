"""What users get wrong: the condition or event that Kubernetes gives, and no hot loop: every try is counted."""

from __future__ import annotations

import asyncio

import pytest
from harness import Cluster, deployment, thing

from cybernetes.core.errors import ApiError
from cybernetes.core.objects import (
    CRON_JOBS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    EVENTS,
    HORIZONTAL_POD_AUTOSCALERS,
    JOBS,
    PODS,
    REPLICA_SETS,
    RESOURCE_QUOTAS,
    SERVICES,
    STATEFUL_SETS,
    Gvr,
    condition,
    controller_of,
    name_of,
)

pytestmark = pytest.mark.looptime

VALIDATING_WEBHOOK_CONFIGURATIONS = Gvr("admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations")
#: Tries in ten minutes of a key that fails all the time, put off for 5 ms at first and twice as long each time.
TRIES_MAX = 25


def runner_of(cluster, name):
    return next(runner for runner in cluster.manager.runners if runner.controller.name == f"{name}-controller")


async def events_of(cluster, reason):
    return [event for event in (await cluster.api.list(EVENTS, "default")).items if event["reason"] == reason]


async def tries_of(cluster, name, seconds=600):
    runner = runner_of(cluster, name)
    before = runner.reconciles
    await asyncio.sleep(seconds)
    assert sum(each.bugs for each in cluster.manager.runners) == 0
    return runner.reconciles - before


def pod_spec():
    return {"containers": [{"name": "c", "image": "i"}]}


async def test_a_quota_that_is_used_up(clock):
    async with Cluster(clock) as cluster:
        api = cluster.api
        await api.create(RESOURCE_QUOTAS, thing("v1", "ResourceQuota", "small", spec={"hard": {"pods": "2"}}))
        await asyncio.sleep(6)
        await api.create(DEPLOYMENTS, deployment(5))
        await asyncio.sleep(20)
        (replica_set,) = (await api.list(REPLICA_SETS, "default")).items
        failure = condition(replica_set, "ReplicaFailure")
        assert (failure["status"], failure["reason"]) == ("True", "FailedCreate")
        assert (
            "is forbidden: exceeded quota: small, requested: pods=1, used: pods=2, limited: pods=2"
            in failure["message"]
        )
        told = condition(await api.get(DEPLOYMENTS, "web", "default"), "ReplicaFailure")
        assert (told["status"], told["reason"], told["message"]) == ("True", "FailedCreate", failure["message"])
        assert any(
            event["message"].startswith("Error creating: pods ") for event in await events_of(cluster, "FailedCreate")
        )
        assert len(await cluster.names(PODS)) == 2
        assert await tries_of(cluster, "replicaset") <= TRIES_MAX
        await api.patch(RESOURCE_QUOTAS, "small", {"spec": {"hard": {"pods": "9"}}}, "default")

        async def is_whole():
            found = await api.get(DEPLOYMENTS, "web", "default")
            return found["status"].get("availableReplicas") == 5 and condition(found, "ReplicaFailure") is None

        await cluster.eventually(is_whole, 2000)


@pytest.mark.parametrize(
    ("gvr", "kind", "api_version", "controller"),
    [
        (REPLICA_SETS, "ReplicaSet", "apps/v1", "replicaset"),
        (STATEFUL_SETS, "StatefulSet", "apps/v1", "statefulset"),
        (JOBS, "Job", "batch/v1", "job"),
    ],
)
async def test_a_webhook_that_always_fails(clock, gvr, kind, api_version, controller):
    async with Cluster(clock) as cluster:
        api = cluster.api
        hook = {
            "name": "no.example.com",
            "clientConfig": {"url": "https://127.0.0.1:1/"},
            "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}],
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "timeoutSeconds": 1,
        }
        made = {"metadata": {"name": "no"}, "webhooks": [hook]}
        await api.create(VALIDATING_WEBHOOK_CONFIGURATIONS, made)
        labels = {"app": "web"}
        spec = {"template": {"metadata": {"labels": labels}, "spec": pod_spec()}}
        if kind == "Job":
            spec["template"]["spec"]["restartPolicy"] = "Never"
        else:
            spec |= {"selector": {"matchLabels": labels}, "replicas": 3}
        await api.create(gvr, thing(api_version, kind, "web", spec=spec))
        await asyncio.sleep(20)
        assert await cluster.names(PODS) == []
        events = await events_of(cluster, "FailedCreate")
        assert events and all(
            'Internal error occurred: failed calling webhook "no.example.com": failed to call webhook: Post '
            in event["message"]
            for event in events
        )
        assert await tries_of(cluster, controller) <= TRIES_MAX


async def test_the_pods_of_another(clock):
    """Two sets with one selector: each counts its own; neither takes or deletes what the other has."""
    async with Cluster(clock) as cluster:
        api = cluster.api
        labels = {"app": "web"}
        template = {"metadata": {"labels": labels}, "spec": pod_spec()}
        for name, replicas in (("a", 3), ("b", 2)):
            spec = {"selector": {"matchLabels": labels}, "replicas": replicas, "template": template}
            await api.create(REPLICA_SETS, thing("apps/v1", "ReplicaSet", name, spec=spec))
        await asyncio.sleep(30)
        await api.patch(REPLICA_SETS, "a", {"spec": {"replicas": 0}}, "default")
        assert await tries_of(cluster, "replicaset") <= TRIES_MAX
        pods = (await api.list(PODS, "default")).items
        assert [(controller_of(pod) or {}).get("name") for pod in pods] == ["b", "b"]


async def test_selectors_that_match_nothing(clock):
    async with Cluster(clock) as cluster:
        api = cluster.api
        spec = {"selector": {"app": "nobody"}, "ports": [{"port": 80}]}
        await api.create(SERVICES, thing("v1", "Service", "web", spec=spec))
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "nobody"}
        scaled = {"scaleTargetRef": target, "maxReplicas": 3}
        made = thing("autoscaling/v2", "HorizontalPodAutoscaler", "web", spec=scaled)
        await api.create(HORIZONTAL_POD_AUTOSCALERS, made)
        await asyncio.sleep(20)
        (slice_,) = (await api.list(ENDPOINT_SLICES, "default", label_selector="kubernetes.io/service-name=web")).items
        assert not slice_.get("endpoints")
        assert await tries_of(cluster, "endpointslice") == 0
        assert await tries_of(cluster, "horizontal-pod-autoscaler") <= 41, "one look each 15 seconds"
        able = condition(await api.get(HORIZONTAL_POD_AUTOSCALERS, "web", "default"), "AbleToScale")
        assert (able["status"], able["reason"]) == ("False", "FailedGetScale")
        assert able["message"].endswith('deployments.apps "nobody" not found')
        mismatched = deployment(1, name="odd")
        mismatched["spec"]["selector"] = {"matchLabels": {"app": "even"}}
        with pytest.raises(ApiError, match="`selector` does not match template `labels`"):
            await api.create(DEPLOYMENTS, mismatched)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"schedule": "61 * * * *"}, 'spec.schedule: Invalid value: "61 \\* \\* \\* \\*": end of range'),
        ({"schedule": "* * * *"}, "expected exactly 5 fields, found 4"),
        ({"schedule": "TZ=UTC * * * * *"}, "cannot use TZ or CRON_TZ in schedule"),
        (
            {"schedule": "* * * * *", "timeZone": "Mars/Base"},
            'spec.timeZone: Invalid value: "Mars/Base": unknown time zone',
        ),
    ],
)
async def test_schedules_and_time_zones_that_there_are_not(clock, spec, message):
    async with Cluster(clock, controllers=("cronjob",)) as cluster:
        template = {"spec": {"template": {"spec": {**pod_spec(), "restartPolicy": "Never"}}}}
        made = thing("batch/v1", "CronJob", "c", spec={**spec, "jobTemplate": template})
        with pytest.raises(ApiError, match=message):
            await cluster.api.create(CRON_JOBS, made)


async def test_a_day_that_never_comes(clock):
    async with Cluster(clock, controllers=("cronjob",)) as cluster:
        template = {"spec": {"template": {"spec": {**pod_spec(), "restartPolicy": "Never"}}}}
        spec = {"schedule": "0 0 31 2 *", "jobTemplate": template}
        await cluster.api.create(CRON_JOBS, thing("batch/v1", "CronJob", "c", spec=spec))
        await asyncio.sleep(1)
        assert await tries_of(cluster, "cronjob", 86400) <= TRIES_MAX
        assert [name_of(job) for job in (await cluster.api.list(JOBS, "default")).items] == []

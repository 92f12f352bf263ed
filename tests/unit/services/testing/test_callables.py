"""Admission, conversion and scheduling as functions."""

import pytest
from manifests import config_map, deployment

from cybernetes.core.errors import ApiError
from cybernetes.core.objects import CONFIG_MAPS, PODS, Gvr
from cybernetes.testing import Cluster, ClusterError, Misuse

WIDGETS = {version: Gvr("example.com", version, "widgets") for version in ("v1", "v2")}


def definition():
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    versions = [
        {"name": name, "served": True, "storage": name == "v2", "schema": {"openAPIV3Schema": schema}}
        for name in ("v1", "v2")
    ]
    webhook = {"conversionReviewVersions": ["v1"], "clientConfig": {"url": "https://nowhere.example/convert"}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget"},
            "versions": versions,
            "conversion": {"strategy": "Webhook", "webhook": webhook},
        },
    }


async def test_a_function_changes_what_is_written():
    async with Cluster(nodes=0) as cluster:

        @cluster.mutate("v1", "configmaps")
        def label(obj):
            obj["metadata"].setdefault("labels", {})["team"] = "a"

        @cluster.mutate("v1", "configmaps", operations=["UPDATE"])
        def count(obj, attributes):
            obj["data"]["n"] = str(int(attributes.old["data"]["n"]) + 1)

        await cluster.apply(config_map("c", n="0"))
        await cluster.apply(config_map("c", n="7"))
        found = await cluster.api.get(CONFIG_MAPS, "c", "default")
        assert (found["metadata"]["labels"], found["data"]) == ({"team": "a"}, {"n": "1"})


async def test_a_function_refuses_and_forks_and_restarts_remember_it():
    async with Cluster(nodes=0) as cluster:

        @cluster.validate("apps/v1", "deployments")
        def small(obj):
            return "too many replicas" if obj["spec"]["replicas"] > 10 else None

        for number in range(3):
            with pytest.raises(ApiError, match='admission function "small" denied it: too many replicas') as caught:
                await cluster.apply(deployment(replicas=11))
            assert caught.value.code == 403
            if number == 1:
                await cluster.restart("apiserver")
        async with cluster.fork() as twin:
            with pytest.raises(ApiError, match="too many replicas"):
                await twin.apply(deployment(replicas=11))
        await cluster.apply(deployment(replicas=10))


async def test_a_bug_in_a_function_fails_the_test():
    with pytest.raises(ClusterError, match="ZeroDivisionError"):
        async with Cluster(nodes=0) as cluster:

            @cluster.mutate("v1", "configmaps")
            def wrong(obj):
                1 / 0

            with pytest.raises(ApiError, match="Internal error"):
                await cluster.apply(config_map("c"))
            await cluster.settle()


async def test_a_coroutine_function_is_refused():
    async with Cluster(nodes=0) as cluster:

        async def slow(obj):
            pass

        with pytest.raises(Misuse, match="slow is a coroutine function"):
            cluster.mutate("v1", "configmaps")(slow)


async def test_a_function_converts():
    async with Cluster(nodes=0) as cluster:

        @cluster.convert("example.com", "widgets")
        def convert(obj, api_version):
            spec = dict(obj["spec"])
            if api_version.endswith("v2"):
                spec["size"] = {"value": spec["size"]}
            else:
                spec["size"] = spec["size"]["value"]
            return {**obj, "apiVersion": api_version, "spec": spec}

        await cluster.apply(definition())
        await cluster.settle()
        widget = {
            "apiVersion": "example.com/v1",
            "kind": "Widget",
            "metadata": {"name": "w"},
            "spec": {"size": 3},
        }
        await cluster.api.create(WIDGETS["v1"], widget, "default")
        assert (await cluster.api.get(WIDGETS["v2"], "w", "default"))["spec"] == {"size": {"value": 3}}
        assert (await cluster.api.get(WIDGETS["v1"], "w", "default"))["spec"] == {"size": 3}


async def test_a_function_schedules():
    cluster = Cluster(nodes=3)
    seen = []

    @cluster.schedule("last")
    def place(pod, nodes):
        seen.append(pod["metadata"]["name"])
        return nodes[-1]["metadata"]["name"]

    @cluster.schedule("never")
    def never(pod, nodes):
        return None

    async with cluster:
        for name in ("last", "never"):
            body = deployment(name, replicas=2)
            body["spec"]["template"]["spec"]["schedulerName"] = name
            await cluster.apply(body)
        await cluster.settle()
        found = {}
        for pod in (await cluster.api.list(PODS, "default")).items:
            found.setdefault(pod["metadata"]["labels"]["app"], []).append(pod["spec"].get("nodeName"))
        assert found == {"last": ["node-2"] * 2, "never": [None] * 2}
        assert len(set(seen)) == 2
        with pytest.raises(Misuse, match="before the cluster is entered"):
            Cluster.schedule(await _plain(cluster), "late")


async def _plain(cluster):
    """A cluster without function schedulers, running."""
    await cluster.crash("functions")
    return cluster

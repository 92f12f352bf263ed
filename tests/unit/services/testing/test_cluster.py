"""The cluster as an object: it starts, settles, moves in time, forks, rolls back, and gives ways in."""

import asyncio
import time

import aiohttp
import pytest
from manifests import config_map, cron_job, deployment

from cybernetes.core.auth.user import User
from cybernetes.core.errors import ApiError
from cybernetes.core.objects import CONFIG_MAPS, NODES, PODS, Gvr, is_condition_true
from cybernetes.core.store.lmdb.engine import LmdbEngine
from cybernetes.core.store.lmdb.store import LmdbStore
from cybernetes.testing import Cluster, ClusterError, Image, Misuse, NotSettled

DEPLOYMENTS = Gvr("apps", "v1", "deployments")
JOBS = Gvr("batch", "v1", "jobs")


async def pods(cluster, namespace="default"):
    return (await cluster.api.list(PODS, namespace)).items


async def phases(cluster):
    return [pod["status"]["phase"] for pod in await pods(cluster)]


async def test_pods_of_a_deployment_run_once_it_has_settled():
    async with Cluster(nodes=3) as cluster:
        await cluster.apply(deployment(replicas=5))
        await cluster.settle()
        assert await phases(cluster) == ["Running"] * 5
        assert {pod["spec"]["nodeName"] for pod in await pods(cluster)} <= {"node-0", "node-1", "node-2"}


async def test_a_month_of_cron_jobs_takes_a_month_of_its_own_time():
    async with Cluster(nodes=1) as cluster:
        await cluster.apply(cron_job(schedule="0 0 * * *"))
        began = cluster.time.datetime
        await cluster.advance(days=30, minutes=1)
        assert (cluster.time.datetime - began).total_seconds() == 30 * 86400 + 60
        cron = await cluster.api.get(Gvr("batch", "v1", "cronjobs"), "tick", "default")
        assert cron["status"]["lastScheduleTime"] == "2026-01-31T00:00:00Z"
        assert cron["status"]["lastSuccessfulTime"] == "2026-01-31T00:00:01Z"
        node = await cluster.api.get(NODES, "node-0")
        assert is_condition_true(node, "Ready"), "a month of silence of the test is not one of the node"


async def test_sleeping_takes_no_time_while_nothing_outside_can_call():
    async with Cluster(nodes=0) as cluster:
        began = time.monotonic()
        await asyncio.sleep(3600)
        assert cluster.clock.monotonic() >= 3600
        assert time.monotonic() - began < 60


async def test_a_node_that_dies_is_noticed_after_its_grace_and_its_pods_move():
    async with Cluster(nodes=2) as cluster:
        await cluster.apply(deployment(replicas=2))
        await cluster.settle()
        await cluster.kill_node("node-0")
        await cluster.advance(seconds=45)
        assert is_condition_true(await cluster.api.get(NODES, "node-0"), "Ready")
        await cluster.advance(seconds=15)
        assert not is_condition_true(await cluster.api.get(NODES, "node-0"), "Ready")
        await cluster.advance(minutes=6)
        running = [pod for pod in await pods(cluster) if "deletionTimestamp" not in pod["metadata"]]
        assert {pod["spec"]["nodeName"] for pod in running} == {"node-1"}
        await cluster.advance(hours=3)
        assert not is_condition_true(await cluster.api.get(NODES, "node-0"), "Ready")
        await cluster.revive_node("node-0")
        await cluster.settle()
        assert is_condition_true(await cluster.api.get(NODES, "node-0"), "Ready")
        assert len(await pods(cluster)) == 2


async def test_settle_says_who_is_busy():
    async with Cluster(nodes=1) as cluster:

        async def restless():
            for number in range(10_000):
                await cluster.api.patch(CONFIG_MAPS, "c", {"data": {"n": str(number)}}, "default")
                await asyncio.sleep(0.5)

        await cluster.apply(config_map("c"))
        task = asyncio.ensure_future(restless())
        with pytest.raises(NotSettled, match="changed configmaps/default/c"):
            await cluster.settle(within_s=30)
        task.cancel()
        await cluster.settle()


async def test_a_crash_loop_is_settled_between_its_restarts():
    async with Cluster(nodes=1) as cluster:
        annotations = {"cybernetes.io/run-for": "1s", "cybernetes.io/exit-code": "1"}
        await cluster.apply(deployment(replicas=1, annotations=annotations))
        await cluster.settle()
        (pod,) = await pods(cluster)
        (status,) = pod["status"]["containerStatuses"]
        assert status["state"]["waiting"]["reason"] == "CrashLoopBackOff"


async def test_a_pod_that_fits_nowhere_is_settled():
    async with Cluster(nodes=0) as cluster:
        await cluster.apply(deployment(replicas=1))
        await cluster.settle()
        assert await phases(cluster) == ["Pending"]


async def test_the_same_seed_gives_the_same_history_and_another_another():
    async def history(seed):
        seen = []
        async with Cluster(nodes=2, seed=seed) as cluster:
            cluster.on_event(lambda event: seen.append((event.kind, event.record.key, event.record.value)))
            await cluster.apply(deployment(replicas=3), cron_job())
            await cluster.advance(hours=3)
        return seen

    first = await history(1)
    assert first == await history(1)
    assert first != await history(2)


async def test_forks_go_their_own_ways():
    async with Cluster(nodes=1) as cluster:
        await cluster.apply(config_map("c", where="trunk"))
        await cluster.settle()
        async with cluster.fork() as twin:
            await twin.apply(config_map("c", where="twin"), deployment(replicas=1))
            await twin.settle()
            assert await phases(twin) == ["Running"]
            assert (await cluster.api.get(CONFIG_MAPS, "c", "default"))["data"] == {"where": "trunk"}
        assert await phases(cluster) == []


async def test_rollback_brings_the_state_back_and_clients_stay_valid():
    async with Cluster(nodes=1) as cluster:
        api = cluster.api
        await cluster.apply(deployment(replicas=2))
        await cluster.settle()
        image = cluster.image()
        before = [pod["metadata"]["uid"] for pod in await pods(cluster)]
        for _ in range(3):
            await api.delete(DEPLOYMENTS, "web", "default")
            await cluster.settle()
            assert await phases(cluster) == []
            await cluster.rollback(image)
            await cluster.settle()
            assert [pod["metadata"]["uid"] for pod in await pods(cluster)] == before
        await api.patch(DEPLOYMENTS, "web", {"spec": {"replicas": 3}}, "default")
        await cluster.settle()
        assert await phases(cluster) == ["Running"] * 3


async def test_a_file_keeps_the_state(tmp_path):
    async with Cluster(nodes=1) as cluster:
        await cluster.apply(deployment(replicas=2))
        await cluster.settle()
        await cluster.save(tmp_path / "state")
    async with Cluster.load(tmp_path / "state", nodes=1) as cluster:
        await cluster.settle()
        assert await phases(cluster) == ["Running"] * 2
    assert Image.load(tmp_path / "state").revision > 1


async def test_a_snapshot_of_a_live_store_can_be_looked_at(tmp_path):
    live = LmdbStore(LmdbEngine(tmp_path / "live"))
    async with Cluster(nodes=1) as cluster:
        await cluster.apply(deployment(replicas=2))
        await cluster.settle()
        for record in (await cluster.image().store().range(b"", b"")).records:
            await live.put(record.key, record.value, expected_revision=0)
    await live.snapshot(tmp_path / "snapshot")
    await live.close()
    async with Cluster.load(tmp_path / "snapshot", nodes=["node-0"]) as cluster:
        await cluster.settle()
        assert await phases(cluster) == ["Running"] * 2
        await cluster.api.patch(DEPLOYMENTS, "web", {"spec": {"replicas": 3}}, "default")
        await cluster.settle()
        assert await phases(cluster) == ["Running"] * 3
    (tmp_path / "other").write_text("not a snapshot of anything" * 1000)
    with pytest.raises(Misuse, match="is no snapshot of a cluster"):
        Image.load(tmp_path / "other")


async def test_users_have_their_rights_and_no_more():
    async with Cluster(nodes=0) as cluster:
        nobody = cluster.client("nobody")
        with pytest.raises(ApiError, match='User "nobody" cannot list resource "pods"'):
            await nobody.list(PODS, "default")
        account = cluster.client(User("system:serviceaccount:kube-system:x", "", ("system:serviceaccounts",)))
        with pytest.raises(ApiError, match="forbidden"):
            await account.list(PODS, "default")


async def test_clients_of_the_loop_find_it_without_a_socket():
    async with Cluster(nodes=0) as cluster:
        headers = {"Authorization": f"Bearer {cluster.token}"}
        async with aiohttp.ClientSession(headers=headers) as session:
            async with session.get(cluster.url + "/version") as response:
                assert (await response.json())["gitVersion"].startswith("v1.")
            body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"big": "x" * 900_000}}
            url = cluster.url + "/api/v1/namespaces/default/configmaps"
            async with session.post(url, json=body) as response:
                assert response.status == 201
            async with session.get(url) as response:
                items = (await response.json())["items"]
                assert "c" in [item["metadata"]["name"] for item in items]
        reader, writer = await asyncio.open_connection(cluster.url.removeprefix("http://"), 80)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).endswith(b"ok")
        writer.close()


async def test_a_watch_over_the_memory_connection_sees_what_happens():
    async with Cluster(nodes=0) as cluster:
        headers = {"Authorization": f"Bearer {cluster.token}"}
        async with aiohttp.ClientSession(headers=headers) as session:
            url = cluster.url + "/api/v1/namespaces/default/configmaps?watch=1"
            async with session.get(url) as response:
                await cluster.apply(config_map("late"))
                names = [(await response.content.readline()).decode() for _ in range(2)]
        assert '"name":"late"' in names[1]


async def test_processes_outside_get_in_by_the_kubeconfig(tmp_path):
    async with Cluster(nodes=1) as cluster:
        path = await cluster.kubeconfig(tmp_path / "config")
        kubectl = await asyncio.create_subprocess_exec("python", "-c", OUTSIDE, path, stdout=asyncio.subprocess.PIPE)
        out, _ = await kubectl.communicate()
        assert out.decode().split() == ["node-0"]
        assert cluster.clock.monotonic() == 0.0, "time moved while a process outside was at work"
        await cluster.restart("apiserver")
        kubectl = await asyncio.create_subprocess_exec("python", "-c", OUTSIDE, path, stdout=asyncio.subprocess.PIPE)
        out, _ = await kubectl.communicate()
        assert out.decode().split() == ["node-0"]


OUTSIDE = """
import json, ssl, sys, urllib.request, yaml, base64
config = yaml.safe_load(open(sys.argv[1]))
cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
headers = {"Authorization": "Bearer " + user["token"]}
request = urllib.request.Request(cluster["server"] + "/api/v1/nodes", headers=headers)
for item in json.load(urllib.request.urlopen(request, context=context))["items"]:
    print(item["metadata"]["name"])
"""


async def test_a_component_that_crashes_goes_on_where_it_was():
    async with Cluster(nodes=1) as cluster:
        await cluster.crash("scheduler")
        await cluster.crash("controllers")
        await cluster.apply(deployment(replicas=2))
        await cluster.settle()
        assert await phases(cluster) == []
        await cluster.restart("controllers")
        await cluster.settle()
        assert await phases(cluster) == ["Pending"] * 2
        await cluster.restart("scheduler")
        await cluster.restart("apiserver")
        await cluster.settle()
        assert await phases(cluster) == ["Running"] * 2


async def test_a_namespace_goes_with_everything_in_it():
    async with Cluster(nodes=1) as cluster:
        async with cluster.namespace() as name:
            await cluster.api.create(CONFIG_MAPS, config_map("c"), name)
            await cluster.api.create(DEPLOYMENTS, deployment(), name)
            await cluster.settle()
        assert (await cluster.api.list(CONFIG_MAPS, name)).items == []
        with pytest.raises(ApiError, match="not found"):
            await cluster.api.get(Gvr("", "v1", "namespaces"), name)


async def test_on_the_system_clock_it_settles_too():
    async with Cluster(nodes=1, clock="system") as cluster:
        await cluster.apply(deployment(replicas=2))
        await cluster.settle(quiet_s=0.2)
        assert await phases(cluster) == ["Running"] * 2
        with pytest.raises(Misuse, match="needs virtual time"):
            await cluster.advance(days=1)


async def test_what_fails_in_a_component_fails_the_test():
    with pytest.raises(ClusterError, match="a component failed: ZeroDivisionError"):
        async with Cluster(nodes=0) as cluster:
            cluster._failed(ZeroDivisionError())

"""Controllers with their real neighbours: the API server's defaults, admission, RBAC and watches."""

import asyncio
from pathlib import Path

import pytest
from harness import WEB_SERVICE, Cluster, Faults, deployment, thing, with_image

from cybernetes.core.clock import Random
from cybernetes.core.controllers.interface import Settings
from cybernetes.core.objects import (
    CONFIG_MAPS,
    CRON_JOBS,
    DAEMON_SETS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    ENDPOINTS,
    EVENTS,
    JOBS,
    LEASES,
    NAMESPACES,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    POD_DISRUPTION_BUDGETS,
    PODS,
    REPLICA_SETS,
    RESOURCE_QUOTAS,
    SERVICE_ACCOUNTS,
    SERVICES,
    STATEFUL_SETS,
    STORAGE_CLASSES,
    Gvr,
    condition,
    is_condition_true,
)
from cybernetes.services.controllers.manager import ControllerManager

pytestmark = pytest.mark.looptime


def is_rolled_out(cluster, name="web"):
    async def check():
        found = await cluster.api.get(DEPLOYMENTS, name, "default")
        status = found.get("status") or {}
        is_current = status.get("observedGeneration") == found["metadata"]["generation"]
        return is_current and (condition(found, "Progressing") or {}).get("reason") == "NewReplicaSetAvailable"

    return check


async def test_a_deployment_rolls_out_and_back(clock):
    async with Cluster(clock) as cluster:
        api = cluster.api
        await api.create(DEPLOYMENTS, deployment(4))
        await cluster.eventually(is_rolled_out(cluster))
        patch = with_image("v2")
        await api.patch(DEPLOYMENTS, "web", patch, "default")
        await cluster.eventually(is_rolled_out(cluster))
        alive = [pod for pod in (await api.list(PODS, "default")).items if "deletionTimestamp" not in pod["metadata"]]
        assert {pod["spec"]["containers"][0]["image"] for pod in alive} == {"v2"}
        found = await api.get(DEPLOYMENTS, "web", "default")
        assert found["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"
        sets = await cluster.names(REPLICA_SETS)
        assert len(sets) == 2
        messages = [event["message"] for event in (await api.list(EVENTS, "default")).items]
        assert any(message.startswith("Scaled up replica set web-") for message in messages)
        assert sum(runner.bugs for runner in cluster.manager.runners) == 0


async def test_nothing_is_written_in_a_quiet_cluster(clock):
    async with Cluster(clock) as cluster:
        await cluster.api.create(DEPLOYMENTS, deployment(3))
        await cluster.api.create(SERVICES, WEB_SERVICE)
        await cluster.eventually(is_rolled_out(cluster))
        await asyncio.sleep(60)
        text = cluster.manager.metrics.text().decode()
        assert 'workqueue_depth{name="deployment-controller"} 0' in text
        assert 'workqueue_queue_duration_seconds_count{name="replicaset-controller"}' in text
        assert 'informer_objects{resource="pods"} 3' in text
        assert 'leader_election_master_status{name="kube-controller-manager"} 1' in text
        before = {runner.controller.name: runner.writes for runner in cluster.manager.runners}
        await asyncio.sleep(1000)
        after = {runner.controller.name: runner.writes for runner in cluster.manager.runners}
        assert before == after


async def test_services_have_endpoints(clock):
    async with Cluster(clock) as cluster:
        await cluster.api.create(DEPLOYMENTS, deployment(3))
        await cluster.api.create(SERVICES, WEB_SERVICE)
        await cluster.eventually(is_rolled_out(cluster))
        await asyncio.sleep(1)
        (one,) = (
            await cluster.api.list(ENDPOINT_SLICES, "default", label_selector="kubernetes.io/service-name=web")
        ).items
        assert len(one["endpoints"]) == 3 and one["ports"][0]["port"] == 80
        endpoints = await cluster.api.get(ENDPOINTS, "web", "default")
        assert len(endpoints["subsets"][0]["addresses"]) == 3


@pytest.mark.parametrize("propagation", ["Background", "Foreground", "Orphan"])
async def test_deletion_by_propagation_policy(clock, propagation):
    async with Cluster(clock) as cluster:
        await cluster.api.create(DEPLOYMENTS, deployment(2))
        await cluster.eventually(is_rolled_out(cluster))
        await cluster.api.delete(DEPLOYMENTS, "web", "default", propagation=propagation)
        await asyncio.sleep(30)
        left = [await cluster.names(gvr) for gvr in (DEPLOYMENTS, REPLICA_SETS, PODS)]
        assert list(map(len, left)) == ([0, 1, 2] if propagation == "Orphan" else [0, 0, 0])


async def test_a_namespace_goes_with_all_that_is_in_it(clock):
    async with Cluster(clock) as cluster:
        api = cluster.api
        await api.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}})
        await asyncio.sleep(1)
        assert await cluster.names(SERVICE_ACCOUNTS, "x") == ["default"]
        assert await cluster.names(CONFIG_MAPS, "x") == ["kube-root-ca.crt"]
        await api.create(DEPLOYMENTS, deployment(3, namespace="x"))
        await asyncio.sleep(10)
        await api.delete(NAMESPACES, "x")
        await asyncio.sleep(10)
        assert "x" not in await cluster.names(NAMESPACES, "")
        for gvr in (PODS, REPLICA_SETS, DEPLOYMENTS, CONFIG_MAPS, SERVICE_ACCOUNTS, EVENTS):
            assert await cluster.names(gvr, "x") == []


async def test_stateful_sets_daemon_sets_and_jobs(clock):
    template = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    selector = {"matchLabels": {"app": "x"}}
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    async with Cluster(clock) as cluster:
        api = cluster.api
        spec = {
            "replicas": 3,
            "serviceName": "x",
            "selector": selector,
            "template": template,
            "volumeClaimTemplates": [claim],
        }
        await api.create(STATEFUL_SETS, thing("apps/v1", "StatefulSet", "s", spec=spec))
        labels = {"app": "d"}
        spec = {"selector": {"matchLabels": labels}, "template": {**template, "metadata": {"labels": labels}}}
        await api.create(DAEMON_SETS, thing("apps/v1", "DaemonSet", "d", spec=spec))
        job = {"completions": 3, "parallelism": 2, "template": {"spec": {**template["spec"], "restartPolicy": "Never"}}}
        await api.create(JOBS, thing("batch/v1", "Job", "j", spec=job))
        cron = {"schedule": "*/5 * * * *", "jobTemplate": {"spec": job}}
        await api.create(CRON_JOBS, thing("batch/v1", "CronJob", "c", spec=cron))
        for _ in range(60):
            await asyncio.sleep(5)
            for pod in (await api.list(PODS, "default")).items:
                is_of_job = "batch.kubernetes.io/job-name" in (pod["metadata"].get("labels") or {})
                if is_of_job and (pod.get("status") or {}).get("phase") == "Running":
                    done = {"status": {"phase": "Succeeded"}}
                    await api.patch(PODS, pod["metadata"]["name"], done, "default", subresource="status")
        stateful = await api.get(STATEFUL_SETS, "s", "default")
        assert stateful["status"]["readyReplicas"] == 3
        assert await cluster.names(PERSISTENT_VOLUME_CLAIMS) == ["data-s-0", "data-s-1", "data-s-2"]
        daemon = await api.get(DAEMON_SETS, "d", "default")
        assert daemon["status"]["numberReady"] == 1
        assert is_condition_true(await api.get(JOBS, "j", "default"), "Complete")
        made = [name for name in await cluster.names(JOBS) if name.startswith("c-")]
        assert made
        assert sum(runner.bugs for runner in cluster.manager.runners) == 0


async def test_a_dead_node_is_noticed_and_its_pods_are_evicted(clock):
    async with Cluster(clock, nodes=("n1", "n2")) as cluster:
        await cluster.api.create(DEPLOYMENTS, deployment(2))
        await cluster.eventually(is_rolled_out(cluster))
        cluster.nodes = ("n2",)
        await asyncio.sleep(80)
        node = await cluster.api.get(NODES, "n1")
        assert condition(node, "Ready")["status"] == "Unknown"
        keys = {(taint["key"], taint["effect"]) for taint in node["spec"]["taints"]}
        assert ("node.kubernetes.io/unreachable", "NoExecute") in keys
        await asyncio.sleep(320)
        bound = {pod["spec"].get("nodeName") for pod in (await cluster.api.list(PODS, "default")).items}
        assert bound == {"n2"}


async def test_custom_resources_are_collected_and_deleted_with_their_namespace(clock):
    widgets = Gvr("example.com", "v1", "widgets")
    names = {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"}
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]},
    }
    async with Cluster(clock) as cluster:
        definitions = Gvr("apiextensions.k8s.io", "v1", "customresourcedefinitions")
        await cluster.api.create(definitions, definition)
        await asyncio.sleep(1)
        owner = await cluster.api.create(
            CONFIG_MAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "o"}}, "default"
        )
        reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": owner["metadata"]["uid"]}
        widget = {
            "apiVersion": "example.com/v1",
            "kind": "Widget",
            "metadata": {"name": "w", "ownerReferences": [reference]},
        }
        await cluster.api.create(widgets, widget, "default")
        await asyncio.sleep(1)
        await cluster.api.delete(CONFIG_MAPS, "o", "default")
        await asyncio.sleep(1)
        assert await cluster.names(widgets) == []
        assert cluster.manager.informers.find(widgets) is not None
        await cluster.api.delete(definitions, "widgets.example.com")
        await asyncio.sleep(5)
        assert cluster.manager.informers.find(widgets) is None, "what is gone is not watched"


async def test_two_managers_one_leads_and_the_other_takes_over(clock):
    async with Cluster(clock, controllers=()) as cluster:

        def manager(identity):
            return ControllerManager(cluster.api, clock, Random(7), elects_leader=True, identity=identity)

        first, second = manager("first"), manager("second")
        await first.start()
        await asyncio.sleep(5)
        await second.start()
        await cluster.api.create(DEPLOYMENTS, deployment(5))
        await cluster.eventually(is_rolled_out(cluster))
        assert first.is_leading and not second.is_leading
        # Killed: it stops without giving the Lease back.
        await first._tasks.cancel()
        await first._end()
        lease = await cluster.api.get(LEASES, "kube-controller-manager", "kube-system")
        lease["spec"]["holderIdentity"] = "first"
        await cluster.api.update(LEASES, lease)
        patch = with_image("v2")
        await cluster.api.patch(DEPLOYMENTS, "web", patch, "default")
        await cluster.eventually(is_rolled_out(cluster))
        assert second.is_leading
        pods = (await cluster.api.list(PODS, "default")).items
        assert sum("deletionTimestamp" not in pod["metadata"] for pod in pods) == 5
        await second.stop()
        await first.stop()


@pytest.mark.parametrize("seed", range(6))
async def test_faults_on_every_way_do_not_make_too_many_pods(clock, seed):
    """Lost requests, lost answers, conflicts, cut and expired watches: bounds hold and everything converges."""
    random, names = Random(seed), ("deployment", "replicaset", "serviceaccount")
    faults = Faults(random, lost=0.03, unanswered=0.05, conflict=0.03, cut=0.05, expired=0.02, delay_s=0.3)
    async with Cluster(clock, seed=seed, faults=faults, controllers=names) as cluster:
        most = 0

        async def count():
            nonlocal most
            page = await cluster.api.list(PODS, "default")
            version = page.resource_version
            alive = {pod["metadata"]["uid"] for pod in page.items}
            async for batch in cluster.api.watch(PODS, "default", resource_version=version):
                for event in batch:
                    uid = event.object["metadata"]["uid"]
                    if event.type == "DELETED" or "deletionTimestamp" in event.object["metadata"]:
                        alive.discard(uid)
                    else:
                        alive.add(uid)
                    most = max(most, len(alive))

        cluster.spawn(count())
        await asyncio.sleep(0)
        await cluster.api.create(DEPLOYMENTS, deployment(8))
        for number in range(4):
            await asyncio.sleep(10 + random.below(20))
            patch = with_image(f"v{number}")
            await cluster.api.patch(DEPLOYMENTS, "web", patch, "default")
        faults.enabled = False
        await cluster.eventually(is_rolled_out(cluster), 3000)
        await asyncio.sleep(10)
        assert most <= 8 + 2
        assert len(await cluster.names(PODS)) == 8
        assert sum(runner.bugs for runner in cluster.manager.runners) == 0


async def test_unknown_controllers_are_refused(clock):
    async with Cluster(clock, controllers=()) as cluster:
        with pytest.raises(ValueError, match="there is no controller 'nonsense'"):
            ControllerManager(cluster.api, clock, Random(1), controllers=["nonsense"])
        some = ControllerManager(cluster.api, clock, Random(1), controllers=["*", "-cronjob"])
        assert "cronjob-controller" not in some._names and "job-controller" in some._names


async def test_volumes_are_made_for_claims_and_go_with_them(clock, tmp_path):
    template = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    resources = {"requests": {"storage": "1Gi"}}
    claims = [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": resources}}]
    spec = {"replicas": 2, "serviceName": "x", "selector": {"matchLabels": {"app": "x"}}, "template": template}
    async with Cluster(clock, settings=Settings(host_path_root=str(tmp_path))) as cluster:
        api = cluster.api
        metadata = {"name": "standard", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}
        made = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": metadata}
        await api.create(STORAGE_CLASSES, {**made, "provisioner": "kubernetes.io/host-path"})
        spec["volumeClaimTemplates"] = claims
        await api.create(STATEFUL_SETS, thing("apps/v1", "StatefulSet", "s", spec=spec))
        await asyncio.sleep(30)
        found = (await api.list(PERSISTENT_VOLUME_CLAIMS, "default")).items
        assert [one["status"]["phase"] for one in found] == ["Bound", "Bound"]
        volumes = (await api.list(PERSISTENT_VOLUMES)).items
        assert {one["status"]["phase"] for one in volumes} == {"Bound"}
        for one in volumes:
            Path(one["spec"]["hostPath"]["path"]).mkdir()  # what the kubelet does
        await api.delete(STATEFUL_SETS, "s", "default", propagation="Foreground")
        await api.delete_collection(PERSISTENT_VOLUME_CLAIMS, "default")
        for _ in range(30):
            await asyncio.sleep(1)
            await asyncio.to_thread(list)
        assert (await api.list(PERSISTENT_VOLUMES)).items == []
        assert list(tmp_path.iterdir()) == []
        assert sum(runner.bugs for runner in cluster.manager.runners) == 0


async def test_quotas_and_budgets_follow_what_there_is(clock):
    async with Cluster(clock) as cluster:
        api = cluster.api
        await api.create(RESOURCE_QUOTAS, thing("v1", "ResourceQuota", "q", spec={"hard": {"pods": "3"}}))
        spec = {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "web"}}}
        await api.create(POD_DISRUPTION_BUDGETS, thing("policy/v1", "PodDisruptionBudget", "b", spec=spec))
        await api.create(DEPLOYMENTS, deployment(5))
        await asyncio.sleep(60)
        assert len(await cluster.names(PODS)) == 3
        found = await api.get(DEPLOYMENTS, "web", "default")
        assert condition(found, "ReplicaFailure")["reason"] == "FailedCreate"
        assert "exceeded quota: q" in condition(found, "ReplicaFailure")["message"]
        assert (await api.get(RESOURCE_QUOTAS, "q", "default"))["status"]["used"] == {"pods": "3"}
        await api.patch(RESOURCE_QUOTAS, "q", {"spec": {"hard": {"pods": "9"}}}, "default")
        await cluster.eventually(is_rolled_out(cluster))
        budget = await api.get(POD_DISRUPTION_BUDGETS, "b", "default")
        assert budget["status"]["disruptionsAllowed"] == 1 and budget["status"]["expectedPods"] == 5
        await api.delete(PODS, (await cluster.names(PODS))[0], "default", grace_period_s=0)
        await asyncio.sleep(100)
        assert (await api.get(RESOURCE_QUOTAS, "q", "default"))["status"]["used"] == {"pods": "5"}
        assert sum(runner.bugs for runner in cluster.manager.runners) == 0

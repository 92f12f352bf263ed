"""Pods from their binding to their end, seen through the API as a user sees them."""

import asyncio

import pytest
from kubeletworld import World, inside

from cybernetes.core.objects import PODS
from cybernetes.services.kubelet.runtimes.interface import ContainerState
from cybernetes.services.kubelet.volumes.manager import VolumeManager

pytestmark = pytest.mark.looptime


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def ran(seconds, code=0, **more):
    return {"cybernetes.io/run-for": f"{seconds}s", "cybernetes.io/exit-code": str(code), **more}


async def running(world):
    return [c.name for c in await world.runtime.list_containers() if c.state is ContainerState.RUNNING]


@inside
async def test_a_pod_runs(world):
    await world.pod()
    pod = await world.ready()
    status = pod["status"]
    assert status["phase"] == "Running" and status["qosClass"] == "BestEffort"
    assert status["podIP"] == "10.1.0.2" and status["podIPs"] == [{"ip": "10.1.0.2"}]
    assert status["hostIP"] == "127.0.0.1" and status["hostIPs"] == [{"ip": "127.0.0.1"}]
    assert status["observedGeneration"] == 1 and status["startTime"]
    assert {c["type"]: c["status"] for c in status["conditions"]} == {
        "PodReadyToStartContainers": "True",
        "Initialized": "True",
        "Ready": "True",
        "ContainersReady": "True",
        "PodScheduled": "True",
    }
    assert all(c["observedGeneration"] == 1 and c["lastTransitionTime"] for c in status["conditions"])
    (container,) = status["containerStatuses"]
    assert container["containerID"].startswith("simulated://") and container["imageID"]
    assert (container["ready"], container["started"], container["restartCount"]) == (True, True, 0)
    assert list(container["state"]) == ["running"] and container["lastState"] == {}
    assert await world.events() == [
        ("Pulled", 'Container image "any:1" already present on machine and can be accessed by the pod', 1),
        ("Created", "Container created", 1),
        ("Started", "Container started", 1),
    ]


@inside
async def test_few_writes_are_made_for_a_pod(world):
    await world.pod()
    await world.ready()
    await asyncio.sleep(300)
    assert world.kubelet.statuses.writes <= 3


@inside
async def test_a_crash_loop_waits_longer_each_time(world):
    await world.pod(annotations=ran(1, 7))

    async def waits():
        container = await world.container()
        waiting = container.get("state", {}).get("waiting", {})
        return (container, waiting) if waiting.get("reason") == "CrashLoopBackOff" else None

    seen = []
    for delay in ("10s", "20s", "40s", "1m20s", "2m40s", "5m0s"):
        container, waiting = await world.eventually(waits, 400)
        pod = await world.get()
        assert waiting["message"] == (
            f"back-off {delay} restarting failed container=c pod=a_default({pod['metadata']['uid']})"
        )
        last = container["lastState"]["terminated"]
        assert last["exitCode"] == 7 and last["reason"] == "Error"
        seen.append(container["restartCount"])

        async def is_restarted(count=container["restartCount"]):
            return (await world.container())["restartCount"] > count

        await world.eventually(is_restarted, 400)
    assert seen == [1, 2, 3, 4, 5, 6]
    reasons = await world.events()
    assert any(reason == "BackOff" and "Back-off restarting failed container c in pod" in m for reason, m, _ in reasons)


@inside
async def test_the_back_off_is_forgotten_after_a_long_run(world):
    await world.pod(annotations=ran(601, 1))

    async def restarted():
        return (await world.container()).get("restartCount", 0) >= 3

    start = world.clock.now()
    await world.eventually(restarted, 3000)
    assert world.clock.now() - start < 3 * 601 + 25


@pytest.mark.parametrize(
    ("policy", "code", "phase"),
    [("Never", 0, "Succeeded"), ("Never", 3, "Failed"), ("OnFailure", 0, "Succeeded")],
)
@inside
async def test_a_pod_that_ends(world, policy, code, phase):
    await world.pod(annotations=ran(2, code), restartPolicy=policy)
    status = await world.phase(phase)
    state = status["containerStatuses"][0]["state"]["terminated"]
    assert state["exitCode"] == code and state["reason"] == ("Error" if code else "Completed")
    assert state["containerID"] == status["containerStatuses"][0]["containerID"]
    ready = await world.condition("Ready")
    assert ready["status"] == "False" and ready["reason"] == ("PodFailed" if code else "PodCompleted")
    assert await running(world) == []
    await asyncio.sleep(2)
    assert not any(s.is_ready for s in await world.runtime.list_sandboxes())  # the address is free again


@inside
async def test_on_failure_runs_until_it_succeeds(world):
    await world.pod(annotations=ran(1, 1, **{"cybernetes.io/failures": "2"}), restartPolicy="OnFailure")
    status = await world.phase("Succeeded", timeout_s=120)
    assert status["containerStatuses"][0]["restartCount"] == 2


@inside
async def test_init_containers_run_one_after_the_other(world):
    inits = [{"name": "first", "image": "any:1"}, {"name": "second", "image": "any:1"}]
    annotations = {"run-for.cybernetes.io/first": "2s", "run-for.cybernetes.io/second": "3s"}
    await world.pod(initContainers=inits, annotations=annotations)
    await world.eventually(lambda: running_is(world, ["first"]))
    initialized = await world.condition("Initialized")
    assert initialized["status"] == "False" and initialized["reason"] == "ContainersNotInitialized"
    assert initialized["message"] == "containers with incomplete status: [first second]"
    assert (await world.container())["state"]["waiting"]["reason"] == "PodInitializing"
    await world.eventually(lambda: running_is(world, ["second"]))
    await world.ready()
    assert [(await world.container(name=name))["state"]["terminated"]["exitCode"] for name in ("first", "second")] == [
        0,
        0,
    ]


async def running_is(world, names):
    return sorted(await running(world)) == names


@inside
async def test_an_init_container_that_fails_ends_a_pod_that_never_restarts(world):
    inits = [{"name": "first", "image": "any:1"}]
    await world.pod(
        initContainers=inits,
        annotations={"run-for.cybernetes.io/first": "1s", "exit-code.cybernetes.io/first": "2"},
        restartPolicy="Never",
    )
    await world.phase("Failed")
    assert (await world.container())["state"]["waiting"]["reason"] == "PodInitializing"


@inside
async def test_a_sidecar_starts_before_and_ends_after(world):
    inits = [
        {"name": "sidecar", "image": "any:1", "restartPolicy": "Always"},
        {"name": "init", "image": "any:1"},
    ]
    annotations = {"run-for.cybernetes.io/init": "2s", "run-for.cybernetes.io/c": "5s"}
    await world.pod(initContainers=inits, annotations=annotations, restartPolicy="Never")
    await world.eventually(lambda: running_is(world, ["init", "sidecar"]))
    await world.eventually(lambda: running_is(world, ["c", "sidecar"]))
    await world.phase("Succeeded")
    assert await running(world) == []
    sidecar, main = await world.container(name="sidecar"), await world.container()
    assert sidecar["state"]["terminated"]["finishedAt"] >= main["state"]["terminated"]["finishedAt"]


@inside
async def test_a_deleted_pod_is_stopped_then_gone(world):
    await world.pod(annotations={"cybernetes.io/stop-delay": "4s"}, terminationGracePeriodSeconds=30)
    pod = await world.ready()
    begun = world.clock.now()
    await world.api.delete(PODS, "a", "default")
    await world.gone()
    assert 3.9 < world.clock.now() - begun < 6
    assert not (world.folder / "kubelet" / "pods" / pod["metadata"]["uid"]).exists()
    assert await world.runtime.list_sandboxes() == [] and await world.runtime.list_containers() == []
    assert ("Killing", "Stopping container c", 1) in await world.events()


@inside
async def test_the_grace_period_bounds_the_stop(world):
    await world.pod(annotations={"cybernetes.io/stop-delay": "500s"}, terminationGracePeriodSeconds=7)
    await world.ready()
    begun = world.clock.now()
    await world.api.delete(PODS, "a", "default")
    await world.gone(timeout_s=30)
    assert 6.9 < world.clock.now() - begun < 9


@inside
async def test_deleting_again_with_less_grace_shortens_the_stop(world):
    await world.pod(annotations={"cybernetes.io/stop-delay": "500s"}, terminationGracePeriodSeconds=300)
    await world.ready()
    begun = world.clock.now()
    await world.api.delete(PODS, "a", "default")
    await asyncio.sleep(2)
    await world.api.delete(PODS, "a", "default", grace_period_s=3)
    await world.gone(timeout_s=60)
    assert world.clock.now() - begun < 10


@inside
async def test_a_forced_deletion_leaves_nothing_running(world):
    await world.pod(annotations={"cybernetes.io/stop-delay": "1s"})
    pod = await world.ready()
    await world.api.delete(PODS, "a", "default", grace_period_s=0)

    async def cleaned():
        return not await world.runtime.list_sandboxes()

    await world.eventually(cleaned)
    await asyncio.sleep(5)
    assert not (world.folder / "kubelet" / "pods" / pod["metadata"]["uid"]).exists()


@inside
async def test_a_name_can_be_used_again_while_the_first_is_being_stopped(world):
    await world.pod(annotations={"cybernetes.io/stop-delay": "20s"})
    first = await world.ready()
    await world.api.delete(PODS, "a", "default", grace_period_s=0)
    await world.pod()
    second = await world.ready()
    assert first["metadata"]["uid"] != second["metadata"]["uid"]

    async def only_the_second():
        return {c.pod_uid for c in await world.runtime.list_containers()} == {second["metadata"]["uid"]}

    await world.eventually(only_the_second)
    assert (await world.get())["status"]["phase"] == "Running"


@inside
async def test_a_deadline(world):
    await world.pod(activeDeadlineSeconds=20)
    await world.ready()
    status = await world.phase("Failed", timeout_s=40)
    assert status["reason"] == "DeadlineExceeded"
    assert status["message"] == "Pod was active on the node longer than the specified deadline"
    assert await running(world) == []


@inside
async def test_what_does_not_fit_the_node_is_refused(world):
    await world.pod("big", container={"resources": {"requests": {"cpu": "4000"}}})
    status = await world.phase("Failed", "big")
    assert status["reason"] == "OutOfcpu"
    assert status["message"].startswith("Pod was rejected: Node didn't have enough resource: cpu, requested: 4000000")
    await world.pod("elsewhere", nodeSelector={"disk": "ssd"})
    status = await world.phase("Failed", "elsewhere")
    assert status["reason"] == "NodeAffinity"
    assert await running(world) == []


@inside
async def test_what_has_stopped_makes_room_before_its_volumes_are_gone(world, monkeypatch):
    cpu = (await world.node())["status"]["allocatable"]["cpu"]
    everything = {"resources": {"requests": {"cpu": cpu}}}
    may_unmount = asyncio.Event()
    unmount = VolumeManager.unmount

    async def slowly(self, uid):
        await may_unmount.wait()
        await unmount(self, uid)

    monkeypatch.setattr(VolumeManager, "unmount", slowly)
    await world.pod("old", annotations=ran(5), restartPolicy="Never", container=everything)
    await world.phase("Succeeded", "old")
    await world.pod("new", container=everything)
    await world.phase("Running", "new")
    may_unmount.set()


async def test_a_hook_after_the_start_that_fails_ends_the_container(tmp_path):
    def execute(container, command):
        return (1, b"no") if command[0] == "hook" else (0, b"")

    async with World(tmp_path, execute=execute) as world:
        await world.pod(container={"lifecycle": {"postStart": {"exec": {"command": ["hook"]}}}})

        async def told():
            return "FailedPostStartHook" in await world.reasons()

        await world.eventually(told)
        assert (await world.container())["state"]["waiting"]["reason"] in ("PostStartHookError", "CrashLoopBackOff")


async def test_a_hook_before_the_stop_runs_first(tmp_path):
    called = []

    def execute(container, command):
        called.append(command[0])
        return 0, b""

    async with World(tmp_path, execute=execute) as world:
        await world.pod(container={"lifecycle": {"preStop": {"exec": {"command": ["goodbye"]}}}})
        await world.ready()
        await world.api.delete(PODS, "a", "default")
        await world.gone()
        assert called == ["goodbye"]


@inside
async def test_a_hook_that_sleeps_uses_up_the_grace_period(world):
    await world.pod(
        annotations={"cybernetes.io/stop-delay": "500s"},
        terminationGracePeriodSeconds=10,
        container={"lifecycle": {"preStop": {"sleep": {"seconds": 6}}}},
    )
    await world.ready()
    begun = world.clock.now()
    await world.api.delete(PODS, "a", "default")
    await world.gone(timeout_s=60)
    assert 9.5 < world.clock.now() - begun < 14


async def test_images_that_cannot_be_had(tmp_path):
    async with World(tmp_path, images=["any:1"]) as world:
        await world.pod("missing", container={"image": "nowhere:1"})

        def waits_for(pod, reason):
            async def reached():
                waiting = (await world.container(pod)).get("state", {}).get("waiting", {})
                return waiting if waiting.get("reason") == reason else None

            return reached

        await world.eventually(waits_for("missing", "ErrImagePull"))
        waiting = await world.eventually(waits_for("missing", "ImagePullBackOff"), 90)
        assert waiting["message"].startswith('Back-off pulling image "nowhere:1"')
        reasons = await world.reasons("missing")
        assert {"Pulling", "Failed", "BackOff"} <= set(reasons)
        await world.pod("never", container={"image": "nowhere:2", "imagePullPolicy": "Never"})
        await world.eventually(waits_for("never", "ErrImageNeverPull"))


@inside
async def test_a_missing_config_map_in_the_environment_is_waited_for(world):
    source = {"configMapKeyRef": {"name": "later", "key": "k"}}
    await world.pod(container={"env": [{"name": "A", "valueFrom": source}]})

    async def waits():
        waiting = (await world.container()).get("state", {}).get("waiting", {})
        return waiting if waiting.get("reason") == "CreateContainerConfigError" else None

    waiting = await world.eventually(waits)
    assert waiting["message"] == 'configmap "later" not found'
    await world.config_map("later", {"k": "v"})
    await world.ready(timeout_s=120)


@inside
async def test_a_hundred_pods_run_and_end(world):
    for number in range(100):
        await world.pod(f"p{number}")

    async def all_run():
        pods = (await world.api.list(PODS)).items
        return all((pod.get("status") or {}).get("phase") == "Running" for pod in pods)

    await world.eventually(all_run, 30)
    addresses = {pod["status"]["podIP"] for pod in (await world.api.list(PODS)).items}
    assert len(addresses) == 100
    for number in range(100):
        await world.api.delete(PODS, f"p{number}", "default")

    async def none_left():
        return not (await world.api.list(PODS)).items

    await world.eventually(none_left, 60)
    await asyncio.sleep(3)
    assert await world.runtime.list_sandboxes() == []
    assert list((world.folder / "kubelet" / "pods").iterdir()) == []

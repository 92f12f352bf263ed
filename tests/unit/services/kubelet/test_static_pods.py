"""Pods from a folder of the node, and what the API shows of them."""

import asyncio

import pytest
from kubeletworld import NODE, World, inside

from cybernetes.core.objects import PODS
from cybernetes.services.kubelet.runtimes.interface import ContainerState

pytestmark = pytest.mark.looptime

MANIFEST = """
apiVersion: v1
kind: Pod
metadata: {{name: web, labels: {{app: web}}}}
spec:
  containers:
  - name: c
    image: any:{tag}
"""
NAME = f"web-{NODE}"


@pytest.fixture
def world(tmp_path):
    folder = tmp_path / "manifests"
    folder.mkdir()
    return World(tmp_path, manifests=folder)


def write(world, name="web.yaml", text=None, tag=1):
    (world.folder / "manifests" / name).write_text(MANIFEST.format(tag=tag) if text is None else text)


async def running(world):
    return [c.image for c in await world.runtime.list_containers() if c.state is ContainerState.RUNNING]


@inside
async def test_a_static_pod_runs_and_is_mirrored(world):
    write(world)
    pod = await world.eventually(lambda: ready(world))
    annotations = pod["metadata"]["annotations"]
    assert annotations["kubernetes.io/config.source"] == "file"
    assert annotations["kubernetes.io/config.mirror"] == annotations["kubernetes.io/config.hash"]
    assert pod["metadata"]["labels"] == {"app": "web"}
    (owner,) = pod["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["controller"]) == ("Node", NODE, True)
    assert pod["status"]["podIP"] and await running(world) == ["any:1"]


async def ready(world, name=NAME):
    found = [pod for pod in (await world.api.list(PODS)).items if pod["metadata"]["name"] == name]
    for pod in found:
        conditions = {c["type"]: c["status"] for c in pod.get("status", {}).get("conditions", [])}
        if conditions.get("Ready") == "True":
            return pod
    return None


@inside
async def test_one_that_was_there_before_the_kubelet_is_adopted(world):
    write(world)
    await world.eventually(lambda: ready(world))
    before = [c.id for c in await world.runtime.list_containers()]
    await world.kubelet.stop()
    await world.start_kubelet()
    await asyncio.sleep(10)
    assert [c.id for c in await world.runtime.list_containers()] == before
    assert await ready(world)


@inside
async def test_a_mirror_that_is_deleted_comes_back(world):
    write(world)
    first = await world.eventually(lambda: ready(world))
    await world.api.delete(PODS, NAME, "default", grace_period_s=0)

    async def is_back():
        pod = await ready(world)
        return pod and pod["metadata"]["uid"] != first["metadata"]["uid"]

    await world.eventually(is_back)
    await world.api.delete(PODS, NAME, "default")  # with grace: the mirror is only marked
    await asyncio.sleep(5)
    assert await ready(world)
    assert len(await world.runtime.list_containers()) == 1  # the pod itself has not noticed


@inside
async def test_a_changed_file_is_another_pod(world):
    write(world)
    await world.eventually(lambda: ready(world))
    write(world, tag=2)

    async def is_replaced():
        pod = await ready(world)
        return pod and pod["spec"]["containers"][0]["image"] == "any:2" and await running(world) == ["any:2"]

    await world.eventually(is_replaced, 120)


@inside
async def test_a_removed_file_ends_the_pod_and_its_mirror(world):
    write(world)
    await world.eventually(lambda: ready(world))
    (world.folder / "manifests" / "web.yaml").unlink()

    async def all_gone():
        return not (await world.api.list(PODS)).items and not await world.runtime.list_sandboxes()

    await world.eventually(all_gone, 120)


@inside
async def test_a_mirror_without_a_pod_is_deleted_at_the_start(world):
    write(world)
    await world.eventually(lambda: ready(world))
    await world.kubelet.stop()
    (world.folder / "manifests" / "web.yaml").unlink()
    await world.start_kubelet()

    async def all_gone():
        return not (await world.api.list(PODS)).items and not await world.runtime.list_sandboxes()

    await world.eventually(all_gone, 120)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "kind: Service\napiVersion: v1\nmetadata: {name: web}\nspec: {}",
        "kind: Pod\napiVersion: v1\nmetadata: {name: web}\nspec: {containers: []}",
        "kind: Pod\napiVersion: v1\nmetadata: {name: web}\nspec: {contaners: []}",
        MANIFEST.format(tag=1) + "  volumes: [{name: v, secret: {secretName: s}}]\n",
        MANIFEST.format(tag=1) + "  serviceAccountName: sa\n",
    ],
)
@inside
async def test_what_is_no_static_pod_is_passed_over(world, text):
    write(world, "bad.yaml", text)
    write(world, ".hidden.yaml")
    write(world, "web.yaml~")
    write(world, "good.yaml")
    await world.eventually(lambda: ready(world))
    assert len((await world.api.list(PODS)).items) == 1 and len(await running(world)) == 1

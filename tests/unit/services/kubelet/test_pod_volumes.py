"""Volumes of running pods: what containers are given, how it follows the API, and that nothing is left."""

import asyncio
import base64
import json
import stat
from pathlib import Path

import pytest
from kubeletworld import World, inside

from cybernetes.core.objects import PODS

pytestmark = pytest.mark.looptime


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def mounted(name, path="/v", **fields):
    return {"volumeMounts": [{"name": name, "mountPath": path, **fields}]}


def files(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(".."))


@inside
async def test_a_config_map_and_its_changes(world):
    await world.config_map("cfg", {"key": "one", "other": "x"})
    volume = {"name": "v", "configMap": {"name": "cfg", "defaultMode": 0o640}}
    await world.pod(volumes=[volume], container=mounted("v"))
    pod = await world.ready()
    folder = world.volume(pod, "configmap", "v")
    assert files(folder) == ["key", "other"]
    assert (folder / "key").read_text() == "one"
    assert stat.S_IMODE((folder / "key").stat().st_mode) == 0o640
    assert (folder / "key").is_symlink() and (folder / "key").readlink() == Path("..data/key")
    await world.config_map("cfg", {"key": "two", "new": "y"})

    async def changed():
        return (folder / "key").read_text() == "two"

    await world.eventually(changed, 90)
    assert (folder / "new").read_text() == "y" and not (folder / "other").exists()
    assert (await world.container())["restartCount"] == 0


@inside
async def test_a_missing_config_map_is_waited_for_and_told(world):
    await world.pod(volumes=[{"name": "v", "configMap": {"name": "later"}}], container=mounted("v"))

    async def told():
        return [text for reason, text, _ in await world.events() if reason == "FailedMount"]

    assert 'MountVolume.SetUp failed for volume "v" : configmap "later" not found' in await world.eventually(told)
    waiting = (await world.container())["state"]["waiting"]
    assert waiting["reason"] == "ContainerCreating"
    await world.config_map("later", {"k": "v"})
    await world.ready(timeout_s=20)


@inside
async def test_an_optional_secret_may_be_missing(world):
    volume = {"name": "v", "secret": {"secretName": "none", "optional": True}}
    await world.pod(volumes=[volume], container=mounted("v"))
    pod = await world.ready()
    assert files(world.volume(pod, "secret", "v")) == []


@inside
async def test_items_choose_and_place_keys(world):
    await world.secret("s", {"a": "1", "b": "2"})
    items = [{"key": "a", "path": "deep/er/file", "mode": 0o400}]
    await world.pod(volumes=[{"name": "v", "secret": {"secretName": "s", "items": items}}], container=mounted("v"))
    pod = await world.ready()
    folder = world.volume(pod, "secret", "v")
    assert (folder / "deep/er/file").read_text() == "1" and not (folder / "b").exists()


@inside
async def test_labels_and_annotations_in_files(world):
    items = [
        {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
        {"path": "name", "fieldRef": {"fieldPath": "metadata.name"}},
        {"path": "cpu", "resourceFieldRef": {"containerName": "c", "resource": "limits.cpu", "divisor": "1m"}},
    ]
    container = {**mounted("v"), "resources": {"limits": {"cpu": "250m"}}}
    await world.pod(labels={"a": "b"}, volumes=[{"name": "v", "downwardAPI": {"items": items}}], container=container)
    pod = await world.ready()
    folder = world.volume(pod, "downward-api", "v")
    assert (folder / "labels").read_text() == 'a="b"'
    assert (folder / "name").read_text() == "a" and (folder / "cpu").read_text() == "250"
    await world.api.patch(PODS, "a", {"metadata": {"labels": {"c": "d"}}}, "default")

    async def changed():
        return (folder / "labels").read_text() == 'a="b"\nc="d"'

    await world.eventually(changed, 90)


def claims(token):
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


@inside
async def test_a_token_is_bound_to_the_pod_and_rotated(world):
    await world.pod(automountServiceAccountToken=True)
    pod = await world.ready()
    (volume,) = pod["spec"]["volumes"]
    folder = world.volume(pod, "projected", volume["name"])
    token = (folder / "token").read_text()
    bound = claims(token)["kubernetes.io"]
    assert bound["pod"] == {"name": "a", "uid": pod["metadata"]["uid"]} and bound["node"]["name"] == "n1"
    assert (folder / "ca.crt").read_text() == "CA" and (folder / "namespace").read_text() == "default"
    assert stat.S_IMODE((folder / "token").stat().st_mode) in (0o600, 0o644)
    await asyncio.sleep(3600)
    renewed = (folder / "token").read_text()
    assert claims(renewed)["exp"] > claims(token)["exp"]


@inside
async def test_an_empty_directory_lives_as_long_as_the_pod(world):
    await world.pod(
        volumes=[{"name": "v", "emptyDir": {}}],
        container=mounted("v"),
        annotations={"cybernetes.io/run-for": "5s"},
    )
    pod = await world.ready()
    folder = world.volume(pod, "empty-dir", "v")
    (folder / "kept").write_text("x")

    async def restarted():
        return (await world.container())["restartCount"] > 0

    await world.eventually(restarted, 60)
    assert (folder / "kept").read_text() == "x"
    await world.api.delete(PODS, "a", "default")
    await world.gone()
    assert not folder.exists()


@pytest.mark.parametrize(
    ("kind", "make", "error"),
    [
        ("Directory", None, "hostPath type check failed: {} is not a directory"),
        ("File", None, "hostPath type check failed: {} is not a file"),
        ("Directory", "file", "hostPath type check failed: {} is not a directory"),
        ("Socket", "file", "hostPath type check failed: {} is not a socket file"),
    ],
)
@inside
async def test_host_paths_of_the_wrong_kind_are_refused(world, kind, make, error):
    path = world.folder / "on-host"
    if make == "file":
        path.write_text("")
    await world.pod(volumes=[{"name": "v", "hostPath": {"path": str(path), "type": kind}}], container=mounted("v"))

    async def told():
        return [text for reason, text, _ in await world.events() if reason == "FailedMount"]

    (text, *_) = await world.eventually(told)
    assert text.endswith(error.format(path))


@inside
async def test_host_paths_that_are_made(world):
    folder, file = world.folder / "made", world.folder / "made-file"
    volumes = [
        {"name": "d", "hostPath": {"path": str(folder), "type": "DirectoryOrCreate"}},
        {"name": "f", "hostPath": {"path": str(file), "type": "FileOrCreate"}},
    ]
    mounts = [{"name": "d", "mountPath": "/d"}, {"name": "f", "mountPath": "/f"}]
    await world.pod(volumes=volumes, container={"volumeMounts": mounts})
    await world.ready()
    assert folder.is_dir() and file.is_file()


@inside
async def test_a_sub_path_through_a_symlink_does_not_escape(world):
    folder = world.folder / "shared"
    folder.mkdir()
    (folder / "out").symlink_to("/etc")
    (folder / "in").mkdir()
    volume = {"name": "v", "hostPath": {"path": str(folder)}}
    await world.pod("bad", volumes=[volume], container=mounted("v", subPath="out"))

    async def refused():
        waiting = (await world.container("bad")).get("state", {}).get("waiting", {})
        return waiting if waiting.get("reason") == "CreateContainerConfigError" else None

    waiting = await world.eventually(refused)
    assert waiting["message"] == 'failed to prepare subPath for volumeMount "v" of container "c"'


@inside
async def test_a_projected_volume_is_one_folder(world):
    await world.config_map("cfg", {"k": "1"})
    await world.secret("s", {"t": "2"})
    sources = [
        {"configMap": {"name": "cfg"}},
        {"secret": {"name": "s", "items": [{"key": "t", "path": "sub/t"}]}},
        {"downwardAPI": {"items": [{"path": "ns", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
    ]
    await world.pod(volumes=[{"name": "v", "projected": {"sources": sources}}], container=mounted("v"))
    pod = await world.ready()
    folder = world.volume(pod, "projected", "v")
    assert [(folder / name).read_text() for name in ("k", "sub/t", "ns")] == ["1", "2", "default"]

"""What only the Docker runtime does."""

import errno

import pytest
from subjects import POD_CIDR, DockerSubject
from test_contract import Pod

from cybernetes.services.kubelet.capabilities import CAPABILITIES, withheld
from cybernetes.services.kubelet.runtimes.docker import images
from cybernetes.services.kubelet.runtimes.interface import SecurityContext
from cybernetes.services.kubelet.volumes.manager import remove_tree
from cybernetes.services.kubelet.volumes.mounts import mounts_below

pytestmark = [pytest.mark.docker, pytest.mark.root]


@pytest.fixture
async def docker(tmp_path):
    subject = DockerSubject()
    if reason := subject.unavailable():
        pytest.skip(reason)
    runtime = await subject.open(tmp_path)
    await runtime.start()
    await runtime.configure_network([POD_CIDR])
    yield runtime
    await runtime.stop()
    await subject.close(tmp_path)


@pytest.mark.parametrize("driver", ["overlay2", "another"])
async def test_an_image_is_shown_as_a_folder(docker, tmp_path, driver, monkeypatch):
    """Mounted where the engine keeps layers as folders, copied where it does not say where they are."""
    if driver == "another":
        call = docker._images._call

        async def without_driver(method, *arguments, **keywords):
            found = await call(method, *arguments, **keywords)
            return {**found, "GraphDriver": {"Name": driver}} if method == "inspect_image" else found

        monkeypatch.setattr(docker._images, "_call", without_driver)
    target = tmp_path / "shown"
    target.mkdir()
    await docker.show_image(DockerSubject.image, target)
    assert (target / "etc" / "passwd").read_text().startswith("root:")
    assert (target / "bin" / "sh").readlink().name == "busybox"
    with pytest.raises(OSError) as refused:
        (target / "new").touch()
    assert refused.value.errno == errno.EROFS
    remove_tree(target)
    assert not target.exists()


def test_layers_lie_over_one_another(tmp_path):
    upper, lower, target = (tmp_path / name for name in ("upper", "lower", "target"))
    for folder in (upper, lower, target):
        folder.mkdir()
    (lower / "both").write_text("lower")
    (upper / "both").write_text("upper")
    (lower / "deep").write_text("lower")
    images._mount_layers([str(upper), str(lower)], target)
    try:
        assert (target / "both").read_text() == "upper" and (target / "deep").read_text() == "lower"
    finally:
        remove_tree(target)
    assert not mounts_below(tmp_path) and (lower / "deep").exists()


@pytest.mark.parametrize("lacks", [(), ("SYS_RESOURCE",)])
async def test_a_privileged_container_may_do_what_the_machine_lets_it(docker, tmp_path, lacks):
    """Also where the machine keeps a capability back, and the engine's own mode for it starts nothing."""
    if withheld() and not lacks:
        pytest.skip(f"this machine withholds {', '.join(withheld())}")
    docker._withheld = tuple(dict.fromkeys([*withheld(), *lacks]))
    pod = await Pod(docker, DockerSubject(), tmp_path).make()
    steps = ["test -e /dev/kmsg", "mkdir /tmp", "mount -t tmpfs none /tmp", "grep CapEff /proc/self/status"]
    script = " && ".join(f"busybox {step}" for step in steps)
    try:
        container_id = await pod.run(security=SecurityContext(privileged=True))
        result = await docker.exec_sync(container_id, ["busybox", "sh", "-c", script], 10)
    finally:
        await docker.remove_sandbox(pod.id)
    assert result.exit_code == 0, result
    effective = int(result.stdout.split()[1], 16)
    assert effective >> 21 & 1 and not any(effective >> CAPABILITIES.index(name) & 1 for name in lacks)


async def test_an_unmasked_proc(docker, tmp_path):
    pod = await Pod(docker, DockerSubject(), tmp_path).make()
    try:
        masked, unmasked = (
            await pod.run(name="a"),
            await pod.run(name="b", security=SecurityContext(proc_mount="Unmasked")),
        )
        for container_id, expected in ((masked, b"0"), (unmasked, b"1")):
            script = "busybox wc -c < /proc/timer_list | busybox grep -c -v '^0$'; true"
            result = await docker.exec_sync(container_id, ["busybox", "sh", "-c", script], 10)
            assert result.stdout.strip() == expected, result
    finally:
        await docker.remove_sandbox(pod.id)

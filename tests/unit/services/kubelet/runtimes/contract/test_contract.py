"""What every runtime keeps to (services/kubelet/runtimes/interface.py), the same tests on each."""

import asyncio
from pathlib import Path

import pytest
from subjects import POD_CIDR, uid_of

from cybernetes.core.kubelet.logs import LogOptions, LogReader
from cybernetes.services.kubelet.runtimes.interface import (
    ContainerConfig,
    ContainerState,
    Mount,
    NotFound,
    RuntimeFailure,
    SandboxConfig,
)

FOREVER = "trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done"

#: With the netcat that is on most machines and in busybox.
SERVE = "while echo served | busybox nc -l -p {port}; do :; done"

DEAF = "trap '' TERM; echo up; while :; do sleep 0.05; done"


def sandbox_config(tmp_path, uid=uid_of(1), attempt=0, **fields):
    logs = tmp_path / "logs" / uid
    logs.mkdir(parents=True, exist_ok=True)
    values = {"name": "pod", "namespace": "default", "hostname": "pod", **fields}
    return SandboxConfig(uid=uid, attempt=attempt, log_directory=logs, **values)


def container_config(subject, script=FOREVER, name="c", attempt=0, **fields):
    log_path = f"{name}/{attempt}.log"
    return ContainerConfig(
        name=name, attempt=attempt, image=subject.image, command=subject.command(script), log_path=log_path, **fields
    )


class Pod:
    """A sandbox, and a short way to containers in it."""

    def __init__(self, runtime, subject, tmp_path, **behaviour):
        self.runtime, self.subject, self.tmp_path = runtime, subject, tmp_path
        self.behaviour = behaviour

    async def make(self, uid=uid_of(1), **fields):
        annotations = self.subject.annotations(**self.behaviour)
        self.config = sandbox_config(self.tmp_path, uid, annotations=annotations, **fields)
        self.id = await self.runtime.create_sandbox(self.config)
        return self

    async def run(self, script=FOREVER, name="c", attempt=0, **fields):
        (self.config.log_directory / name).mkdir(exist_ok=True)
        config = container_config(self.subject, script, name, attempt, **fields)
        container_id = await self.runtime.create_container(self.id, config)
        await self.runtime.start_container(container_id)
        if self.subject.is_real and "echo up" in script:
            async with asyncio.timeout(10):
                while "up" not in self.log(name, attempt):
                    await asyncio.sleep(0.01)
        return container_id

    def log(self, name="c", attempt=0):
        path = self.config.log_directory / name / f"{attempt}.log"
        return path.read_text() if path.exists() else ""

    async def state(self, container_id):
        return (await self.runtime.container_status(container_id)).state

    async def has_ended(self, container_id):
        status = await self.runtime.container_status(container_id)
        return status if status.state is ContainerState.EXITED else None


@pytest.fixture
async def pod(runtime, subject, tmp_path):
    return await Pod(runtime, subject, tmp_path).make()


async def test_it_has_a_name_and_is_ready(runtime, subject):
    assert (await runtime.version()).name == subject.name
    status = await runtime.status()
    assert status.is_ready and status.network_ready, status.message


async def test_a_sandbox_is_ready_with_an_address_when_it_is_made(runtime, pod):
    status = await runtime.sandbox_status(pod.id)
    assert status.is_ready and status.uid == uid_of(1) and status.attempt == 0
    assert status.addresses[0].startswith(POD_CIDR.rpartition(".")[0] + ".")
    assert [s.id for s in await runtime.list_sandboxes()] == [pod.id]
    assert [s.id for s in await runtime.list_sandboxes(uid_of(1))] == [pod.id]
    assert list(await runtime.list_sandboxes(uid_of(2))) == []


async def test_making_the_same_again_gives_the_same(runtime, subject, pod):
    assert await runtime.create_sandbox(pod.config) == pod.id
    first = await pod.run()
    again = await runtime.create_container(pod.id, container_config(subject))
    assert again == first
    await runtime.start_container(first)
    assert await pod.state(first) is ContainerState.RUNNING
    assert len(await runtime.list_containers(uid_of(1))) == 1


async def test_pods_have_addresses_of_their_own(runtime, subject, tmp_path, pod):
    other = await Pod(runtime, subject, tmp_path).make(uid_of(2))
    addresses = {(await runtime.sandbox_status(p.id)).addresses[0] for p in (pod, other)}
    assert len(addresses) == 2


async def test_a_container_goes_through_its_states(runtime, subject, pod):
    (pod.config.log_directory / "c").mkdir()
    created = await runtime.create_container(pod.id, container_config(subject))
    assert await pod.state(created) is ContainerState.CREATED
    container_id = await pod.run()
    assert container_id == created
    status = await runtime.container_status(container_id)
    assert status.state is ContainerState.RUNNING and status.started_at > 0 and status.finished_at == 0
    assert (status.pod_uid, status.name, status.attempt, status.sandbox_id) == (uid_of(1), "c", 0, pod.id)
    assert status.image == subject.image
    await runtime.stop_container(container_id, 5)
    status = await runtime.container_status(container_id)
    assert status.state is ContainerState.EXITED and status.finished_at >= status.started_at
    assert status.exit_code == 0 and status.reason == "Completed"


async def test_an_exit_code_is_kept_until_the_container_is_removed(runtime, subject, tmp_path, eventually):
    pod = await Pod(runtime, subject, tmp_path, run_for_s=0.05, exit_code=3).make()
    container_id = await pod.run("echo gone; exit 3")
    status = await eventually(lambda: pod.has_ended(container_id))
    assert status.exit_code == 3 and status.reason == "Error"
    assert pod.log()
    await runtime.remove_container(container_id)
    with pytest.raises(NotFound):
        await runtime.container_status(container_id)
    assert list(await runtime.list_containers(uid_of(1))) == []
    assert not (pod.config.log_directory / "c" / "0.log").exists()


async def test_what_will_not_stop_is_killed_after_the_timeout(runtime, subject, tmp_path):
    pod = await Pod(runtime, subject, tmp_path, stop_s=60).make()
    container_id = await pod.run(DEAF)
    loop = asyncio.get_running_loop()
    started = loop.time()
    await runtime.stop_container(container_id, 0.5)
    assert 0.4 <= loop.time() - started < 5
    status = await runtime.container_status(container_id)
    assert status.state is ContainerState.EXITED and status.exit_code == 137


async def test_a_second_stop_may_shorten_the_first(runtime, subject, tmp_path):
    pod = await Pod(runtime, subject, tmp_path, stop_s=60).make()
    container_id = await pod.run(DEAF)
    first = asyncio.ensure_future(runtime.stop_container(container_id, 60))
    await asyncio.sleep(0)
    await asyncio.wait_for(runtime.stop_container(container_id, 0.2), 5)
    await asyncio.wait_for(first, 5)


async def test_stopping_and_removing_again_succeeds(runtime, pod):
    container_id = await pod.run()
    for _ in range(2):
        await runtime.stop_container(container_id, 2)
    for _ in range(2):
        await runtime.stop_sandbox(pod.id)
    assert not (await runtime.sandbox_status(pod.id)).is_ready
    for _ in range(2):
        await runtime.remove_container(container_id)
        await runtime.remove_sandbox(pod.id)
    assert list(await runtime.list_sandboxes()) == [] and list(await runtime.list_containers()) == []


async def test_what_does_not_exist_is_not_found(runtime, subject):
    for call in (
        runtime.container_status("none"),
        runtime.sandbox_status("none"),
        runtime.start_container("none"),
        runtime.create_container("none", container_config(subject)),
        runtime.exec_sync("none", ["true"], 1),
    ):
        with pytest.raises(NotFound):
            await call


async def test_stopping_a_sandbox_ends_its_containers_and_keeps_their_record(runtime, pod):
    container_id = await pod.run()
    await runtime.stop_sandbox(pod.id)
    status = await runtime.container_status(container_id)
    assert status.state is ContainerState.EXITED
    assert [s.is_ready for s in await runtime.list_sandboxes(uid_of(1))] == [False]


async def test_removing_a_sandbox_removes_its_containers(runtime, pod):
    await pod.run()
    await runtime.remove_sandbox(pod.id)
    assert list(await runtime.list_containers(uid_of(1))) == []


async def test_addresses_are_given_back(runtime, subject, tmp_path, pod):
    (address,) = (await runtime.sandbox_status(pod.id)).addresses[:1]
    await runtime.remove_sandbox(pod.id)
    seen = set()
    for number in range(3):
        other = await Pod(runtime, subject, tmp_path).make(uid_of(number + 10))
        seen.add((await runtime.sandbox_status(other.id)).addresses[0])
    assert len(seen) == 3 and address  # no address is stuck: a /24 with three pods has room


async def test_the_host_s_network_has_no_address(runtime, subject, tmp_path):
    pod = await Pod(runtime, subject, tmp_path).make(uid_of("host"), host_network=True)
    status = await runtime.sandbox_status(pod.id)
    assert status.addresses == () and status.host_network and status.is_ready


async def test_two_containers_of_a_pod(runtime, pod):
    first, second = await pod.run(name="a"), await pod.run(name="b")
    assert first != second
    assert {c.name for c in await runtime.list_containers(uid_of(1))} == {"a", "b"}
    await runtime.stop_container(first, 2)
    assert await pod.state(second) is ContainerState.RUNNING


async def test_attempts_stand_beside_each_other(runtime, pod):
    first = await pod.run(attempt=0)
    await runtime.stop_container(first, 2)
    second = await pod.run(attempt=1)
    found = {c.attempt: c.state for c in await runtime.list_containers(uid_of(1))}
    assert found == {0: ContainerState.EXITED, 1: ContainerState.RUNNING} and first != second


async def test_a_command_in_a_container(runtime, pod):
    container_id = await pod.run()
    result = await runtime.exec_sync(container_id, ["echo", "hello"], 5)
    assert (result.exit_code, result.stdout) == (0, b"hello\n")
    assert (await runtime.exec_sync(container_id, ["false"], 5)).exit_code == 1
    await runtime.stop_container(container_id, 2)
    with pytest.raises(RuntimeFailure):
        await runtime.exec_sync(container_id, ["true"], 5)


async def test_a_session_reads_what_is_written(runtime, pod):
    container_id = await pod.run()
    stream = await runtime.exec(container_id, ["cat"], stdin=True, tty=False)
    await stream.write(b"ping")
    channel, data = await asyncio.wait_for(stream.read(), 5)
    assert (channel, data) == (1, b"ping")
    await stream.close_stdin()
    assert await asyncio.wait_for(stream.read(), 5) is None
    assert await asyncio.wait_for(stream.wait(), 5) == 0
    await stream.close()


async def test_closing_a_session_ends_it(runtime, pod):
    container_id = await pod.run()
    stream = await runtime.exec(container_id, ["cat"], stdin=True, tty=False)
    await stream.close()
    assert await asyncio.wait_for(stream.read(), 5) is None
    assert await pod.state(container_id) is ContainerState.RUNNING


async def test_changes_are_told(runtime, pod):
    seen = []

    async def listen():
        async for event in runtime.events():
            seen.append(event.pod_uid)

    listener = asyncio.ensure_future(listen())
    await asyncio.sleep(0)
    container_id = await pod.run()
    await runtime.stop_container(container_id, 2)
    async with asyncio.timeout(5):
        while uid_of(1) not in seen:
            await asyncio.sleep(0.01)
    seen.clear()
    listener.cancel()


async def test_the_end_of_a_container_is_told(runtime, subject, tmp_path, eventually):
    pod = await Pod(runtime, subject, tmp_path, run_for_s=0.3).make()
    container_id = await pod.run("sleep 0.3")
    told = asyncio.Event()

    async def listen():
        async for event in runtime.events():
            if event.pod_uid in ("", uid_of(1)) and await pod.has_ended(container_id):
                told.set()

    listener = asyncio.ensure_future(listen())
    await asyncio.wait_for(told.wait(), 10)
    listener.cancel()


async def test_a_restarted_kubelet_finds_what_runs(runtime, opened, subject, tmp_path, pod):
    container_id = await pod.run()
    (address,) = (await runtime.sandbox_status(pod.id)).addresses[:1]
    await runtime.stop()
    second = await opened()
    (found,) = await second.list_containers()
    assert (found.id, found.state, found.pod_uid, found.name) == (container_id, ContainerState.RUNNING, uid_of(1), "c")
    (sandbox,) = await second.list_sandboxes()
    assert sandbox.id == pod.id and sandbox.is_ready and sandbox.addresses[0] == address
    other = await Pod(second, subject, tmp_path).make(uid_of(2))
    assert (await second.sandbox_status(other.id)).addresses[0] != address
    await second.stop_container(container_id, 2)
    assert (await second.container_status(container_id)).state is ContainerState.EXITED


async def test_images(runtime, subject):
    image = await runtime.image_status(subject.image)
    if image is None:
        await runtime.pull_image(subject.image)
        image = await runtime.image_status(subject.image)
    assert image is not None and image.id
    if subject.missing_image:
        assert await runtime.image_status(subject.missing_image) is None
        with pytest.raises(RuntimeFailure) as caught:
            await runtime.pull_image(subject.missing_image)
        assert caught.value.reason in ("ErrImagePull", "RegistryUnavailable")


async def test_limits_change_while_a_container_runs(runtime, pod):
    container_id = await pod.run(cpu_limit_milli=100, memory_limit=64 << 20)
    for limits in (
        {"cpu_limit_milli": 500, "cpu_request_milli": 200, "memory_limit": 128 << 20},
        {"cpu_limit_milli": 50, "cpu_request_milli": 10, "memory_limit": 32 << 20},
    ):
        await runtime.update_sandbox(pod.id, cpu_limit_milli=0, cpu_request_milli=0, memory_limit=0)
        await runtime.update_container(container_id, **limits)
        await runtime.update_sandbox(pod.id, **limits)
    assert await pod.state(container_id) is ContainerState.RUNNING
    with pytest.raises(NotFound):
        await runtime.update_container("none", cpu_limit_milli=1, cpu_request_milli=1, memory_limit=0)


async def test_statistics_name_what_runs(runtime, pod):
    container_id = await pod.run()
    assert container_id in {entry.container_id for entry in await runtime.stats()}


# What only real containers can show.


@pytest.fixture
async def real(pod):
    if not pod.subject.is_real:
        pytest.skip("the simulated runtime runs nothing")
    return pod


async def test_output_is_logged_by_line_and_stream(real, eventually):
    container_id = await real.run("echo out; echo err >&2")
    await eventually(lambda: real.has_ended(container_id))
    for stream, text in (("stdout", b"out\n"), ("stderr", b"err\n")):
        assert LogReader(LogOptions(stream=stream)).feed(real.log().encode()) == text


async def test_a_renamed_log_is_followed_by_a_new_one(real, eventually):
    container_id = await real.run("echo up; while read line; do echo $line; done", stdin=True)
    path = real.config.log_directory / "c" / "0.log"
    if path.is_symlink():
        return  # an engine that rotates its own logs
    path.rename(path.with_name("0.log.old"))
    await real.runtime.reopen_log(container_id)

    async def is_new():
        return path.exists()

    await eventually(is_new)
    session = await real.runtime.attach(container_id)
    await session.write(b"after\n")

    async def has_written():
        return "after" in real.log()

    await eventually(has_written)
    await session.close()
    assert "after" not in path.with_name("0.log.old").read_text()


async def test_the_environment_directory_and_mounts(real, tmp_path, eventually):
    shared = tmp_path / "shared"
    shared.mkdir()
    message = tmp_path / "message"
    message.touch()
    mounts = [Mount(Path(shared), "/shared"), Mount(message, "/dev/termination-log")]
    script = 'echo "$GREETING $PWD" > /shared/out; echo bye > /dev/termination-log'
    container_id = await real.run(
        script, environment=[("GREETING", "hello world")], working_directory="/tmp", mounts=mounts
    )
    status = await eventually(lambda: real.has_ended(container_id))
    assert status.exit_code == 0
    assert (shared / "out").read_text() == "hello world /tmp\n"
    assert message.read_text() == "bye\n"


async def test_a_read_only_mount_cannot_be_written(real, tmp_path, eventually):
    folder = tmp_path / "ro"
    folder.mkdir()
    container_id = await real.run("touch /ro/x", mounts=[Mount(folder, "/ro", read_only=True)])
    status = await eventually(lambda: real.has_ended(container_id))
    assert status.exit_code != 0 and not (folder / "x").exists()


async def test_containers_of_a_pod_share_its_network(real):
    await real.run(SERVE.format(port=8099), name="server")
    second = await real.run(name="client")
    script = "for n in 1 2 3 4 5 6 7 8 9; do busybox nc -w 5 127.0.0.1 8099 </dev/null && break; sleep 0.1; done"
    result = await real.runtime.exec_sync(second, ["sh", "-c", script], 10)
    assert result.stdout == b"served\n"


async def test_a_port_of_the_pod_is_forwarded(real, eventually):
    await real.run(SERVE.format(port=8098))

    async def connect():
        try:
            return await real.runtime.port_forward(real.id, 8098)
        except RuntimeFailure:
            return None

    stream = await eventually(connect)
    data = b""
    while part := await asyncio.wait_for(stream.read(), 5):
        data += part
    await stream.close()
    assert data == b"served\n"
    with pytest.raises(RuntimeFailure):
        await real.runtime.port_forward(real.id, 1)


async def test_a_command_that_takes_too_long_is_killed(real):
    container_id = await real.run()
    with pytest.raises(TimeoutError):
        await real.runtime.exec_sync(container_id, ["sleep", "60"], 0.3)


async def test_a_command_that_does_not_exist_cannot_be_run(real):
    container_id = await real.run()
    try:
        result = await real.runtime.exec_sync(container_id, ["/no/such/command"], 5)
    except RuntimeFailure:
        return
    assert result.exit_code in (126, 127)


async def test_a_container_whose_command_does_not_exist_has_not_started(real):
    (real.config.log_directory / "c").mkdir()
    config = container_config(real.subject)
    config = ContainerConfig(name="c", attempt=0, image=config.image, command=["/no/such"], log_path=config.log_path)
    with pytest.raises(RuntimeFailure):
        container_id = await real.runtime.create_container(real.id, config)
        await real.runtime.start_container(container_id)


async def test_a_killed_process_has_its_signal(real, eventually):
    container_id = await real.run("kill -9 $$; sleep 1; exit 5")
    status = await eventually(lambda: real.has_ended(container_id))
    assert status.exit_code in (137, 5)  # an init of a PID namespace does not take a signal from itself
    other = await real.run("sh -c 'kill -9 $$'; exit $?", name="d")
    status = await eventually(lambda: real.has_ended(other))
    assert status.exit_code == 137


async def test_the_hostname_is_the_pod_s(real):
    container_id = await real.run()
    assert (await real.runtime.exec_sync(container_id, ["hostname"], 5)).stdout == b"pod\n"


async def test_a_terminal(real):
    container_id = await real.run()
    stream = await real.runtime.exec(
        container_id, ["sh", "-c", "test -t 0 && test -t 1 && echo terminal; stty size"], stdin=True, tty=True
    )
    await stream.resize(100, 40)
    output = b""
    while (part := await asyncio.wait_for(stream.read(), 5)) is not None:
        assert part[0] == 1
        output += part[1]
    await stream.close()
    assert output.startswith(b"terminal")

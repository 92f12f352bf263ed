"""Logs as files: what a reader gets, while they grow, are rotated and end."""

import asyncio
import gzip

import pytest
from kubeletworld import World, inside

from cybernetes.core.kubelet.logs import LogOptions, format_line
from cybernetes.services.kubelet import logrotation
from cybernetes.services.kubelet.logfiles import read_log


def lines(*texts):
    return b"".join(format_line(1.7e9 + number, "stdout", text.encode()) for number, text in enumerate(texts))


class Following:
    """A reader that follows; ``text`` is what it has got so far."""

    def __init__(self, path, **options):
        self.text = b""
        self.end = asyncio.Event()
        self.got = asyncio.Condition()
        self.task = asyncio.ensure_future(self._read(path, LogOptions(follow=True, **options)))

    async def _read(self, path, options):
        async for data in read_log(path, options, self.end.wait):
            self.text += data
            async with self.got:
                self.got.notify_all()

    async def until(self, text):
        async with asyncio.timeout(5), self.got:
            await self.got.wait_for(lambda: self.text == text)


async def read(path, **options):
    return b"".join([data async for data in read_log(path, LogOptions(**options), asyncio.Event().wait)])


async def test_a_log_is_read(tmp_path):
    path = tmp_path / "0.log"
    path.write_bytes(lines("one", "two", "three"))
    assert await read(path) == b"one\ntwo\nthree\n"
    assert await read(path, tail_lines=2) == b"two\nthree\n"
    assert await read(path, tail_lines=0) == b""
    assert await read(path, limit_bytes=5) == b"one\nt"
    with pytest.raises(FileNotFoundError):
        await read(tmp_path / "none.log")


async def test_a_log_is_followed_to_its_end(tmp_path):
    path = tmp_path / "0.log"
    path.write_bytes(lines("one"))
    following = Following(path)
    await following.until(b"one\n")
    with path.open("ab") as file:
        file.write(lines("two"))
    await following.until(b"one\ntwo\n")
    with path.open("ab") as file:
        file.write(lines("last"))
    following.end.set()
    await asyncio.wait_for(following.task, 5)
    assert following.text == b"one\ntwo\nlast\n"


async def test_following_goes_on_in_the_next_file(tmp_path):
    path = tmp_path / "0.log"
    path.write_bytes(lines("one"))
    following = Following(path)
    await following.until(b"one\n")
    old = path.open("ab")
    path.rename(tmp_path / "0.log.old")
    old.write(lines("late"))
    old.close()
    path.write_bytes(lines("new"))
    await following.until(b"one\nlate\nnew\n")
    following.end.set()
    await asyncio.wait_for(following.task, 5)


async def test_a_log_that_comes_later_is_waited_for(tmp_path):
    path = tmp_path / "0.log"
    following = Following(path)
    await asyncio.sleep(0)
    path.write_bytes(lines("one"))
    await following.until(b"one\n")
    following.end.set()
    await asyncio.wait_for(following.task, 5)


@pytest.mark.looptime
@inside
async def test_logs_are_rotated(world):
    await world.pod()
    pod = await world.ready()
    folder = world.folder / "kubelet" / "logs" / f"default_a_{pod['metadata']['uid']}" / "c"
    world.kubelet._rotator._bytes_max = 1000
    for number in range(8):
        (folder / "0.log").write_bytes(lines(*(f"{number} {'x' * 100}" for _ in range(20))))
        await asyncio.sleep(11)
        assert (folder / "0.log").stat().st_size < 1000
    names = sorted(path.name for path in folder.iterdir())
    assert len(names) == logrotation.FILES_MAX
    assert names[0] == "0.log" and not names[-1].endswith(".gz")
    assert all(name.endswith(".gz") for name in names[1:-1])
    assert b"6 xxx" in gzip.decompress((folder / names[-2]).read_bytes())


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)

"""Control groups of pods and containers, on version 1 and version 2 hierarchies.

The tree is ``<parent>/pod<uid>/<container>`` below the node's own folder. Where the hierarchy cannot be written (no
root, an unprivileged user namespace) nothing is limited and nothing is counted: ``Cgroups.is_writable`` says so.

Numbers: CPU shares and weights come from requests as the CRI implementations compute them (1024 shares a core, weight
by the formula of KEP-2254), quotas from limits in periods of 100 ms.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from cybernetes.services.kubelet.runtimes.interface import SandboxConfig

PERIOD_US = 100_000
CONTROLLERS = ("cpu", "cpuacct", "memory", "pids", "hugetlb")


class Usage(NamedTuple):
    """CPU nanoseconds since the start; bytes of memory; how often the out-of-memory killer came."""

    cpu_ns: int
    memory: int
    working_set: int
    rss: int


def shares(cpu_request_milli: int) -> int:
    return max(2, cpu_request_milli * 1024 // 1000)


def weight(cpu_shares: int) -> int:
    """Version 2's cpu.weight (1 to 10000) for version 1's shares (2 to 262144)."""
    return 1 + (max(2, min(cpu_shares, 262144)) - 2) * 9999 // 262142


def quota_us(cpu_limit_milli: int) -> int:
    """Microseconds a period; -1 for no limit. Less than 1 ms is refused by the kernel."""
    return max(1000, cpu_limit_milli * PERIOD_US // 1000) if cpu_limit_milli else -1


def lowest_oom_score() -> int:
    """How far a process may lower its score for the out-of-memory killer: below our own only with CAP_SYS_RESOURCE,
    which container hosts often withhold; an engine there cannot start a container that asks for less."""
    status = Path("/proc/self/status").read_text()
    effective = int(status.partition("CapEff:")[2].split()[0], 16)
    if effective >> 24 & 1:
        return -1000
    return int(Path("/proc/self/oom_score_adj").read_text())


def _hierarchies() -> tuple[dict[str, Path], Path | None]:
    """Version 1 controllers with their folders, and the version 2 folder if it is the one that controls."""
    first: dict[str, Path] = {}
    second: Path | None = None
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        point = Path(before.split()[4])
        kind, _, options = after.split()[0], None, after.split()[-1].split(",")
        if kind == "cgroup":
            first.update({name: point for name in CONTROLLERS if name in options})
        elif (
            kind == "cgroup2"
            and (point / "cgroup.controllers").exists()
            and ("memory" in (point / "cgroup.controllers").read_text().split())
        ):
            second = point
    return first, None if first.get("memory") else second


def _mounted() -> list[Path]:
    """Where hierarchies are mounted, also those that we do not use."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [Path(line.split()[4]) for line in lines if line.partition(" - ")[2].split()[0] in ("cgroup", "cgroup2")]


class Cgroups:
    """The groups below ``/<parent>`` in every hierarchy. Paths are relative, such as ``pod1234/web``."""

    def __init__(self, parent: str) -> None:
        self.parent = parent
        self._first, self._second = _hierarchies()
        self.is_writable = self._prepare()

    def _prepare(self) -> bool:
        try:
            for root in self._roots():
                (root / self.parent).mkdir(parents=True, exist_ok=True)
            if self._second is not None:
                self._delegate(self._second)
                for folder in [*reversed(Path(self.parent).parents), Path(self.parent)]:
                    self._delegate(self._second / folder)
        except OSError:
            return False
        return bool(self._roots())

    def _roots(self) -> list[Path]:
        return [self._second] if self._second is not None else sorted(set(self._first.values()))

    @staticmethod
    def _delegate(folder: Path) -> None:
        """Let the children of ``folder`` use the controllers that it has itself."""
        available = (folder / "cgroup.controllers").read_text().split()
        wanted = " ".join(f"+{name}" for name in ("cpu", "memory", "pids", "hugetlb") if name in available)
        (folder / "cgroup.subtree_control").write_text(wanted)

    def create(self, path: str) -> None:
        if not self.is_writable:
            return
        for root in self._roots():
            folder = root / self.parent / path
            folder.mkdir(parents=True, exist_ok=True)
        if self._second is not None and "/" not in path:
            self._delegate(self._second / self.parent / path)

    def limit(self, path: str, *, cpu_limit_milli: int, cpu_request_milli: int, memory_limit: int) -> None:
        """Raises OSError when the kernel refuses, as a memory limit below what is in use."""
        if not self.is_writable:
            return
        if self._second is not None:
            folder = self._second / self.parent / path
            quota = quota_us(cpu_limit_milli)
            (folder / "cpu.max").write_text(f"{'max' if quota < 0 else quota} {PERIOD_US}")
            (folder / "cpu.weight").write_text(str(weight(shares(cpu_request_milli))))
            (folder / "memory.max").write_text(str(memory_limit or "max"))
            return
        if cpu := self._first.get("cpu"):
            folder = cpu / self.parent / path
            (folder / "cpu.shares").write_text(str(shares(cpu_request_milli)))
            (folder / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (folder / "cpu.cfs_quota_us").write_text(str(quota_us(cpu_limit_milli)))
        if memory := self._first.get("memory"):
            (memory / self.parent / path / "memory.limit_in_bytes").write_text(str(memory_limit or -1))

    def make_pod(self, config: SandboxConfig) -> str:
        """The group of a pod with all that it is held to; returns its path. Raises OSError."""
        path = f"pod{config.uid}"
        self.create(path)
        self.limit(
            path,
            cpu_limit_milli=config.cpu_limit_milli,
            cpu_request_milli=config.cpu_request_milli,
            memory_limit=config.memory_limit,
        )
        self.limit_pod(path, pids_max=config.pids_limit, hugepages=config.hugepage_limits)
        return path

    def limit_pod(self, path: str, *, pids_max: int, hugepages: Mapping[str, int]) -> None:
        """What a pod as a whole is held to: processes (0 for any number) and bytes of huge pages by size (``2Mi``);
        of sizes that it does not name it has none. Raises OSError."""
        if not self.is_writable:
            return
        pids = self._second or self._first.get("pids")
        if pids is not None:
            (pids / self.parent / path / "pids.max").write_text(str(pids_max or "max"))
        hugetlb = self._second or self._first.get("hugetlb")
        if hugetlb is not None:
            name = "max" if self._second is not None else "limit_in_bytes"
            for file in (hugetlb / self.parent / path).glob(f"hugetlb.*B.{name}"):
                size = file.name.split(".")[1].replace("B", "i")
                file.write_text(str(hugepages.get(size, 0)))

    def process_files(self, path: str) -> list[str]:
        """The files that a pid is written to in order to enter the group."""
        if not self.is_writable:
            return []
        return [str(root / self.parent / path / "cgroup.procs") for root in self._roots()]

    def processes(self, path: str) -> list[int]:
        for root in self._roots()[:1]:
            try:
                return [int(pid) for pid in (root / self.parent / path / "cgroup.procs").read_text().split()]
            except OSError:
                return []
        return []

    def out_of_memory_kills(self, path: str) -> int:
        if self._second is not None:
            return self._number(self._second / self.parent / path / "memory.events", "oom_kill")
        if memory := self._first.get("memory"):
            return self._number(memory / self.parent / path / "memory.oom_control", "oom_kill")
        return 0

    def usage(self, path: str) -> Usage | None:
        """None where nothing is counted."""
        try:
            if self._second is not None:
                folder = self._second / self.parent / path
                memory = int((folder / "memory.current").read_text())
                inactive = self._number(folder / "memory.stat", "inactive_file")
                rss = self._number(folder / "memory.stat", "anon")
                cpu_ns = self._number(folder / "cpu.stat", "usage_usec") * 1000
            elif "memory" in self._first and "cpuacct" in self._first:
                folder = self._first["memory"] / self.parent / path
                memory = int((folder / "memory.usage_in_bytes").read_text())
                inactive = self._number(folder / "memory.stat", "total_inactive_file")
                rss = self._number(folder / "memory.stat", "total_rss")
                cpu_ns = int((self._first["cpuacct"] / self.parent / path / "cpuacct.usage").read_text())
            else:
                return None
        except FileNotFoundError:
            return None
        return Usage(cpu_ns, memory, max(0, memory - inactive), rss)

    @staticmethod
    def _number(file: Path, name: str) -> int:
        try:
            lines: Iterable[str] = file.read_text().splitlines()
        except FileNotFoundError:
            return 0
        for line in lines:
            key, _, value = line.partition(" ")
            if key == name:
                return int(value)
        return 0

    def remove(self, path: str) -> None:
        """Remove an empty group and the empty groups in it, from all hierarchies: an engine makes the parents of its
        containers in every one, and leaves them. Raises OSError (EBUSY) while processes are in it."""
        for root in _mounted():
            folder = root / self.parent / path
            inner = sorted((item for item in folder.rglob("*") if item.is_dir()), key=lambda item: -len(item.parts))
            for item in [*inner, folder]:
                try:
                    item.rmdir()
                except OSError as error:
                    if error.errno not in (errno.ENOENT, errno.EROFS, errno.EACCES):
                        raise

    def destroy(self) -> None:
        """Remove the whole tree, as when the node goes for good."""
        if self.is_writable:
            self.remove("")

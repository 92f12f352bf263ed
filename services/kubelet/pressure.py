"""What the node runs short of, and the eviction of pods that make it so.

``look`` is called whenever the node's status is looked at. It reads three files and one file system; only when a
threshold is met, or a pod has limits of local storage, is more measured. One pod is evicted at a time: what it gives
back is seen before another has to go.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping
from pathlib import Path

from cybernetes.core.clock import Clock
from cybernetes.core.kubelet.eviction import (
    Crossed,
    PressureState,
    Reading,
    Readings,
    Threshold,
    Usage,
    crossed,
    eviction,
    has_storage_limits,
    in_order,
    over_its_limits,
)
from cybernetes.core.kubelet.node import NO_PRESSURE, Pressure
from cybernetes.core.objects import Object, name_of, uid_of
from cybernetes.services.kubelet.directories import Directories
from cybernetes.services.kubelet.machine import memory_available, memory_total
from cybernetes.services.kubelet.podrecord import PodRecord
from cybernetes.services.kubelet.pods import PodManager
from cybernetes.services.kubelet.recorder import KubeletEvents
from cybernetes.services.kubelet.runtimes.interface import ContainerStats, Runtime

log = logging.getLogger(__name__)

#: An evicted pod is given so long to leave before the next is chosen.
LEAVE_S = 30.0


class Sensors:
    """The readings of this machine. A test has its own."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self) -> Readings:
        found: dict[str, Reading] = {"memory.available": Reading(memory_available(), memory_total())}
        try:
            disk = os.statvfs(self._root)
            found["nodefs.available"] = Reading(disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize)
            if disk.f_files:
                found["nodefs.inodesFree"] = Reading(disk.f_favail, disk.f_files)
        except OSError as error:
            log.debug("%s: %s", self._root, error)
        try:
            most = int(Path("/proc/sys/kernel/pid_max").read_text())
            used = int(Path("/proc/loadavg").read_text().split()[3].partition("/")[2])
            found["pid.available"] = Reading(max(0, most - used), most)
        except (OSError, ValueError, IndexError) as error:
            log.debug("process ids: %s", error)
        return found


class PressureManager:
    def __init__(
        self,
        runtime: Runtime,
        pods: PodManager,
        directories: Directories,
        events: KubeletEvents,
        clock: Clock,
        sensors: Sensors,
        thresholds: tuple[Threshold, ...],
    ) -> None:
        self.pressure = NO_PRESSURE
        self._runtime = runtime
        self._pods = pods
        self._directories = directories
        self._events = events
        self._clock = clock
        self._sensors = sensors
        self._thresholds = thresholds
        self._state = PressureState()
        #: The pod that is leaving, and since when.
        self._leaving: tuple[str, float] | None = None

    async def look(self) -> Pressure:
        """Read, judge, evict. Raises RuntimeFailure when the runtime cannot say what pods use."""
        now = self._clock.monotonic()
        met = crossed(self._thresholds, self._sensors.read())
        self.pressure = self._state.update(met, now)
        limited = [record for record in self._pods.records() if record.counts and has_storage_limits(record.pod)]
        if not met and not limited:
            return self.pressure
        stats = {entry.container_id: entry for entry in await self._runtime.stats()}
        for record in limited:
            if not record.must_end():
                await self._hold_to_limits(record, stats)
        if met and not self._is_somebody_leaving(now):
            await self._relieve(met[0], stats, now)
        return self.pressure

    def _is_somebody_leaving(self, now: float) -> bool:
        if self._leaving is None:
            return False
        uid, since = self._leaving
        record = self._pods.record(uid)
        return record is not None and bool(record.observed.running()) and now - since < LEAVE_S

    async def _relieve(self, short: Crossed, stats: Mapping[str, ContainerStats], now: float) -> None:
        self._events.node("Warning", "EvictionThresholdMet", f"Attempting to reclaim {short.resource}")
        records = [record for record in self._pods.records() if record.observed.running() and not record.must_end()]
        usages = [await self._usage(record, short.resource, stats) for record in records]
        ranked = in_order(usages, short.resource)
        if not ranked:
            log.warning("the node is low on %s, and no pod can be evicted", short.resource)
            return
        pod = ranked[0].pod
        told = eviction(short, ranked[0])
        log.warning("evicting pod %s: %s", name_of(pod), told.message)
        self._events.pod(pod, "Warning", "Evicted", told.message)
        self._leaving = (uid_of(pod), now)
        self._pods.evict(uid_of(pod), told)

    async def _usage(self, record: PodRecord, resource: str, stats: Mapping[str, ContainerStats]) -> Usage:
        if resource == "memory":
            used = {
                status.name: stats[status.id].memory_working_set
                for status in record.observed.running()
                if status.id in stats
            }
            return Usage(record.pod, sum(used.values()), used)
        if resource == "pids":
            return Usage(record.pod, len(record.observed.running()), {})
        volumes, containers = await self._storage(record, stats)
        return Usage(record.pod, sum(volumes.values()) + sum(containers.values()), containers)

    async def _storage(
        self, record: PodRecord, stats: Mapping[str, ContainerStats]
    ) -> tuple[dict[str, int], dict[str, int]]:
        """(bytes in each emptyDir, bytes of logs and writable layer of each container)."""
        volumes, containers = await asyncio.to_thread(self._measure, record.pod)
        for status in record.observed.running():
            if status.id in stats:
                containers[status.name] = containers.get(status.name, 0) + stats[status.id].filesystem_used
        return volumes, containers

    def _measure(self, pod: Object) -> tuple[dict[str, int], dict[str, int]]:
        volumes = {
            volume["name"]: disk_usage(self._directories.volume(uid_of(pod), "empty-dir", volume["name"]))
            for volume in pod["spec"].get("volumes") or ()
            if "emptyDir" in volume
        }
        logs = self._directories.pod_logs(pod)
        containers = {
            container["name"]: disk_usage(logs / container["name"]) for container in pod["spec"]["containers"]
        }
        return volumes, containers

    async def _hold_to_limits(self, record: PodRecord, stats: Mapping[str, ContainerStats]) -> None:
        told = over_its_limits(record.pod, *await self._storage(record, stats))
        if told is not None:
            self._events.pod(record.pod, "Warning", "Evicted", told.message)
            self._pods.evict(record.uid, told)


def disk_usage(path: Path) -> int:
    """Bytes on disk of everything below ``path``, each file once; 0 when there is nothing. Follows no links."""
    total = 0
    seen: set[tuple[int, int]] = set()
    waiting = [path]
    while waiting:
        folder = waiting.pop()
        try:
            entries = list(os.scandir(folder))
        except OSError:
            continue  # gone meanwhile
        for entry in entries:
            try:
                found = entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))
            except OSError:
                continue
            if found.st_nlink > 1:
                if (found.st_dev, found.st_ino) in seen:
                    continue
                seen.add((found.st_dev, found.st_ino))
            total += found.st_blocks * 512
    return total

"""What the kubelet's server shows of real pods: logs from files, sessions and ports from the runtime."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from cybernetes.core.clock import Clock, format_micro_time, format_time
from cybernetes.core.kubelet.logs import LogOptions
from cybernetes.core.kubelet.observed import ContainerState, ContainerStatus
from cybernetes.core.objects import Object, name_of, namespace_of, uid_of
from cybernetes.services.kubelet.directories import Directories
from cybernetes.services.kubelet.logfiles import read_log
from cybernetes.services.kubelet.machine import cpu_used_ns, memory_available, memory_total
from cybernetes.services.kubelet.nodeagent import NodeAgent
from cybernetes.services.kubelet.observer import Observer
from cybernetes.services.kubelet.podrecord import PodRecord
from cybernetes.services.kubelet.pods import PodManager
from cybernetes.services.kubelet.runtimes.interface import ContainerStats, PortStream, Runtime, Stream
from cybernetes.services.kubelet.server.backend import Refused


class KubeletBackend:
    def __init__(
        self,
        runtime: Runtime,
        observer: Observer,
        pods: PodManager,
        directories: Directories,
        node: NodeAgent,
        clock: Clock,
    ) -> None:
        self._runtime = runtime
        self._observer = observer
        self._pods = pods
        self._directories = directories
        self._node = node
        self._clock = clock

    def pods(self) -> Sequence[Object]:
        return self._pods.pods()

    def find_pod(self, namespace: str, name: str, uid: str = "") -> Object | None:
        record = self._pods.find(namespace, name, uid)
        return record.pod if record is not None else None

    def problems(self) -> Sequence[str]:
        return ()

    def _record(self, pod: Object) -> PodRecord:
        record = self._pods.record(uid_of(pod))
        if record is None:
            raise Refused(404, "pod does not exist")
        return record

    async def _running(self, pod: Object, container: str) -> ContainerStatus:
        observed = await self._observer.observe(self._record(pod))
        status = observed.container(container)
        if status is None or status.state is not ContainerState.RUNNING:
            raise Refused(500, f'container not found ("{container}")')
        return status

    async def logs(self, pod: Object, container: str, options: LogOptions) -> AsyncIterator[bytes]:
        observed = await self._observer.observe(self._record(pod))
        attempts = [
            status
            for status in observed.attempts(container)
            if status.state in (ContainerState.RUNNING, ContainerState.EXITED)
        ]
        name = name_of(pod)
        if options.previous:
            # Of a container that waits for its restart, the last run is the previous one.
            waits = bool(attempts) and container in self._record(pod).failures
            earlier = attempts if waits else attempts[1:]
            if not earlier:
                raise Refused(400, f'previous terminated container "{container}" in pod "{name}" not found')
            status = earlier[0]
        elif attempts:
            status = attempts[0]
        else:
            raise Refused(400, self._why_no_logs(pod, container))
        path = self._directories.pod_logs(pod) / Directories.log_path(container, status.attempt)
        if not await asyncio.to_thread(path.exists):
            raise Refused(400, f"unable to retrieve container logs for {status.id}: no log file")
        return read_log(path, options, lambda: self._wait_for_end(status))

    def _why_no_logs(self, pod: Object, container: str) -> str:
        where = f'container "{container}" in pod "{name_of(pod)}"'
        failure = self._record(pod).failures.get(container)
        if failure is None:
            has_init = bool(pod["spec"].get("initContainers"))
            return f"{where} is waiting to start: {'PodInitializing' if has_init else 'ContainerCreating'}"
        if failure.reason == "ErrImagePull":
            return f"{where} is waiting to start: image can't be pulled"
        if failure.reason == "ImagePullBackOff":
            return f"{where} is waiting to start: trying and failing to pull image"
        return f"{where} is waiting to start: {failure.reason}"

    async def _wait_for_end(self, status: ContainerStatus) -> None:
        """Return when this run of a container has ended. The pod's worker says when to look."""
        record = self._pods.record(status.pod_uid)
        while record is not None and self._pods.record(status.pod_uid) is record:
            changed = self._pods.next_look(status.pod_uid)
            observed = await self._observer.observe(record)
            found = next((other for other in observed.containers if other.id == status.id), None)
            if found is None or found.state is not ContainerState.RUNNING:
                return
            await changed

    async def exec(self, pod: Object, container: str, command: Sequence[str], *, stdin: bool, tty: bool) -> Stream:
        status = await self._running(pod, container)
        return await self._runtime.exec(status.id, command, stdin=stdin, tty=tty)

    async def attach(self, pod: Object, container: str) -> Stream:
        status = await self._running(pod, container)
        return await self._runtime.attach(status.id)

    async def port_forward(self, pod: Object, port: int) -> PortStream:
        observed = await self._observer.observe(self._record(pod))
        sandbox = observed.active_sandbox()
        if sandbox is None:
            raise Refused(500, f"failed to find sandboxID for pod {name_of(pod)}")
        return await self._runtime.port_forward(sandbox.id, port)

    async def summary(self) -> dict[str, Any]:
        stats = {entry.container_id: entry for entry in await self._runtime.stats()}
        taken = self._clock.now()
        now = format_time(taken)
        pods = []
        for record in self._pods.records():
            containers = []
            for status in record.observed.running():
                entry = stats.get(status.id)
                if entry is None:
                    continue
                containers.append(_container_stats(status, entry))
            pods.append(_pod_stats(record.pod, containers, now))
        available = memory_available()
        node = {
            "nodeName": self._node.name,
            "cpu": {"time": format_micro_time(taken), "usageCoreNanoSeconds": cpu_used_ns()},
            "memory": {"time": now, "availableBytes": available, "workingSetBytes": memory_total() - available},
        }
        return {"node": node, "pods": pods}


def _container_stats(status: ContainerStatus, entry: ContainerStats) -> dict[str, Any]:
    at = format_time(entry.timestamp)
    return {
        "name": status.name,
        "startTime": format_time(status.started_at),
        "cpu": {"time": at, "usageCoreNanoSeconds": entry.cpu_usage_ns},
        "memory": {
            "time": at,
            "usageBytes": entry.memory_usage,
            "workingSetBytes": entry.memory_working_set,
            "rssBytes": entry.memory_rss,
        },
        "rootfs": {"time": at, "usedBytes": entry.filesystem_used},
    }


def _pod_stats(pod: Object, containers: list[dict[str, Any]], now: str) -> dict[str, Any]:
    return {
        "podRef": {"name": name_of(pod), "namespace": namespace_of(pod), "uid": uid_of(pod)},
        "startTime": (pod.get("status") or {}).get("startTime", now),
        "containers": containers,
        "cpu": {"time": now, "usageCoreNanoSeconds": sum(c["cpu"]["usageCoreNanoSeconds"] for c in containers)},
        "memory": {"time": now, "workingSetBytes": sum(c["memory"]["workingSetBytes"] for c in containers)},
    }

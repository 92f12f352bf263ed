"""The sandboxes of the process runtime: for each pod a process that holds its namespaces, and its place on the network.

    created ──attach──▶ ready ──stop, or the holder dies──▶ stopped ──remove──▶ gone

The record is written before the network is touched and removed after it was taken down, so whatever a kubelet that
dies leaves behind is found under a known id.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path

from cybernetes.core.clock import Clock
from cybernetes.core.kubelet.observed import SandboxStatus
from cybernetes.services.kubelet.cgroups import Cgroups
from cybernetes.services.kubelet.network import NetworkFailure, PodNetwork
from cybernetes.services.kubelet.runtimes.interface import NotFound, PortMapping, RuntimeFailure, SandboxConfig
from cybernetes.services.kubelet.runtimes.process import shim, specs
from cybernetes.services.kubelet.runtimes.process.processes import Process, start_ticks
from cybernetes.services.kubelet.runtimes.process.records import Records, SandboxRecord, identifier


class Sandboxes:
    """``tell`` gets the uid of a pod whose sandbox changed on its own."""

    def __init__(
        self,
        directory: Path,
        cgroups: Cgroups,
        network: PodNetwork,
        clock: Clock,
        boot: str,
        tell: Callable[[str], None],
    ) -> None:
        self._records = Records(directory)
        self._cgroups = cgroups
        self._network = network
        self._clock = clock
        self._boot = boot
        self._tell = tell
        self._sandboxes: dict[str, SandboxRecord] = {}
        self._holders: dict[str, Process] = {}

    async def start(self) -> None:
        """Find those on record again; a holder that is gone makes a stopped sandbox."""
        for fields in self._records.load():
            sandbox = SandboxRecord(**fields)
            self._sandboxes[sandbox.id] = sandbox
            holder = Process.find(sandbox.pid, sandbox.ticks) if sandbox.boot == self._boot else None
            if holder is not None:
                self._hold(sandbox, holder)
            elif not sandbox.is_stopped:
                sandbox.is_stopped = True
                self._records.save(sandbox)

    async def attach_again(self) -> None:
        """After a restart: open the host ports of those that run, and take cables down whose sandbox is gone."""
        running = [item for item in self._sandboxes.values() if not item.is_stopped and not item.host_network]
        for sandbox in running:
            mappings = [PortMapping(*mapping) for mapping in sandbox.port_mappings]
            await self._network.attach(sandbox.id, f"/proc/{sandbox.pid}/ns/net", mappings)
        await self._network.reconcile({sandbox.id for sandbox in running})

    def release(self) -> None:
        """Let go of the descriptors; the sandboxes go on."""
        for holder in self._holders.values():
            holder.close()
        self._holders.clear()

    async def create(self, config: SandboxConfig) -> str:
        sandbox_id = identifier(config.uid, config.attempt)
        if sandbox_id in self._sandboxes:
            return sandbox_id
        try:
            started = await shim.start("sandbox", specs.sandbox_spec(config, self._make_cgroup(config)))
        except (shim.ShimError, TimeoutError, OSError) as error:
            raise RuntimeFailure("CreatePodSandboxError", f"cannot make the pod's namespaces: {error}") from error
        record = SandboxRecord(
            id=sandbox_id,
            uid=config.uid,
            name=config.name,
            namespace=config.namespace,
            attempt=config.attempt,
            hostname=config.hostname,
            log_directory=str(config.log_directory),
            created_at=self._clock.now(),
            host_network=config.host_network,
            host_pid=config.host_pid,
            host_ipc=config.host_ipc,
            shares_pid_namespace=config.shares_pid_namespace,
            port_mappings=[list(astuple(mapping)) for mapping in config.port_mappings],
            pid=started.pid,
            ticks=start_ticks(started.pid),
            boot=self._boot,
        )
        holder = Process(record.pid, record.ticks)
        try:
            self._records.save(record)
            if not config.host_network:
                namespace = f"/proc/{record.pid}/ns/net"
                record.addresses = list(await self._network.attach(sandbox_id, namespace, config.port_mappings))
                self._records.save(record)
        except BaseException as error:
            holder.send(signal.SIGKILL)
            holder.close()
            self._records.remove(sandbox_id)
            if isinstance(error, NetworkFailure):
                message = f"failed to setup network for sandbox {sandbox_id}: {error}"
                raise RuntimeFailure("CreatePodSandboxError", message) from error
            raise
        self._sandboxes[sandbox_id] = record
        self._hold(record, holder)
        return sandbox_id

    def _make_cgroup(self, config: SandboxConfig) -> list[str]:
        """The pod's group with its limits, and the files that put the holder into it."""
        cgroup = self._cgroups.make_pod(config)
        self._cgroups.create(f"{cgroup}/sandbox")
        return self._cgroups.process_files(f"{cgroup}/sandbox")

    def _hold(self, sandbox: SandboxRecord, holder: Process) -> None:
        def ended() -> None:
            self._holders.pop(sandbox.id, None)
            holder.close()
            sandbox.is_stopped = True
            self._records.save(sandbox)
            self._tell(sandbox.uid)

        self._holders[sandbox.id] = holder
        holder.when_ended(ended)

    async def stop(self, sandbox: SandboxRecord) -> None:
        """Take its network down and let its namespaces go. Its containers have ended."""
        if not sandbox.host_network:
            await self._network.detach(sandbox.id)
        if (holder := self._holders.pop(sandbox.id, None)) is not None:
            holder.send(signal.SIGKILL)
            await holder.ended()
            holder.close()
        if not sandbox.is_stopped:
            sandbox.is_stopped = True
            self._records.save(sandbox)
            self._tell(sandbox.uid)

    def remove(self, sandbox: SandboxRecord) -> None:
        """Forget a stopped one."""
        del self._sandboxes[sandbox.id]
        self._records.remove(sandbox.id)
        if all(other.uid != sandbox.uid for other in self._sandboxes.values()):
            with contextlib.suppress(OSError):  # busy while a last process dies; it is empty then and harmless
                self._cgroups.remove(f"pod{sandbox.uid}")

    def find(self, sandbox_id: str) -> SandboxRecord | None:
        return self._sandboxes.get(sandbox_id)

    def get(self, sandbox_id: str) -> SandboxRecord:
        """Raises NotFound."""
        try:
            return self._sandboxes[sandbox_id]
        except KeyError:
            raise NotFound(f"no such sandbox: {sandbox_id}") from None

    def list(self, pod_uid: str = "") -> list[SandboxStatus]:
        return [self.status(item) for item in self._sandboxes.values() if not pod_uid or item.uid == pod_uid]

    @staticmethod
    def status(record: SandboxRecord) -> SandboxStatus:
        return SandboxStatus(
            id=record.id,
            uid=record.uid,
            name=record.name,
            namespace=record.namespace,
            attempt=record.attempt,
            is_ready=not record.is_stopped,
            created_at=record.created_at,
            addresses=tuple(record.addresses),
            host_network=record.host_network,
        )

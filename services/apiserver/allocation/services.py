"""What a write of a Service takes and gives back: cluster IPs, node ports, the health check's port.

A Service is one object and its addresses are others, and the store has no transaction over several. So what is taken is
taken first, given back when the write fails, and what an update no longer needs is given back after the write. A server
that dies in between leaves something taken that nobody uses: ``repair`` finds it at the next start.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cybernetes.core.api.fielderror import FieldError, as_api_error, invalid_value
from cybernetes.core.errors import ApiError, internal
from cybernetes.core.objects import SERVICES, Object
from cybernetes.services.apiserver.allocation.addresses import Addresses, Full, NotAllocated
from cybernetes.services.apiserver.allocation.families import settle
from cybernetes.services.apiserver.allocation.ports import NodePorts
from cybernetes.services.apiserver.backend import Backend, Hooks
from cybernetes.services.apiserver.call import Call

#: A write takes no longer than this from taking an address to storing its Service, as requests time out before.
_SETTLED_S = 120.0


class Reservation:
    """What one write has taken. ``keep`` after the write, ``undo`` instead when it failed."""

    def __init__(self, allocator: Allocator, is_dry_run: bool) -> None:
        self._allocator = allocator
        self.is_dry_run = is_dry_run
        self.ips: list[str] = []
        self.ports: list[int] = []
        self.old_ips: list[str] = []
        self.old_ports: list[int] = []

    async def keep(self) -> None:
        await self._give_back(self.old_ips, self.old_ports)

    async def undo(self) -> None:
        await self._give_back(self.ips, self.ports)

    async def _give_back(self, ips: Iterable[str], ports: Iterable[int]) -> None:
        if not self.is_dry_run:
            await self._allocator.addresses.give_back(ips)
            await self._allocator.ports.give_back(ports)


class Allocator:
    """The hooks of Services."""

    def __init__(self, addresses: Addresses, ports: NodePorts) -> None:
        self.addresses = addresses
        self.ports = ports

    def hooks(self) -> Hooks:
        return Hooks(create=self.create, update=self.update, deleted=self.deleted)

    async def create(self, backend: Backend, call: Call, service: Object) -> Reservation:
        """Raises ApiError 422 for what cannot be had, 500 when a range is full."""
        _refuse(service, settle(service, None, self.addresses.families() or ["IPv4"]))
        taken = Reservation(self, call.is_dry_run)
        try:
            await self._take_ips(service, taken)
            await self._take_ports(service, taken)
        except BaseException:
            await taken.undo()
            raise
        return taken

    async def update(self, backend: Backend, call: Call, new: Object, old: Object) -> Reservation:
        """As ``create``, of what the new object has more; what it has less is given back by ``keep``."""
        _refuse(new, settle(new, old, self.addresses.families() or ["IPv4"]))
        taken = Reservation(self, call.is_dry_run)
        try:
            await self._change_ips(new, old, taken)
            await self._change_ports(new, old, taken)
        except BaseException:
            await taken.undo()
            raise
        return taken

    async def deleted(self, backend: Backend, service: Object) -> None:
        await self.addresses.give_back(_cluster_ips(service["spec"]))
        await self.ports.give_back(_node_ports(service["spec"]))

    async def repair(self, backend: Backend) -> None:
        """Give back what Services that do not exist (any more) have taken.

        What was taken just now may be for a Service that another server is about to write.
        """
        services = backend.storage.cache_of(SERVICES)

        def spec_of(namespace: str, name: str) -> Object:
            cached = services.get(namespace, name)
            spec: Object = cached.object()["spec"] if cached is not None else {}
            return spec

        settled = backend.clock.now() - _SETTLED_S
        ips = [ip for ip, *owner in self.addresses.owned(settled) if ip not in _cluster_ips(spec_of(*owner))]
        ports = [port for port, *owner in self.ports.owned(settled) if port not in _node_ports(spec_of(*owner))]
        await self.addresses.give_back(ips)
        await self.ports.give_back(ports)

    async def _take_ips(self, service: Object, taken: Reservation, first: int = 0) -> None:
        """Addresses for the families from number ``first`` on."""
        spec = service["spec"]
        if spec.get("type") == "ExternalName" or (spec.get("clusterIPs") or [""])[0] == "None":
            return
        ips: list[str] = list(spec.get("clusterIPs") or ())
        for position, family in enumerate(spec["ipFamilies"]):
            if position >= len(ips):
                ips.append("")
            if position >= first:
                ips[position] = await self._ip(service, family, ips[position], taken)
        spec["clusterIPs"] = ips
        spec["clusterIP"] = ips[0]

    async def _ip(self, service: Object, family: str, wanted: str, taken: Reservation) -> str:
        given = service["spec"].get("clusterIPs") or []
        try:
            ip = await self.addresses.take(service, family, wanted, is_dry_run=taken.is_dry_run)
        except Full as error:
            name = service["metadata"]["name"]
            raise internal(f'failed to allocate a serviceIP for Service "{name}": {error}') from None
        except NotAllocated as error:
            what = f"failed to allocate IP {wanted}: {error}" if wanted else f"failed to allocate IP: {error}"
            raise _invalid(service, "spec.clusterIPs", given, what) from None
        taken.ips.append(ip)
        return ip

    async def _take_ports(self, service: Object, taken: Reservation) -> None:
        spec = service["spec"]
        if spec.get("type") in ("NodePort", "LoadBalancer"):
            by_port: dict[int, int] = {}
            ports: list[Object] = spec.get("ports") or []
            for position, port in enumerate(ports):
                if not port.get("nodePort") and not _gets_node_ports(spec):
                    continue
                shared = by_port.get(port["port"], 0)  # UDP and TCP of one port share a node port
                if not shared:
                    same = (each.get("nodePort") for each in ports if each["port"] == port["port"])
                    asked = next((number for number in same if number), 0)
                    port["nodePort"] = by_port[port["port"]] = await self._port(service, position, asked, taken)
                elif not port.get("nodePort"):
                    port["nodePort"] = shared
                elif port["nodePort"] != shared:
                    await self._port(service, position, port["nodePort"], taken)
        if _needs_health_check(spec):
            await self._health_check_port(service, taken)

    async def _port(self, service: Object, position: int, wanted: int, taken: Reservation) -> int:
        try:
            port = await self.ports.take(service, wanted, is_dry_run=taken.is_dry_run)
        except Full as error:
            raise internal(f"failed to allocate a nodePort: {error}") from None
        except NotAllocated as error:
            raise _invalid(service, f"spec.ports[{position}].nodePort", wanted, str(error)) from None
        taken.ports.append(port)
        return port

    async def _health_check_port(self, service: Object, taken: Reservation) -> None:
        spec = service["spec"]
        wanted = spec.get("healthCheckNodePort") or 0
        try:
            port = await self.ports.take(service, wanted, is_dry_run=taken.is_dry_run)
        except NotAllocated as error:
            what = f"requested HealthCheck NodePort {wanted}" if wanted else "a HealthCheck NodePort 0"
            raise internal(f"failed to allocate {what}: {error}") from None
        taken.ports.append(port)
        spec["healthCheckNodePort"] = port

    async def _change_ips(self, new: Object, old: Object, taken: Reservation) -> None:
        new_spec, old_spec = new["spec"], old["spec"]
        was_external, is_external = old_spec.get("type") == "ExternalName", new_spec.get("type") == "ExternalName"
        if was_external:
            if not is_external:
                await self._take_ips(new, taken)
            return
        old_ips = _cluster_ips(old_spec)
        if not old_ips:
            return  # headless stays so
        if is_external:
            taken.old_ips = old_ips
            return
        before, after = len(old_spec.get("ipFamilies") or ()), len(new_spec.get("ipFamilies") or ())
        if before == 1 and after == 2:
            await self._take_ips(new, taken, first=1)
        elif before == 2 and after == 1:
            taken.old_ips = old_ips[1:]

    async def _change_ports(self, new: Object, old: Object, taken: Reservation) -> None:
        new_spec, old_spec = new["spec"], old["spec"]
        old_ports = _node_ports(old_spec, health_check=False)
        if new_spec.get("type") in ("NodePort", "LoadBalancer"):
            held = set(old_ports)
            for position, port in enumerate(new_spec.get("ports") or ()):
                if not port.get("nodePort"):
                    if _gets_node_ports(new_spec):
                        port["nodePort"] = await self._port(new, position, 0, taken)
                        held.add(port["nodePort"])
                elif port["nodePort"] not in held:
                    held.add(await self._port(new, position, port["nodePort"], taken))
        if _needs_health_check(new_spec) and not _needs_health_check(old_spec):
            await self._health_check_port(new, taken)
        kept = set(_node_ports(new_spec))
        taken.old_ports = [port for port in _node_ports(old_spec) if port not in kept]


def _cluster_ips(spec: Object) -> list[str]:
    if spec.get("type") == "ExternalName":
        return []
    return [ip for ip in spec.get("clusterIPs") or () if ip and ip != "None"]


def _node_ports(spec: Object, *, health_check: bool = True) -> list[int]:
    ports = [port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")]
    if health_check and _needs_health_check(spec) and spec.get("healthCheckNodePort"):
        ports.append(spec["healthCheckNodePort"])
    return list(dict.fromkeys(ports))


def _gets_node_ports(spec: Object) -> bool:
    if spec.get("type") == "LoadBalancer":
        return bool(spec.get("allocateLoadBalancerNodePorts", True))
    return spec.get("type") == "NodePort"


def _needs_health_check(spec: Object) -> bool:
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def _invalid(service: Object, path: str, value: object, detail: str) -> ApiError:
    return as_api_error("", "Service", service["metadata"].get("name", ""), [invalid_value(path, value, detail)])


def _refuse(service: Object, errors: Sequence[FieldError]) -> None:
    if errors:
        raise as_api_error("", "Service", service["metadata"].get("name", ""), errors)

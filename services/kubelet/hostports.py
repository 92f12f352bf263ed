"""Host ports: listeners on the node that lead to one pod, by the byte forwarder.

They live in this process: a kubelet that starts again opens them when the runtime attaches its sandboxes again. The
forwarder's thread exists only while a pod has asked for a port.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

from cybernetes.ext.forward import Forwarder
from cybernetes.services.common.hostsockets import HostSockets
from cybernetes.services.kubelet.runtimes.interface import PortMapping
from cybernetes.services.proxy.sockets import Place, open_all


class ForwardedHostPorts:
    """Implements ``network.HostPorts``. Called under the pod network's lock.

    A node that is not in the host's network namespace opens each port by ``host``, too.
    """

    def __init__(self, host: HostSockets | None = None) -> None:
        self._host = host
        self._forwarder: Forwarder | None = None
        #: Owner -> what it asked for, and its (listener, target) pairs.
        self._open: dict[str, tuple[tuple[PortMapping, ...], list[tuple[int, str]]]] = {}

    def open(self, owner: str, addresses: Sequence[str], mappings: Sequence[PortMapping]) -> None:
        """Make ``mappings`` what ``owner`` has open. Raises OSError for a port that is taken; nothing is open then."""
        wanted = tuple(mapping for mapping in mappings if mapping.host_port)
        present = self._open.get(owner)
        if present is not None and present[0] == wanted:
            return
        self.close(owner)
        if not wanted:
            return
        if self._forwarder is None:
            self._forwarder = Forwarder(threads=1, connections_max=20_000, flows_max=4096)
        opened: list[tuple[int, str]] = []
        self._open[owner] = (wanted, opened)
        try:
            for mapping in wanted:
                for address in addresses:
                    self._open_one(self._forwarder, owner, address, mapping, opened)
        except BaseException:
            self.close(owner)
            raise

    def _open_one(
        self, forwarder: Forwarder, owner: str, address: str, mapping: PortMapping, opened: list[tuple[int, str]]
    ) -> None:
        family = 6 if ":" in address else 4
        if mapping.host_ip and (":" in mapping.host_ip) != (family == 6):
            return
        host_ip = "" if mapping.host_ip in ("0.0.0.0", "::") else mapping.host_ip
        place = Place(family, mapping.protocol or "TCP", host_ip, mapping.host_port)
        results = open_all([place])
        if self._host is not None:
            if isinstance(results[0], OSError) and results[0].errno == errno.EADDRNOTAVAIL:
                results.clear()  # an address that only the host has
            results += self._host.open_all([place])
        failure = next((result for result in results if isinstance(result, OSError)), None)
        if failure is not None:
            for result in results:
                if isinstance(result, int):
                    os.close(result)
            where = f"{host_ip or '*'}:{mapping.host_port}/{place.protocol}"
            raise OSError(failure.errno, f"cannot open host port {where}: {failure.strerror or failure}")
        target = f"{owner} {place}"
        forwarder.set_target(target, [(address, mapping.container_port)])
        opened += [(forwarder.listen(result, target), target) for result in results if isinstance(result, int)]

    def close(self, owner: str) -> None:
        _, opened = self._open.pop(owner, ((), []))
        if self._forwarder is None:
            return
        for number, _ in opened:
            self._forwarder.unlisten(number)
        for target in dict.fromkeys(target for _, target in opened):
            self._forwarder.remove_target(target)
        if not self._open:
            self._forwarder.close()
            self._forwarder = None

    def stop(self) -> None:
        for owner in list(self._open):
            self.close(owner)

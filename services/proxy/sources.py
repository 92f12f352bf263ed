"""Bring the replies of backends to the forwarder where it connected in a client's name.

    pod 10.244.1.5 ──▶ forwarder ──(from 10.244.1.5)──▶ backend 10.244.1.9
                           ◀──────(to 10.244.1.5)──────┘      would go to the pod, which knows nothing of it

The forwarder's sockets for such clients are transparent: they have the client's address. The first packet of each marks
its connection; replies of marked connections carry a mark of their own, for which everything is local, so they find the
socket. Replies of the host itself (its DNS, the API server) are marked on their way out and come back by loopback.

One nftables table and one routing rule of a node, told apart by its interface; no other is touched. Both outlive a
killed process, where they have nothing to do.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import socket
from collections.abc import Sequence

from cybernetes.services.common.netlink import LOCAL, Netlink
from cybernetes.services.proxy import nft

log = logging.getLogger(__name__)

#: Of connections and of packets.
_MARK = 0x40000000


class SourceRouting:
    """``interface`` names the node; ``families`` are 4, 6 or both."""

    def __init__(self, interface: str, families: Sequence[int]) -> None:
        self._table = nft.table_of(interface, "_sources")
        # Of the table and the place of its rule, which has to come before that of the main table (32766).
        digest = hashlib.sha1(interface.encode(), usedforsecurity=False).hexdigest()
        self._number = 10_000 + int(digest[:8], 16) % 20_000
        self._families = tuple(families)

    def open(self) -> bool:
        """False where the kernel or the machine lacks what it takes: clients then have an address of this node."""
        if not nft.is_installed():
            return False
        problem = nft.load(_ruleset(self._table))
        if problem:
            log.info("backends see the node instead of their clients: %s", problem)
            return False
        try:
            with Netlink() as kernel:
                for family in self._families:
                    everywhere = "::" if family == 6 else "0.0.0.0"
                    kernel.add_route(everywhere, 0, index=kernel.index("lo"), kind=LOCAL, table=self._number)
                    kernel.set_mark_rule(_FAMILIES[family], _MARK, self._number)
        except OSError as error:
            log.info("backends see the node instead of their clients: %s", error)
            self.close()
            return False
        return True

    def close(self) -> None:
        """Safe to repeat, also for what another process has left."""
        if nft.is_installed():
            nft.load(f"add table inet {self._table}\ndelete table inet {self._table}\n")
        with Netlink() as kernel:
            for family in self._families:
                kernel.set_mark_rule(_FAMILIES[family], _MARK, self._number, there=False)
                kernel.delete_route("::" if family == 6 else "0.0.0.0", 0, kind=LOCAL, table=self._number)


_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


def _ruleset(table: str) -> str:
    return f"""\
add table inet {table}
delete table inet {table}
table inet {table} {{
	chain prerouting {{
		type filter hook prerouting priority mangle; policy accept;
		ct direction reply ct mark & {_MARK:#x} != 0 meta mark set meta mark or {_MARK:#x}
	}}
	chain output {{
		type route hook output priority mangle; policy accept;
		ct state new socket transparent 1 ct mark set ct mark or {_MARK:#x}
		ct direction reply ct mark & {_MARK:#x} != 0 meta mark set meta mark or {_MARK:#x}
	}}
}}
"""


def take_down(interface: str) -> None:
    """Remove what a node with this interface has left. Who may not has left nothing: its namespace is gone."""
    with contextlib.suppress(PermissionError):
        SourceRouting(interface, (4, 6)).close()

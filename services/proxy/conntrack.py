"""End flows whose backend has gone: connection tracking entries, by pyroute2.

The kernel chooses a backend for the first packet of a flow and remembers it. A UDP client that goes on sending would
stay with a pod that is gone; so its entry is deleted, and its next packet is the first one of a new flow.
"""

from __future__ import annotations

import errno
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor


def end_flows(family: int, protocol: int, backends: Collection[tuple[str, int]]) -> int:
    """Delete the entries of a protocol (an IPPROTO number) that were translated to one of ``backends``. Returns how
    many there were. The kernel looks for them: 1 ms a backend, and one for each entry found. Raises OSError."""
    # pyroute2 wants an event loop of its own, which a thread that runs one cannot give it.
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="conntrack") as thread:
        return thread.submit(_end_flows, family, protocol, backends).result()


def _end_flows(family: int, protocol: int, backends: Collection[tuple[str, int]]) -> int:
    from pyroute2 import NFCTSocket
    from pyroute2.netlink.exceptions import NetlinkError
    from pyroute2.netlink.nfnetlink.nfctsocket import NFCTAttrTuple

    ended = 0
    with NFCTSocket(nfgen_family=family) as kernel:
        for address, port in backends:
            wanted = NFCTAttrTuple(family=family, saddr=address, proto=protocol, sport=port)
            try:
                for entry in list(kernel.dump(tuple_reply=wanted)):
                    # Kernels before 5.8 do not select, so look at it.
                    if wanted.nla_eq(family, entry.get_attr("CTA_TUPLE_REPLY")):
                        original = NFCTAttrTuple.from_netlink(family, entry.get_attr("CTA_TUPLE_ORIG"))
                        kernel.entry("del", tuple_orig=original)
                        ended += 1
            except NetlinkError as error:
                if error.code != errno.ENOENT:  # it may have ended by itself
                    raise OSError(error.code, "cannot end flows of a backend that has gone") from error
    return ended

from collections.abc import Sequence
from typing import NamedTuple

class Counters(NamedTuple):
    connections: int
    active: int
    bytes_in: int
    bytes_out: int
    connect_failures: int
    refused: int
    connect_us: int

class Forwarder:
    def __init__(
        self,
        *,
        threads: int = 0,
        connections_max: int = 100_000,
        flows_max: int = 32_768,
        buffer_bytes: int = 1 << 20,
        connect_timeout_ms: int = 1_000,
        flow_idle_ms: int = 120_000,
        flow_short_ms: int = 10_000,
        pending_max: int = 256 << 20,
    ) -> None: ...
    def close(self) -> None: ...
    @property
    def threads(self) -> int: ...
    @property
    def connections(self) -> int: ...
    def set_target(self, name: str, backends: Sequence[tuple[str, int]], *, affinity_s: int = 0) -> None: ...
    def remove_target(self, name: str) -> None: ...
    def listen(
        self, descriptor: int, target: str, *, source_ranges: Sequence[str] = (), keep_source: Sequence[str] = ()
    ) -> int: ...
    def redirect(self, number: int, target: str) -> None: ...
    def unlisten(self, number: int) -> None: ...
    def counters(self, name: str) -> Counters: ...

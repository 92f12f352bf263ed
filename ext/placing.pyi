from collections.abc import Mapping
from typing import Any

from cybernetes.ext.nodecolumns import Usage
from cybernetes.ext.ranking import Ranking

class PodRecord:
    uid: str
    namespace: str
    name: str
    labels: Mapping[str, str]
    shape: Any
    requests: Mapping[str, int]
    scored: tuple[int, int]
    usage: Usage
    node_name: str
    started: str
    owner_uid: str
    row: int
    is_terminating: bool
    is_assumed: bool
    is_preempted: bool
    def __init__(
        self, uid: str, namespace: str, name: str, labels: Mapping[str, str], shape: Any, usage: Usage
    ) -> None: ...
    @property
    def priority(self) -> int: ...
    @property
    def key(self) -> str: ...

def place_plainly(
    pod: dict[str, Any], ranking: Ranking, usage: Usage, shape: Any, infos: list[Any], pods: dict[str, PodRecord]
) -> tuple[PodRecord, int] | None: ...

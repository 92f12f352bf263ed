"""The contract of scheduler plugins, in the shape of Kubernetes' scheduling framework.

A plugin is any object with a ``name`` and the methods of the extension points that it takes part in; there is nothing
to inherit. A pod goes through the points in this order:

    pre_enqueue                                 may it enter the queue at all?
    queue_less                                  which pod first (one plugin a scheduler)
    pre_filter                                  look at the pod; refuse it, restrict the nodes, or Skip the filter
    filter            for each node             may the pod go there?
    post_filter                                 nothing fits: make room (preemption)
    pre_score, score for each node, normalize   which node is best: 0 to 100
    reserve / unreserve                         take what the placement needs, give it back
    permit                                      go, refuse, or wait
    pre_bind, bind, post_bind                   write it

All are plain functions of what was observed. A refusal is a ``Status``; None is success. Those of the last line may
return an awaitable: only they may do I/O, and the scheduler service awaits it. An exception is a bug of the plugin: the
pod's attempt ends with an error, and the queue goes on.

The plugins that ship with Kubernetes are written twice: once as above, plainly, node by node, and once for columns
(``ColumnFilter``, ``ColumnScore``): all nodes at once, or only the rows that changed. The first form is the slow twin
of the second, and the one that your own plugins have.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy
from numpy.typing import NDArray

from cybernetes.core.objects import Object

if TYPE_CHECKING:
    from cybernetes.core.scheduling.cycle import Cycle
    from cybernetes.core.scheduling.diagnosis import Diagnosis
    from cybernetes.core.scheduling.events import EventHint
    from cybernetes.core.scheduling.nodeinfo import NodeInfo
    from cybernetes.core.scheduling.queue import QueuedPod
    from cybernetes.ext.ranking import Ranking

SCORE_MAX = 100


class Code(enum.IntEnum):
    """What a plugin's answer means."""

    SUCCESS = 0
    #: A fault, not a decision: tried again after a backoff.
    ERROR = 1
    #: Not here, not now; preemption may help.
    UNSCHEDULABLE = 2
    #: Not here, and no preemption would change that.
    UNRESOLVABLE = 3
    #: permit: hold the pod.
    WAIT = 4
    #: pre_filter, pre_score: this plugin has nothing to say about the pod.
    SKIP = 5
    #: Placed in principle; something outside must happen first.
    PENDING = 6

    @property
    def is_rejection(self) -> bool:
        return self in (Code.UNSCHEDULABLE, Code.UNRESOLVABLE, Code.PENDING)


class Status(NamedTuple):
    """A plugin's answer. ``reasons`` are what the event and the condition say, each counted over the nodes."""

    code: Code
    reasons: tuple[str, ...] = ()
    #: Filled in by the framework.
    plugin: str = ""

    @property
    def is_success(self) -> bool:
        return self.code is Code.SUCCESS

    @property
    def message(self) -> str:
        return ", ".join(self.reasons)

    def of(self, plugin: str) -> Status:
        return self if self.plugin else self._replace(plugin=plugin)


SUCCESS = Status(Code.SUCCESS)
SKIP = Status(Code.SKIP)


def unschedulable(*reasons: str) -> Status:
    return Status(Code.UNSCHEDULABLE, reasons)


def unresolvable(*reasons: str) -> Status:
    return Status(Code.UNRESOLVABLE, reasons)


def error(*reasons: str) -> Status:
    return Status(Code.ERROR, reasons)


class PreFilterResult(NamedTuple):
    """Only these nodes need to be looked at."""

    node_names: frozenset[str]


class PreFiltered(NamedTuple):
    """What all pre_filter plugins said."""

    #: The plugins that have nothing to say about the pod.
    skipped: set[str]
    refusal: Status | None
    #: The only nodes where it may go.
    node_names: frozenset[str] | None
    #: The plugins that name nodes.
    restricting: list[str]


class NominatedNode(NamedTuple):
    """What post_filter decided: the node where the pod will fit; an empty name takes an earlier nomination back."""

    name: str


class Plugin(Protocol):
    @property
    def name(self) -> str: ...


class PreEnqueuePlugin(Plugin, Protocol):
    def pre_enqueue(self, pod: Object) -> Status | None: ...


class QueueSortPlugin(Plugin, Protocol):
    def queue_key(self, queued: QueuedPod) -> Any:
        """Pods are taken in the order of their keys, which must be comparable with each other."""
        ...


class EventsPlugin(Plugin, Protocol):
    def events(self) -> Sequence[EventHint]:
        """Which events may make a pod schedulable that this plugin refused. Without it: any event."""
        ...


class PreFilterPlugin(Plugin, Protocol):
    def pre_filter(self, cycle: Cycle) -> PreFilterResult | Status | None: ...


class FilterPlugin(Plugin, Protocol):
    def filter(self, cycle: Cycle, node: NodeInfo) -> Status | None: ...


class PostFilterPlugin(Plugin, Protocol):
    def post_filter(self, cycle: Cycle, diagnosis: Diagnosis) -> tuple[NominatedNode | None, Status]: ...


class PreScorePlugin(Plugin, Protocol):
    def pre_score(self, cycle: Cycle, nodes: Sequence[NodeInfo]) -> Status | None: ...


class ScorePlugin(Plugin, Protocol):
    def score(self, cycle: Cycle, node: NodeInfo) -> int: ...


class NormalizeScorePlugin(ScorePlugin, Protocol):
    def normalize(self, cycle: Cycle, scores: dict[str, int]) -> None:
        """Bring the scores of all feasible nodes between 0 and 100, in place."""
        ...


class ReservePlugin(Plugin, Protocol):
    def reserve(self, cycle: Cycle, node_name: str) -> Status | None: ...

    def unreserve(self, cycle: Cycle, node_name: str) -> None:
        """Undo ``reserve``; may be called without it and more than once."""
        ...


class PermitPlugin(Plugin, Protocol):
    def permit(self, cycle: Cycle, node_name: str) -> tuple[Status | None, float]:
        """The status, and for WAIT the seconds after which the pod is refused."""
        ...


class PreBindPlugin(Plugin, Protocol):
    def pre_bind(self, cycle: Cycle, node_name: str) -> Status | Awaitable[Status | None] | None: ...


class BindPlugin(Plugin, Protocol):
    def bind(self, cycle: Cycle, node_name: str) -> Status | Awaitable[Status | None] | None:
        """SKIP: let the next bind plugin do it."""
        ...


class PostBindPlugin(Plugin, Protocol):
    def post_bind(self, cycle: Cycle, node_name: str) -> None: ...


# ---- columns

Rows = NDArray[numpy.intp]
Codes = NDArray[numpy.int64]
Scores = NDArray[numpy.int64]


class Scope(enum.Enum):
    """What a column plugin's answer for one node depends on, beside the pod."""

    #: The node object alone: computed once a template, and again for a node object that changes.
    NODE = 1
    #: Also the pods on that node: computed again for the rows in the change log.
    NODE_PODS = 2
    #: Also the pods elsewhere: computed in every cycle, from counts that are maintained.
    CLUSTER = 3
    #: Also things of the pod's own, its claims: ``pre_filter`` and the columns are asked in every cycle.
    POD = 4


class ColumnFilter(Plugin, Protocol):
    """``filter`` for many rows of the node table."""

    scope: Scope

    def filter_rows(self, cycle: Cycle, rows: Rows) -> Codes | None:
        """A code for each row, 0 where the pod may go. None: the plugin has nothing against any node; one of scope
        NODE_PODS then never has for pods of this template."""
        ...

    def explain_code(self, cycle: Cycle, code: int) -> Status:
        """The status that ``filter`` gives where ``filter_rows`` gives ``code``."""
        ...


class ColumnScore(Plugin, Protocol):
    """``score`` for many rows. A plugin with ``normalize_scores`` gives raw scores here."""

    scope: Scope

    def score_rows(self, cycle: Cycle, rows: Rows) -> Scores | None:
        """A score for each row. None: the plugin adds nothing for this pod."""
        ...


class ClusterPlugin(Plugin, Protocol):
    """What a column plugin of Scope.CLUSTER or POD may have beside its columns."""

    def check(self, cycle: Cycle) -> Status | None:
        """A refusal of the pod as such. Asked once a template."""
        ...

    def concerns(self, cycle: Cycle) -> bool:
        """Whether it has anything to say about the template's pods; asked again as ``Tracker.owned_version`` moves."""
        ...


class ClusterKernels(Plugin, Protocol):
    """A plugin of Scope.CLUSTER may have its columns as passes over all nodes at once; they are asked for every pod."""

    def refuse_all(self, cycle: Cycle, codes: NDArray[numpy.uint8]) -> None:
        """Set the code of every row where ``filter_rows`` gives one."""
        ...

    def score_all(
        self, cycle: Cycle, ranking: Ranking, codes: NDArray[numpy.uint8], weight: int, extra: Scores
    ) -> None:
        """Add the weighted and normalised score of every feasible row: one that is ranked and has no code."""
        ...


class NormalizeColumnScore(ColumnScore, Protocol):
    def normalize_scores(self, cycle: Cycle, scores: Scores) -> Scores:
        """Scores of the feasible rows brought between 0 and 100; depends on the set of values only."""
        ...


def names(plugins: Iterable[Plugin]) -> list[str]:
    return [plugin.name for plugin in plugins]

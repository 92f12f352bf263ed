"""SchedulingGates: a pod with ``spec.schedulingGates`` does not enter the queue before all are removed (KEP-3521)."""

from __future__ import annotations

from collections.abc import Sequence

from cybernetes.core.objects import Object
from cybernetes.core.scheduling.events import POD, Action, EventHint, is_same
from cybernetes.core.scheduling.interface import EventsPlugin, PreEnqueuePlugin, Status, unresolvable

NAME = "SchedulingGates"


class SchedulingGates:
    name = NAME

    def pre_enqueue(self, pod: Object) -> Status | None:
        gates = pod["spec"].get("schedulingGates")
        if not gates:
            return None
        names = " ".join(gate["name"] for gate in gates)
        return unresolvable(f"waiting for scheduling gates: [{names}]")

    def events(self) -> Sequence[EventHint]:
        return (EventHint(POD, Action.UPDATE_POD_GATES_ELIMINATED, is_same),)


_contract: tuple[PreEnqueuePlugin, EventsPlugin] = (SchedulingGates(), SchedulingGates())

"""Decisions that extenders have a say in: asked in the middle, and gone on with when the answer is there.

    consult ──> Decision.candidates ──(the service asks)──> advised ──> accepted, or refused
    refuse  ──> Decision.preemptions ──(the service asks)──> reviewed ──> nominated, or put off

Nothing is held meanwhile: things change while extenders think, so what they say is checked against what is so then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cybernetes.core.scheduling.cycle import Cycle
from cybernetes.core.scheduling.extender import Advice, Review
from cybernetes.core.scheduling.found import Found
from cybernetes.core.scheduling.interface import NominatedNode
from cybernetes.core.scheduling.nodeinfo import PodRecord
from cybernetes.core.scheduling.preemption import Candidate, best
from cybernetes.core.scheduling.queue import QueuedPod

if TYPE_CHECKING:
    from cybernetes.core.scheduling.engine import Decision, Engine
    from cybernetes.core.scheduling.framework import Framework


def consult(
    engine: Engine, queued: QueuedPod, framework: Framework, cycle: Cycle, *, anywhere: bool = False
) -> Decision:
    """A decision that waits for what extenders say; of the node that the pod is nominated to first."""
    from cybernetes.core.scheduling.engine import Decision

    row = -1 if anywhere else engine.nominated_row(framework, cycle)
    if row >= 0:
        return Decision(queued, cycle, framework, candidates={engine.table.at(row).name: 0})
    found = framework.candidates(cycle)
    if isinstance(found, Found):
        assert found.diagnosis is not None
        return engine.refuse(queued, framework, cycle, found.diagnosis)
    names = [engine.table.at(row).name for row in found.rows]
    return Decision(queued, cycle, framework, candidates=dict(zip(names, found.scores, strict=True)))


def advised(engine: Engine, decision: Decision, advice: Advice) -> Decision:
    queued, framework, cycle = decision.queued, decision.framework, decision.cycle
    assert framework is not None
    assert cycle is not None
    assert decision.candidates is not None
    if engine.queue.get(queued.uid) is not queued:
        return _gone(decision)
    if advice.error:
        return _error(engine, decision, advice.error)
    left = {
        name: score + advice.scores.get(name, 0)
        for name, score in decision.candidates.items()
        if name not in advice.refusals
    }
    try:
        while left:
            most = max(left.values())
            equal = [name for name, score in left.items() if score == most]
            name = equal[engine.table.columns.random_below(len(equal))]
            row = engine.table.rows.get(name)
            if row is not None and framework.accepts(cycle, row):
                return engine.accept(queued, framework, cycle, name)
            del left[name]
        if engine.nominated_row(framework, cycle) >= 0 and len(decision.candidates) == 1:
            return consult(engine, queued, framework, cycle, anywhere=True)
        diagnosis = framework.diagnose(cycle)
        for name, status in advice.refusals.items():
            row = engine.table.rows.get(name)
            if row is not None:
                diagnosis.add(status.of("Extender"), [row])
        return engine.refuse(queued, framework, cycle, diagnosis)
    except Exception as error:  # noqa: BLE001 - one plugin's bug must not stop the queue
        return engine.failed(queued, framework, cycle, error)


def reviewed(engine: Engine, decision: Decision, review: Review) -> Decision:
    queued, framework, cycle, diagnosis = decision.queued, decision.framework, decision.cycle, decision.diagnosis
    assert framework is not None
    assert cycle is not None
    assert diagnosis is not None
    if engine.queue.get(queued.uid) is not queued:
        return _gone(decision)
    if review.error:
        return _error(engine, decision, review.error)
    nominated = NominatedNode("")
    candidates = [each for each in (_candidate(engine, name, review) for name in review.victims) if each is not None]
    if candidates:
        chosen = best(candidates)
        nominated = NominatedNode(engine.table.at(chosen.row).name)
        evict = engine.scheduler.handle.evict
        if evict is not None:
            evict(cycle, nominated.name, chosen.victims)
    else:
        diagnosis.post_filter_message = "preemption: no extender agreed to a node"
    return engine.put_off(queued, framework, cycle, diagnosis, nominated)


def _candidate(engine: Engine, name: str, review: Review) -> Candidate | None:
    """A node with those of the victims that are still there."""
    row = engine.table.rows.get(name)
    records: list[PodRecord] = [
        record
        for record in (engine.table.pods.get(uid) for uid in review.victims[name])
        if record is not None and record.node_name == name
    ]
    if row is None or not records:
        return None
    return Candidate(row, tuple(sorted(records, key=lambda record: -record.priority)), review.violations.get(name, 0))


def _gone(decision: Decision) -> Decision:
    from cybernetes.core.scheduling.engine import Decision

    return Decision(decision.queued, decision.cycle, decision.framework, message="the pod is gone", is_skipped=True)


def _error(engine: Engine, decision: Decision, message: str) -> Decision:
    from cybernetes.core.scheduling.engine import Decision

    engine.queue.refused(decision.queued, is_error=True)
    return Decision(decision.queued, decision.cycle, decision.framework, message=message, is_error=True)

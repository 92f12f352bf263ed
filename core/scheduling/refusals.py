"""Which plugin refuses which node: asked only when a pod fits nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy
from numpy.typing import NDArray

from cybernetes.core.scheduling.cycle import Cycle
from cybernetes.core.scheduling.diagnosis import Diagnosis
from cybernetes.core.scheduling.interface import Code, PreFiltered, Status

if TYPE_CHECKING:
    from cybernetes.core.scheduling.framework import Framework
    from cybernetes.core.scheduling.template import Template

Rows = NDArray[numpy.intp]


def diagnose(framework: Framework, cycle: Cycle, template: Template, own: PreFiltered | None = None) -> Diagnosis:
    """The first refusal of each node, in the order of the profile. ``own``: what plugins said of the pod itself."""
    table = framework.table
    diagnosis = Diagnosis(len(table))
    rows = template.open_rows()
    names = None if own is None else own.node_names
    if names is not None:
        rows = numpy.array([row for row in rows.tolist() if table.at(row).name in names], numpy.intp)
    restricting = sorted({*template.restricting, *(own.restricting if own is not None else ())})
    if restricting:
        diagnosis.absent = Status(Code.UNRESOLVABLE, (f"node(s) didn't satisfy plugin(s) [{' '.join(restricting)}]",))
        diagnosis.plugins.update(restricting)
    for plugin in framework.points["filter"]:
        if not len(rows):
            break
        ask = _of_all if hasattr(plugin, "filter_rows") else _one_by_one
        rows = ask(framework, cycle, plugin, rows, diagnosis)
    if table.nominations:
        _beside_nominated(framework, cycle, rows, diagnosis)
    return diagnosis


def _of_all(framework: Framework, cycle: Cycle, plugin: Any, rows: Rows, diagnosis: Diagnosis) -> Rows:
    """Note what a plugin with columns refuses; the other rows."""
    codes = plugin.filter_rows(cycle, rows)
    if codes is None:
        return rows
    for code in numpy.unique(codes).tolist():
        if code:
            diagnosis.add(plugin.explain_code(cycle, code).of(plugin.name), rows[codes == code].tolist())
    passed: Rows = rows[codes == 0]
    return passed


def _beside_nominated(framework: Framework, cycle: Cycle, rows: Rows, diagnosis: Diagnosis) -> None:
    """What passes every filter is kept free for the pods that are nominated there."""
    template = framework.room_template(cycle)
    known = {} if template is None else template.refusals.current()
    own = framework.own_nominated_row(cycle)
    refused: dict[Status, list[int]] = {}
    for row in rows.tolist():
        if row == own or row not in known:
            refusal = framework.refusal_beside_nominated(cycle, row, template is not None)
            if row != own:
                known[row] = refusal
        else:
            refusal = known[row]
        if refusal is not None:
            refused.setdefault(refusal, []).append(row)
    for refusal, theirs in refused.items():
        diagnosis.add(refusal, theirs)


def _one_by_one(framework: Framework, cycle: Cycle, plugin: Any, rows: Rows, diagnosis: Diagnosis) -> Rows:
    passed = []
    for row in rows.tolist():
        refusal = framework.filter_one(cycle, [plugin], framework.table.at(row))
        if refusal is None:
            passed.append(row)
        else:
            diagnosis.add(refusal, [row])
    return numpy.array(passed, numpy.intp)

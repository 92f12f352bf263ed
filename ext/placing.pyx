"""The record of a placed pod, and the shortest way for an ordinary pod to its node.

``place_plainly`` does for a pod whose template depends on nothing but the nodes and the pods on each (see
core/scheduling/template.py) what the framework and the table do in general: catch up with the change log, draw a node
among the best, count the pod there. It declines (None) whatever is not ordinary: a template that is out of date, a pod
without uid or one that is counted already, no node, or somebody who must hear of each pod. The caller then goes the
general way, which is this function's slow twin.
"""

cimport cython
from cpython.dict cimport PyDict_GetItem, PyDict_SetItem
from cpython.object cimport PyObject

from cybernetes.ext.nodecolumns cimport NodeColumns, Usage
from cybernetes.ext.ranking cimport Ranking


@cython.no_gc  # 150,000 of them need not be walked: nothing that they refer to refers back
cdef class PodRecord:
    """A pod that is placed, assumed or bound. ``labels`` is not changed by anyone.

    ``requests`` and ``scored`` are the shape's, but for a pod whose resources were changed while it runs. ``row`` is
    -1 while the node is unknown. ``started`` is status.startTime, for preemption; empty: not started.
    ``is_preempted``: it is terminating because the scheduler evicted it.
    """

    def __init__(self, str uid not None, str namespace not None, str name not None, labels, shape, Usage usage not None):
        self.uid = uid
        self.namespace = namespace
        self.name = name
        self.labels = labels
        self.shape = shape
        self.requests = shape.requests
        self.scored = shape.scored
        self.usage = usage
        self.node_name = ""
        self.started = ""
        self.owner_uid = ""
        self.row = -1

    @property
    def priority(self):
        return self.shape.priority

    @property
    def key(self):
        return f"{self.namespace}/{self.name}"

    def __repr__(self):
        return f"<PodRecord {self.key} on {self.node_name or 'no node'}>"


cdef dict NO_LABELS = {}


def place_plainly(dict pod not None, Ranking ranking not None, Usage usage not None, shape, list infos, dict pods):
    """(record, score) of the pod, counted on its node, or None."""
    cdef NodeColumns columns = ranking.columns
    cdef dict metadata = <dict?>pod["metadata"]
    cdef PyObject* found = PyDict_GetItem(metadata, "uid")
    cdef PyObject* given
    cdef PodRecord record
    cdef int row
    if found == NULL or columns.is_watched or ranking.object_version != columns.object_version:
        return None
    uid = <str?><object>found
    if not uid or uid in pods or not ranking.refresh() or (ranking.needs_review and ranking.reviews):
        return None
    row = ranking.choose()
    if row < 0:
        return None
    score = ranking.score(row)
    record = PodRecord.__new__(PodRecord)
    record.uid = uid
    record.namespace = <str?>shape.namespace
    given = PyDict_GetItem(metadata, "name")
    record.name = "" if given == NULL else <str?><object>given
    given = PyDict_GetItem(metadata, "labels")
    record.labels = NO_LABELS if given == NULL or <object>given is None else dict(<object>given)
    record.shape = shape
    record.requests = shape.requests
    record.scored = shape.scored
    record.usage = usage
    info = infos[row]
    record.node_name = <str?>info.name
    record.started = ""
    record.owner_uid = ""
    record.row = row
    record.is_assumed = True
    columns.count(row, usage, 1)
    PyDict_SetItem(info.pods, uid, record)
    PyDict_SetItem(pods, uid, record)
    return record, score

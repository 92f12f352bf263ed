"""A placed pod, as the node table counts it."""

from cybernetes.ext.nodecolumns cimport Usage

cdef class PodRecord:
    cdef public str uid
    cdef public str namespace
    cdef public str name
    cdef public object labels
    cdef public object shape
    cdef public object requests
    cdef public tuple scored
    cdef public Usage usage
    cdef public str node_name
    cdef public str started
    cdef public str owner_uid
    cdef public int row
    cdef public bint is_terminating
    cdef public bint is_assumed
    cdef public bint is_preempted

"""Defaults of each kind: one function an object, called after it was checked and before anything looks at it.

The schema says nothing of defaults, so they are data and code of ours. They must be upstream's to the last field
(``pkg/apis/*/v1/defaults.go`` and the ``+default`` markers of the types), because clients compare what they get with
what they sent. Two more things happen here that upstream does when it converts to its internal types: fields with two
names are made to agree (``serviceAccount``, ``podIP``), and write-only ones are folded in (a Secret's ``stringData``).

All functions change the object in place, expect it in the form that ``walk`` leaves, and are idempotent.
"""

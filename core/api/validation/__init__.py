"""What makes an object of each kind invalid, in Kubernetes' words: one module a subject.

A check takes an object (or two: new and old) and returns FieldErrors in the order in which upstream finds them. It
changes nothing, asks nobody, and expects an object that was checked against its schema and defaulted: types are right,
empty values are gone where they mean nothing, and what a default fills is there. Paths are built where something is
wrong, not before: a valid pod costs some tens of microseconds.
"""

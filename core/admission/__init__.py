"""Admission: what a cluster adds to an object, or will not have, after who asks has been judged. No I/O."""

from cybernetes.core.admission.contract import Attributes, Charging, Mutating, NotYet, Reader, Validating, refused

__all__ = ["Attributes", "Charging", "Mutating", "NotYet", "Reader", "Validating", "refused"]

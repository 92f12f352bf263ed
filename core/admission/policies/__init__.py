"""Validating and mutating admission policies: rules in CEL that judge and change writes (KEP-3488, KEP-3962)."""

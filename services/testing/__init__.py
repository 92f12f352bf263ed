"""Clusters inside tests: see ``cluster``; the public names are in ``cybernetes.testing``."""

"""Thousands of nodes that only pretend, sharing one informer, one timer, one batch of Leases and one server."""

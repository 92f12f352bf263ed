"""The ``cybernetes`` command: up, down, status, kubectl, snapshot, and one command a component."""

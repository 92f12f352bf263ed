"""The process runtime: a container is a local process tree on the host's own root, seen through a private layer."""

from cybernetes.services.kubelet.runtimes.process.runtime import ProcessRuntime

__all__ = ["ProcessRuntime"]

"""The Docker runtime: pods on a Docker engine, in our own pod network."""

from cybernetes.services.kubelet.runtimes.docker.runtime import DockerRuntime

__all__ = ["DockerRuntime"]

"""Events of a kubelet about pods, their containers and its node."""

from __future__ import annotations

from typing import Literal

from cybernetes.core.client.events import EventRecorder
from cybernetes.core.kubelet import spec
from cybernetes.core.objects import Object, object_reference

Kind = Literal["Normal", "Warning"]


class KubeletEvents:
    """Thin: it makes the references. ``recorder`` writes, counts and limits."""

    def __init__(self, recorder: EventRecorder, node_name: str) -> None:
        self._recorder = recorder
        self._node = {"apiVersion": "v1", "kind": "Node", "name": node_name, "uid": node_name}

    def pod(self, pod: Object, kind: Kind, reason: str, message: str) -> None:
        self._recorder.event(object_reference(pod, "v1", "Pod"), kind, reason, message)

    def container(self, pod: Object, name: str, kind: Kind, reason: str, message: str, container_id: str = "") -> None:
        """A runtime's message that names ``container_id`` would never repeat: the name stands in for it."""
        reference = object_reference(pod, "v1", "Pod")
        reference["fieldPath"] = spec.container_field_path(pod, name)
        if container_id:
            message = message.replace(container_id, name)
        self._recorder.event(reference, kind, reason, message)

    def node(self, kind: Kind, reason: str, message: str) -> None:
        self._recorder.event(self._node, kind, reason, message)

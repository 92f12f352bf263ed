"""Audit events (audit.k8s.io/v1): what a request was, who asked, what was decided and answered.

    begin ─ RequestReceived ─┬─ ResponseStarted ─ (a watch, an exec …) ─┬─ ResponseComplete
                             ├───────────────────────────────────────────┤
                             └─ Panic ───────────────────────────────────┘

Each stage is a line of the log, unless the policy omits it. Without a policy nothing of this is made.
"""

from __future__ import annotations

from typing import Any

import orjson

from cybernetes.core.auth.attributes import Attributes
from cybernetes.core.auth.user import User
from cybernetes.core.clock import Clock, Random, format_micro_time
from cybernetes.core.errors import ApiError
from cybernetes.core.objects import Gvk, Object
from cybernetes.services.apiserver.audit.log import AuditLog
from cybernetes.services.apiserver.audit.policy import LEVELS, Judgement, Policy

_METADATA, _REQUEST, _RESPONSE = (LEVELS.index(name) for name in ("Metadata", "Request", "RequestResponse"))
_ID_LENGTH_MAX = 64


class Record:
    """The event of one request while it goes on."""

    __slots__ = ("_auditing", "_event", "_is_complete", "_judgement", "annotations")

    def __init__(self, auditing: Auditing, judgement: Judgement, event: Object) -> None:
        self._auditing = auditing
        self._judgement = judgement
        self._event = event
        self._is_complete = False
        #: What authorizers and admission want to be noted. Shared with them.
        self.annotations: dict[str, str] = {}

    @property
    def wants_request(self) -> bool:
        return self._judgement.level >= _REQUEST

    @property
    def wants_response(self) -> bool:
        return self._judgement.level >= _RESPONSE

    def received(self) -> None:
        self._write("RequestReceived", self._event["requestReceivedTimestamp"])

    def decided(self, allowed: bool, reason: str) -> None:
        """What authorization said."""
        self.annotations["authorization.k8s.io/decision"] = "allow" if allowed else "forbid"
        self.annotations["authorization.k8s.io/reason"] = reason

    def sent(self, body: bytes, obj: Any = None, kind: Gvk | None = None) -> None:
        """What the client sent: an object, or its JSON. ``kind`` is what it must be, where it does not say so."""
        if not self.wants_request:
            return
        if obj is None:
            try:
                obj = orjson.loads(body)
            except orjson.JSONDecodeError:
                return
        if kind is not None and isinstance(obj, dict):
            obj = {"kind": kind.kind, "apiVersion": kind.api_version, **obj}
        self._event["requestObject"] = self._shown(obj)
        reference = self._event.get("objectRef")
        metadata = obj.get("metadata") if isinstance(obj, dict) else None
        if reference is not None and isinstance(metadata, dict):
            for name in ("name", "uid", "resourceVersion"):
                if metadata.get(name) and name not in reference:
                    reference[name] = metadata[name]

    def started(self, code: int = 200) -> None:
        """The head of an answer that goes on has left."""
        self._event["responseStatus"] = {"metadata": {}, "code": code}
        self._write("ResponseStarted")

    def complete(self, code: int, error: ApiError | None = None, obj: Any = None) -> None:
        """The whole answer. Only the first call counts."""
        if self._is_complete:
            return
        self._is_complete = True
        if error is not None:
            obj = error.status
        if isinstance(obj, dict) and obj.get("kind") == "Status":
            status = {name: value for name, value in obj.items() if name not in ("kind", "apiVersion")}
            self._event["responseStatus"] = {**status, "code": code}
        else:
            self._event["responseStatus"] = {"metadata": {}, "code": code}
        if obj is not None and self.wants_response:
            self._event["responseObject"] = self._shown(obj)
        self._write("Panic" if error is None and code == 500 else "ResponseComplete")

    def _shown(self, obj: Any) -> Any:
        if self._judgement.omits_managed_fields and isinstance(obj, dict):
            if isinstance(obj.get("items"), list):
                return {**obj, "items": [self._shown(item) for item in obj["items"]]}
            if isinstance(obj.get("metadata"), dict) and "managedFields" in obj["metadata"]:
                metadata = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
                return {**obj, "metadata": metadata}
        return obj

    def _write(self, stage: str, at: str = "") -> None:
        if stage in self._judgement.omitted_stages:
            return
        event = {**self._event, "stage": stage, "stageTimestamp": at or self._auditing.now()}
        if self.annotations:
            event["annotations"] = self.annotations
        self._auditing.log.write(orjson.dumps(event))


class Auditing:
    """The policy and the log of one server."""

    def __init__(self, policy: Policy, log: AuditLog, clock: Clock, random: Random) -> None:
        self.log = log
        self._policy = policy
        self._clock = clock
        self._random = random

    def now(self) -> str:
        return format_micro_time(self._clock.now())

    def begin(
        self,
        user: User,
        request: Attributes,
        *,
        uri: str,
        user_agent: str = "",
        source: str = "",
        audit_id: str = "",
        impersonator: User | None = None,
    ) -> Record | None:
        """The record of a request, None when nothing of it is noted. ``impersonator`` is who asks for ``user``."""
        judgement = self._policy.judge(impersonator or user, request)
        if judgement.level < _METADATA:
            return None
        event: Object = {
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": LEVELS[judgement.level],
            "auditID": audit_id if 0 < len(audit_id) <= _ID_LENGTH_MAX else self._random.uid(),
            "stage": "",
            "requestURI": uri,
            "verb": request.verb,
            "user": (impersonator or user).as_dict() if user.name else {},
        }
        if impersonator is not None:
            event["impersonatedUser"] = user.as_dict()
        if source:
            event["sourceIPs"] = [source]
        if user_agent:
            event["userAgent"] = user_agent[:1024]
        if not request.path:
            reference = {
                "resource": request.resource,
                "namespace": request.namespace,
                "name": request.name,
                "apiGroup": request.group,
                "apiVersion": request.version,
                "subresource": request.subresource,
            }
            event["objectRef"] = {name: value for name, value in reference.items() if value}
        event["requestReceivedTimestamp"] = self.now()
        record = Record(self, judgement, event)
        record.received()
        return record

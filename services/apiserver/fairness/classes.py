"""Which FlowSchema a request belongs to (documentation "API Priority and Fairness"; upstream: flowcontrol/rule.go).

Of the schemas that match, the one with the lowest matchingPrecedence counts, of several the first by name. A schema
names the priority level where the request waits, and tells the flows inside it apart by user or by namespace.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from cybernetes.core.auth.attributes import Attributes
from cybernetes.core.auth.user import User
from cybernetes.core.objects import Object

_ACCOUNT = "system:serviceaccount:"


@dataclass(frozen=True, slots=True)
class FlowSchema:
    """A FlowSchema as requests are compared with it."""

    name: str
    uid: str
    precedence: int
    level: str
    #: ``ByUser``, ``ByNamespace`` or nothing: one flow for all.
    distinguisher: str
    rules: Sequence[Any]

    @classmethod
    def of(cls, obj: Object) -> FlowSchema:
        spec = obj["spec"]
        return cls(
            obj["metadata"]["name"],
            obj["metadata"].get("uid") or "",
            spec.get("matchingPrecedence") or 1000,
            spec["priorityLevelConfiguration"]["name"],
            (spec.get("distinguisherMethod") or {}).get("type") or "",
            spec.get("rules") or (),
        )

    def matches(self, user: User, request: Attributes) -> bool:
        return any(_matches_rule(rule, user, request) for rule in self.rules)

    def flow(self, user: User, request: Attributes) -> str:
        """Requests with the same text wait in the same queues."""
        if self.distinguisher == "ByUser":
            return user.name
        return request.namespace if self.distinguisher == "ByNamespace" else ""


def classify(schemas: Iterable[FlowSchema], user: User, request: Attributes) -> FlowSchema | None:
    """The schema of a request; ``schemas`` are in the order of their precedence."""
    return next((schema for schema in schemas if schema.matches(user, request)), None)


def in_order(schemas: Iterable[FlowSchema]) -> list[FlowSchema]:
    return sorted(schemas, key=lambda schema: (schema.precedence, schema.name))


def _matches_rule(rule: Any, user: User, request: Attributes) -> bool:
    if not any(_matches_subject(subject, user) for subject in rule.get("subjects") or ()):
        return False
    if request.path:
        return any(_matches_path(each, request) for each in rule.get("nonResourceRules") or ())
    return any(_matches_resource(each, request) for each in rule.get("resourceRules") or ())


def _matches_subject(subject: Any, user: User) -> bool:
    kind = subject.get("kind")
    if kind == "User":
        name = (subject.get("user") or {}).get("name")
        return name in ("*", user.name)
    if kind == "Group":
        name = (subject.get("group") or {}).get("name")
        return name == "*" or name in user.groups
    account = subject.get("serviceAccount")
    if kind != "ServiceAccount" or not account:
        return False
    prefix = f"{_ACCOUNT}{account.get('namespace')}:"
    return user.name.startswith(prefix) if account.get("name") == "*" else user.name == prefix + account.get("name", "")


def _matches_resource(rule: Any, request: Attributes) -> bool:
    resource = f"{request.resource}/{request.subresource}" if request.subresource else request.resource
    return (
        _contains(rule.get("verbs"), request.verb)
        and _contains(rule.get("resources"), resource)
        and _contains(rule.get("apiGroups"), request.group)
        and (
            _contains(rule.get("namespaces"), request.namespace)
            if request.namespace
            else bool(rule.get("clusterScope"))
        )
    )


def _matches_path(rule: Any, request: Attributes) -> bool:
    if not _contains(rule.get("verbs"), request.verb):
        return False
    for pattern in rule.get("nonResourceURLs") or ():
        prefix = pattern.removesuffix("*")
        if pattern in ("*", request.path) or request.path.startswith(prefix if prefix.endswith("/") else prefix + "/"):
            return True
    return False


def _contains(values: Sequence[str] | None, value: str) -> bool:
    return values is not None and (value in values or (len(values) == 1 and values[0] == "*"))

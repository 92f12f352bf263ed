"""Webhooks as their configurations describe them, and which writes concern them.

Hooks are asked in the order of the names of their configurations, within one in the order of its list. One concerns a
write when its namespace selector, its object selector, one of its rules and all of its match conditions fit; with the
match policy Equivalent a rule may also name another version of the resource, and the hook is shown the object in that.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from cybernetes.core.admission.expressions import Conditions, Request
from cybernetes.core.labels import Selector
from cybernetes.core.objects import NAMESPACES, Gvr, Object

#: Kinds that configure admission are exempt from it: a wrong webhook must not be in the way of its own removal.
EXEMPT = frozenset(
    {
        "mutatingadmissionpolicies",
        "mutatingadmissionpolicybindings",
        "mutatingwebhookconfigurations",
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
        "validatingwebhookconfigurations",
    }
)
EXEMPT_GROUP = "admissionregistration.k8s.io"


class Rule(NamedTuple):
    operations: tuple[str, ...]
    groups: tuple[str, ...]
    versions: tuple[str, ...]
    resources: tuple[tuple[str, str], ...]  # (resource, subresource)
    scope: str

    def matches(self, request: Request, resource: Gvr) -> bool:
        """Whether it names the request, taken as one for ``resource``."""
        return (
            self._is_in_scope(request, resource)
            and _has(self.operations, request.operation)
            and _has(self.groups, resource.group)
            and _has(self.versions, resource.version)
            and any(
                name in ("*", resource.resource) and part in ("*", request.subresource) for name, part in self.resources
            )
        )

    def _is_in_scope(self, request: Request, resource: Gvr) -> bool:
        if self.scope == "*":
            return True
        is_of_cluster = resource == NAMESPACES or not request.namespace
        return is_of_cluster if self.scope == "Cluster" else not is_of_cluster


def _has(values: Sequence[str], value: str) -> bool:
    return "*" in values or value in values


class ClientConfig(NamedTuple):
    """Where a webhook is: ``url``, or a Service (namespace, name, port, path). ``authorities`` is PEM, empty for those
    that the system trusts."""

    url: str
    service: tuple[str, str, int, str] | None
    authorities: bytes


@dataclass(slots=True)
class Hook:
    """One webhook. ``uid`` tells it apart from every other; ``is_mutating`` which kind it is."""

    uid: str
    configuration: str
    name: str
    is_mutating: bool
    client: ClientConfig
    rules: tuple[Rule, ...]
    fails_open: bool
    matches_equivalent: bool
    namespaces: Selector
    objects: Selector
    side_effects: str
    timeout_s: float
    review_versions: tuple[str, ...]
    is_reinvoked: bool
    conditions: Conditions

    def resource_of(self, request: Request, equivalents: Callable[[], Iterable[Gvr]]) -> Gvr | None:
        """As which resource a request concerns the hook by its rules; None when it does not."""
        if any(rule.matches(request, request.resource) for rule in self.rules):
            return request.resource
        if self.matches_equivalent:
            others = [other for other in equivalents() if other != request.resource]
            for rule in self.rules:
                for other in others:
                    if rule.matches(request, other):
                        return other
        return None


def client_config(raw: Mapping[str, Any]) -> ClientConfig:
    """Of ``clientConfig`` of a webhook (also of one that converts)."""
    service = raw.get("service")
    where = None
    if service is not None:
        where = service["namespace"], service["name"], int(service.get("port") or 443), service.get("path") or ""
    return ClientConfig(raw.get("url") or "", where, base64.b64decode(raw.get("caBundle") or ""))


def hooks_of(configurations: Iterable[Object], *, is_mutating: bool) -> tuple[Hook, ...]:
    """The webhooks of all configurations of one kind, in the order in which they are asked."""
    found: list[Hook] = []
    for configuration in sorted(configurations, key=lambda each: str(each["metadata"]["name"])):
        name = configuration["metadata"]["name"]
        counts: dict[str, int] = {}
        for raw in configuration.get("webhooks") or ():
            number = counts[raw["name"]] = counts.get(raw["name"], -1) + 1
            found.append(_hook(raw, name, f"{name}/{raw['name']}/{number}", is_mutating))
    return tuple(found)


def _hook(raw: Object, configuration: str, uid: str, is_mutating: bool) -> Hook:
    fails_open = raw.get("failurePolicy") == "Ignore"
    return Hook(
        uid=uid,
        configuration=configuration,
        name=raw["name"],
        is_mutating=is_mutating,
        client=client_config(raw["clientConfig"]),
        rules=tuple(map(_rule, raw.get("rules") or ())),
        fails_open=fails_open,
        matches_equivalent=raw.get("matchPolicy") == "Equivalent",
        namespaces=Selector.from_object(raw.get("namespaceSelector") or {}),
        objects=Selector.from_object(raw.get("objectSelector") or {}),
        side_effects=raw.get("sideEffects") or "",
        timeout_s=float(raw.get("timeoutSeconds") or 10),
        review_versions=tuple(raw.get("admissionReviewVersions") or ()),
        is_reinvoked=raw.get("reinvocationPolicy") == "IfNeeded",
        conditions=Conditions(raw.get("matchConditions") or (), fails_open=fails_open),
    )


def _rule(raw: Object) -> Rule:
    resources = [str(each).partition("/") for each in raw.get("resources") or ()]
    return Rule(
        tuple(raw.get("operations") or ()),
        tuple(raw.get("apiGroups") or ()),
        tuple(raw.get("apiVersions") or ()),
        tuple((name, part) for name, _, part in resources),
        raw.get("scope") or "*",
    )

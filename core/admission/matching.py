"""Which writes concern a webhook, a policy or a binding: selectors, rules, and other versions of the same resource.

A matcher concerns a write when its namespace selector and its object selector fit, no excluding rule does, and one of
its rules does (a binding without rules takes all). With the match policy Equivalent a rule may name another version, or
another group, of the same objects: then the object is shown in that.

A selector that cannot be answered (the namespace is not there) is an error, but only for what would match otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from cybernetes.core.admission.expressions import Request
from cybernetes.core.errors import ApiError
from cybernetes.core.labels import Selector
from cybernetes.core.objects import NAMESPACES, Gvr, Object, labels_of

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


@dataclass(frozen=True, slots=True)
class Write:
    """What is matched. ``obj`` and ``old`` as they are now; ``namespace_labels`` raises ApiError 404.

    ``equivalents`` are the other names under which the same objects are served.
    """

    request: Request
    obj: Object | None
    old: Object | None
    namespace_labels: Callable[[], Mapping[str, str]]
    equivalents: Callable[[], Iterable[Gvr]]


class Rule(NamedTuple):
    """``names`` is empty for all names."""

    operations: tuple[str, ...]
    groups: tuple[str, ...]
    versions: tuple[str, ...]
    resources: tuple[tuple[str, str], ...]  # (resource, subresource)
    scope: str
    names: tuple[str, ...] = ()

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
            and (not self.names or request.name in self.names)
        )

    def _is_in_scope(self, request: Request, resource: Gvr) -> bool:
        if self.scope == "*":
            return True
        is_of_cluster = resource == NAMESPACES or not request.namespace
        return is_of_cluster if self.scope == "Cluster" else not is_of_cluster


def rule_of(raw: Mapping[str, Any]) -> Rule:
    """A rule of a webhook or policy as its object has it."""
    resources = [str(each).partition("/") for each in raw.get("resources") or ()]
    return Rule(
        tuple(raw.get("operations") or ()),
        tuple(raw.get("apiGroups") or ()),
        tuple(raw.get("apiVersions") or ()),
        tuple((name, part) for name, _, part in resources),
        raw.get("scope") or "*",
        tuple(raw.get("resourceNames") or ()),
    )


class Matcher(NamedTuple):
    """``takes_all``: no rules means every resource, which is so for bindings."""

    namespaces: Selector
    objects: Selector
    rules: tuple[Rule, ...]
    excluded: tuple[Rule, ...]
    matches_equivalent: bool
    takes_all: bool = False

    def match(self, write: Write) -> Gvr | None:
        """As which resource the write matches; None when it does not. Raises ApiError 404 for a lost namespace."""
        problem: ApiError | None = None
        try:
            if not self._is_in_namespaces(write):
                return None
        except ApiError as error:
            problem = error
        if not self._selects_object(write):
            return None
        if self.excluded and self._by(self.excluded, write) is not None:
            return None
        found = write.request.resource if self.takes_all and not self.rules else self._by(self.rules, write)
        if found is not None and problem is not None:
            raise problem
        return found

    def _by(self, rules: Sequence[Rule], write: Write) -> Gvr | None:
        request = write.request
        own = request.resource
        for rule in rules:
            if rule.matches(request, own):
                return own
        if self.matches_equivalent:
            others = [other for other in write.equivalents() if other != own]
            for rule in rules:
                for other in others:
                    if rule.matches(request, other):
                        return other
        return None

    def _is_in_namespaces(self, write: Write) -> bool:
        request = write.request
        if self.namespaces.is_empty or (not request.namespace and request.resource.resource != "namespaces"):
            return True
        if (
            request.resource.resource == "namespaces"
            and not request.subresource
            and request.operation in ("CREATE", "UPDATE")
        ):
            return self.namespaces.matches(labels_of(write.obj or {}))
        return self.namespaces.matches(write.namespace_labels())

    def _selects_object(self, write: Write) -> bool:
        selector = self.objects
        if selector.is_empty:
            return True
        return any(
            selector.matches(labels_of(each))
            for each in (write.obj, write.old)
            if each is not None and "metadata" in each
        )


def matcher_of(
    namespaces: Mapping[str, Any] | None,
    objects: Mapping[str, Any] | None,
    rules: Iterable[Mapping[str, Any]],
    excluded: Iterable[Mapping[str, Any]],
    *,
    match_policy: str,
    takes_all: bool = False,
) -> Matcher:
    """From the parts of a configuration. Raises SelectorError."""
    return Matcher(
        Selector.from_object(namespaces or {}),
        Selector.from_object(objects or {}),
        tuple(map(rule_of, rules)),
        tuple(map(rule_of, excluded)),
        match_policy == "Equivalent",
        takes_all,
    )


def is_exempt(request: Request) -> bool:
    """Whether configured admission must not concern itself with it."""
    return request.resource.group == EXEMPT_GROUP and request.resource.resource in EXEMPT


def _has(values: Sequence[str], value: str) -> bool:
    return "*" in values or value in values


__all__ = ["Matcher", "Rule", "Write", "is_exempt", "matcher_of", "rule_of"]

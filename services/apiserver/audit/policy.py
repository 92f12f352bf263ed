"""The audit policy: which requests are noted, and how much of them (documentation "Auditing"; audit.k8s.io/v1).

The first rule that matches says the level: None, Metadata, Request (with what was sent) or RequestResponse (with what
was answered too). A request that no rule matches is not noted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from cybernetes.core.auth.attributes import Attributes
from cybernetes.core.auth.user import User
from cybernetes.core.objects import Object

LEVELS = ("None", "Metadata", "Request", "RequestResponse")
STAGES = ("RequestReceived", "ResponseStarted", "ResponseComplete", "Panic")
_LISTS = ("users", "userGroups", "verbs", "namespaces", "nonResourceURLs", "omitStages")


class PolicyError(ValueError):
    """A policy that makes no sense. The text says where."""


class Judgement(NamedTuple):
    """``level`` is a number, 0 for None."""

    level: int
    omitted_stages: frozenset[str] = frozenset()
    omits_managed_fields: bool = False


NOT_NOTED = Judgement(0)


@dataclass(frozen=True, slots=True)
class _Rule:
    judgement: Judgement
    rule: Object

    def matches(self, user: User, request: Attributes) -> bool:
        rule = self.rule
        users, groups, verbs = rule.get("users"), rule.get("userGroups"), rule.get("verbs")
        if users and user.name not in users:
            return False
        if groups and not any(group in groups for group in user.groups):
            return False
        if verbs and request.verb not in verbs:
            return False
        if rule.get("namespaces") or rule.get("resources"):
            return not request.path and self._matches_resource(request)
        if rule.get("nonResourceURLs"):
            return bool(request.path) and any(_matches_path(request.path, each) for each in rule["nonResourceURLs"])
        return True

    def _matches_resource(self, request: Attributes) -> bool:
        namespaces, groups = self.rule.get("namespaces"), self.rule.get("resources")
        if namespaces and request.namespace not in namespaces:
            return False
        return not groups or any(_matches_group(each, request) for each in groups)


class Policy:
    """``of`` a file's content; then ask ``judge``."""

    def __init__(self, rules: Sequence[_Rule], default: Judgement) -> None:
        self._rules = rules
        self._default = default

    @classmethod
    def of(cls, content: Any) -> Policy:
        """Raises PolicyError."""
        if not isinstance(content, dict) or content.get("kind") != "Policy":
            raise PolicyError("the audit policy is no object of kind Policy")
        if content.get("apiVersion") != "audit.k8s.io/v1":
            raise PolicyError(f"the audit policy is of apiVersion {content.get('apiVersion')}, not audit.k8s.io/v1")
        rules = content.get("rules")
        if not isinstance(rules, list) or not rules:
            raise PolicyError("the audit policy has no rules")
        omitted = _stages(content, "the policy")
        omits = bool(content.get("omitManagedFields"))
        return cls(
            [_rule(rule, f"rules[{index}]", omitted, omits) for index, rule in enumerate(rules)],
            Judgement(0, omitted, omits),
        )

    def judge(self, user: User, request: Attributes) -> Judgement:
        for rule in self._rules:
            if rule.matches(user, request):
                return rule.judgement
        return self._default


def _rule(rule: Any, path: str, omitted: frozenset[str], omits: bool) -> _Rule:
    if not isinstance(rule, dict):
        raise PolicyError(f"{path} is no object")
    level = rule.get("level")
    if level not in LEVELS:
        raise PolicyError(f"{path}.level: {level!r} is none of {', '.join(LEVELS)}")
    for name in _LISTS:
        values = rule.get(name)
        if values is not None and not (isinstance(values, list) and all(isinstance(each, str) for each in values)):
            raise PolicyError(f"{path}.{name} is no list of texts")
    groups = rule.get("resources")
    if groups is not None and not (isinstance(groups, list) and all(isinstance(each, dict) for each in groups)):
        raise PolicyError(f"{path}.resources is no list of objects")
    if rule.get("nonResourceURLs") and (groups or rule.get("namespaces")):
        raise PolicyError(f"{path}: rules cannot apply to both regular resources and non-resource URLs")
    own = rule.get("omitManagedFields")
    judgement = Judgement(LEVELS.index(level), omitted | _stages(rule, path), omits if own is None else bool(own))
    return _Rule(judgement, rule)


def _stages(content: Object, path: str) -> frozenset[str]:
    stages = content.get("omitStages") or ()
    for stage in stages:
        if stage not in STAGES:
            raise PolicyError(f"{path}: {stage!r} is no stage")
    return frozenset(stages)


def _matches_group(group: Object, request: Attributes) -> bool:
    if (group.get("group") or "") not in ("*", request.group):
        return False
    resources = group.get("resources") or ()
    if not resources:
        return True
    names = group.get("resourceNames") or ()
    if names and request.name not in names and "*" not in resources:
        return False
    combined = f"{request.resource}/{request.subresource}" if request.subresource else request.resource
    for pattern in resources:
        if pattern in ("*", combined):
            return not names or request.name in names
        if request.subresource and pattern in (f"*/{request.subresource}", f"{request.resource}/*"):
            return True
    return False


def _matches_path(path: str, pattern: str) -> bool:
    return pattern in ("*", path) or (pattern.endswith("*") and path.startswith(pattern.rstrip("*")))

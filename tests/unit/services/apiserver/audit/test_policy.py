"""Audit policies: which rule a request meets, and which files are none."""

from __future__ import annotations

from typing import Any

import pytest

from cybernetes.core.auth.attributes import Attributes
from cybernetes.core.auth.user import User
from cybernetes.services.apiserver.audit.policy import LEVELS, Policy, PolicyError

JANE = User("jane", groups=("dev",))
PODS = Attributes("get", "", "v1", "pods", "", "a", "p")
STATUS = PODS._replace(subresource="status")
HEALTH = Attributes("get", path="/healthz/ping")


def policy(*rules: Any, **rest: Any) -> Policy:
    return Policy.of({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": list(rules), **rest})


@pytest.mark.parametrize(
    ("rule", "request_", "matches"),
    [
        ({}, PODS, True),
        ({"users": ["jane"]}, PODS, True),
        ({"users": ["joe"]}, PODS, False),
        ({"userGroups": ["ops", "dev"]}, PODS, True),
        ({"userGroups": ["ops"]}, PODS, False),
        ({"verbs": ["get"]}, PODS, True),
        ({"verbs": ["list"]}, PODS, False),
        ({"namespaces": ["a"]}, PODS, True),
        ({"namespaces": ["b"]}, PODS, False),
        ({"namespaces": ["a"]}, HEALTH, False),
        ({"resources": [{"group": ""}]}, PODS, True),
        ({"resources": [{"group": "apps"}]}, PODS, False),
        ({"resources": [{"group": "*", "resources": ["pods"]}]}, PODS, True),
        ({"resources": [{"group": "", "resources": ["pods"]}]}, STATUS, False),
        ({"resources": [{"group": "", "resources": ["pods/status"]}]}, STATUS, True),
        ({"resources": [{"group": "", "resources": ["pods/*"]}]}, STATUS, True),
        ({"resources": [{"group": "", "resources": ["*/status"]}]}, STATUS, True),
        ({"resources": [{"group": "", "resources": ["*"]}]}, STATUS, True),
        ({"resources": [{"group": "", "resources": ["pods"], "resourceNames": ["p"]}]}, PODS, True),
        ({"resources": [{"group": "", "resources": ["pods"], "resourceNames": ["q"]}]}, PODS, False),
        ({"nonResourceURLs": ["/healthz*"]}, HEALTH, True),
        ({"nonResourceURLs": ["/healthz"]}, HEALTH, False),
        ({"nonResourceURLs": ["*"]}, PODS, False),
    ],
)
def test_rules(rule: Any, request_: Attributes, matches: bool) -> None:
    judgement = policy({"level": "Request", **rule}).judge(JANE, request_)
    assert LEVELS[judgement.level] == ("Request" if matches else "None")


def test_the_first_rule_counts_and_has_what_the_policy_says_for_all() -> None:
    own = {"level": "Metadata", "verbs": ["get"], "omitStages": ["ResponseStarted"], "omitManagedFields": False}
    both = policy(own, {"level": "RequestResponse"}, omitStages=["RequestReceived"], omitManagedFields=True)
    first = both.judge(JANE, PODS)
    assert LEVELS[first.level] == "Metadata" and not first.omits_managed_fields
    assert first.omitted_stages == {"RequestReceived", "ResponseStarted"}
    second = both.judge(JANE, PODS._replace(verb="list"))
    assert second.omits_managed_fields and second.omitted_stages == {"RequestReceived"}


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        {"apiVersion": "audit.k8s.io/v1", "kind": "Policy"},
        {"apiVersion": "audit.k8s.io/v1beta1", "kind": "Policy", "rules": [{"level": "None"}]},
        {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "Some"}]},
        {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "None", "users": "jane"}]},
        {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "None", "omitStages": ["X"]}]},
        {
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "rules": [{"level": "None", "nonResourceURLs": ["*"], "namespaces": ["a"]}],
        },
    ],
)
def test_what_is_no_policy(content: Any) -> None:
    with pytest.raises(PolicyError):
        Policy.of(content)

"""Defaults of flowcontrol.apiserver.k8s.io/v1, and of the groups with one default: scheduling and authentication."""

from __future__ import annotations

from cybernetes.core.api.defaulting.values import child, set_all
from cybernetes.core.objects import Object

#: Schemas that say nothing are matched after those that do.
MATCHING_PRECEDENCE = 1000
NOMINAL_SHARES = 30
_QUEUING = {"handSize": 8, "queues": 64, "queueLengthLimit": 50}


def default_flow_schema(schema: Object) -> None:
    spec = child(schema, "spec")
    if not spec.get("matchingPrecedence"):
        spec["matchingPrecedence"] = MATCHING_PRECEDENCE


def default_priority_level(level: Object) -> None:
    spec = child(level, "spec")
    if spec.get("exempt") is not None:
        set_all(spec["exempt"], {"nominalConcurrencyShares": 0, "lendablePercent": 0})
    limited = spec.get("limited")
    if limited is not None:
        set_all(limited, {"nominalConcurrencyShares": NOMINAL_SHARES, "lendablePercent": 0})
        queuing = (limited.get("limitResponse") or {}).get("queuing")
        if queuing is not None:
            for key, value in _QUEUING.items():
                if not queuing.get(key):
                    queuing[key] = value


def default_priority_class(priority_class: Object) -> None:
    set_all(priority_class, {"preemptionPolicy": "PreemptLowerPriority"})


def default_token_request(request: Object) -> None:
    set_all(child(request, "spec"), {"expirationSeconds": 3600})

"""The rules in CEL of a CustomResourceDefinition: that they compile, that they may cost no more than they should.

What a rule may cost is multiplied by how often its schema can occur in one object: the limits of the lists and maps
around it, or, without such, what fits into a request. Upstream: apis/apiextensions/validation (CEL part).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cybernetes.core.api.custom.rules import Rule
from cybernetes.core.api.custom.structure import Structural
from cybernetes.core.api.fielderror import FieldError, forbidden, internal_error, invalid_value
from cybernetes.core.cel.ranges import MAX
from cybernetes.core.cel.schematypes import REQUEST_BYTES_MAX, Declared, declare

#: What one rule, and all rules of a definition, may be estimated to cost.
RULE_COST_MAX = 10_000_000
DEFINITION_COST_MAX = 100_000_000
_RULES = "x-kubernetes-validations"
_SHOWN_MAX = 4
#: The fields of a rule as messages show it.
_FIELDS = {
    "rule": "Rule",
    "message": "Message",
    "messageExpression": "MessageExpression",
    "reason": "Reason",
    "fieldPath": "FieldPath",
    "optionalOldSelf": "OptionalOldSelf",
}


def check_rules(schema: Mapping[str, Any], path: str) -> list[FieldError]:
    """The rules of the schema of one version, which is structural and without other errors. 0.5 ms a rule."""
    checker = _Checker()
    root = Structural(schema)
    checker.visit(schema, root, path, 1, "", is_root=True)
    errors = checker.errors
    if checker.total > DEFINITION_COST_MAX:
        expensive = sorted(checker.costs, reverse=True)[:_SHOWN_MAX]
        why = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"
        errors += [forbidden(at, why) for _, at in expensive]
        what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema"
        errors.append(forbidden(path, _exceeded(what, checker.total, DEFINITION_COST_MAX)))
    return errors


class _Checker:
    def __init__(self) -> None:
        self.errors: list[FieldError] = []
        self.total = 0
        self.costs: list[tuple[int, str]] = []

    def visit(
        self,
        raw: Mapping[str, Any],
        node: Structural,
        path: str,
        cardinality: int | None,
        uncorrelated: str,
        *,
        is_root: bool = False,
    ) -> None:
        """``cardinality``: how often the node can occur, None for any number; ``uncorrelated`` is the list above whose
        elements do not correspond to old ones."""
        below = _times(cardinality, raw)
        for name, inner in (raw.get("properties") or {}).items():
            child = node.field(name)
            if child is not None:
                at = f"{path}.properties[{name}]"
                self.visit(inner, child, at, below, uncorrelated, is_root=child.is_embedded)
        extra = raw.get("additionalProperties")
        if isinstance(extra, dict) and node.extra is not None:
            at = f"{path}.additionalProperties"
            self.visit(extra, node.extra, at, below, uncorrelated, is_root=node.extra.is_embedded)
        items = raw.get("items")
        if isinstance(items, dict) and node.items is not None:
            lost = uncorrelated if node.list_type == "map" else path
            self.visit(items, node.items, f"{path}.items", below, lost, is_root=node.items.is_embedded)
        for index, inner in enumerate(raw.get("allOf") or ()):
            self.visit(inner, node, f"{path}.allOf[{index}]", cardinality, uncorrelated, is_root=is_root)
        if raw.get(_RULES):
            self._check(raw[_RULES], node, f"{path}.{_RULES}", cardinality, uncorrelated, is_root=is_root)

    def _check(
        self,
        rules: list[Mapping[str, Any]],
        node: Structural,
        path: str,
        cardinality: int | None,
        uncorrelated: str,
        *,
        is_root: bool,
    ) -> None:
        declared = declare(node, is_root=is_root)
        if declared is None:
            why = "internal error: failed to construct type information for x-kubernetes-validations rules: "
            why += "unable to convert structural schema to CEL declarations"
            self.errors.append(internal_error(path, why))
            return
        count = cardinality if cardinality is not None else REQUEST_BYTES_MAX // (declared.bytes_min + 1)
        for index, raw in enumerate(rules):
            self._check_rule(raw, declared, f"{path}[{index}]", count, uncorrelated)

    def _check_rule(self, raw: Mapping[str, Any], declared: Declared, path: str, count: int, uncorrelated: str) -> None:
        rule = Rule(raw, declared)
        if rule.program is not None:
            cost = min(rule.program.estimate(declared.size_at).high * count, MAX)
            self._count(cost, f"{path}.rule", "estimated rule cost")
        if rule.error:
            self.errors.append(invalid_value(f"{path}.rule", _shown(raw), rule.error))
        if rule.message_error:
            self.errors.append(invalid_value(f"{path}.messageExpression", _shown(raw), rule.message_error))
        elif rule.message is not None:
            cost = rule.message.estimate(declared.size_at).high
            self._count(cost, f"{path}.messageExpression", "estimated messageExpression cost")
        if rule.uses_old:
            if uncorrelated:
                why = f"oldSelf cannot be used on the uncorrelatable portion of the schema within {uncorrelated}"
                self.errors.append(invalid_value(f"{path}.rule", raw.get("rule") or "", why))
        elif raw.get("optionalOldSelf") is not None:
            why = "may not be set if oldSelf is not used in rule"
            self.errors.append(invalid_value(f"{path}.optionalOldSelf", raw["optionalOldSelf"], why))

    def _count(self, cost: int, path: str, what: str) -> None:
        if cost > RULE_COST_MAX:
            self.errors.append(forbidden(path, _exceeded(what, cost, RULE_COST_MAX)))
        self.total = min(self.total + cost, MAX)
        if cost >= DEFINITION_COST_MAX // 100:
            self.costs.append((cost, path))


def _times(cardinality: int | None, raw: Mapping[str, Any]) -> int | None:
    """How often what is inside a schema can occur."""
    factor: int | None = 1
    if raw.get("type") == "array":
        factor = raw.get("maxItems")
    elif raw.get("type") == "object" and raw.get("additionalProperties") is not None:
        factor = raw.get("maxProperties")
    if cardinality is None or factor is None:
        return None
    return min(cardinality * max(factor, 0), MAX)


def _shown(raw: Mapping[str, Any]) -> dict[str, Any]:
    texts = ("rule", "message", "messageExpression", "fieldPath")
    return {label: raw.get(field) or ("" if field in texts else None) for field, label in _FIELDS.items()}


def _exceeded(what: str, cost: int, limit: int) -> str:
    factor = cost / limit
    shown = "more than 100x" if factor > 100 else f"{factor:f}x" if factor < 1.5 else f"{factor:.1f}x"
    return (
        f"{what} exceeds budget by factor of {shown} (try simplifying the rule, or adding maxItems, maxProperties, and "
        "maxLength where arrays, maps, and strings are declared)"
    )

"""Labels of nodes that have new names, wherever nodes are selected."""

from __future__ import annotations

from cybernetes.core.api.defaulting.values import items
from cybernetes.core.labels.syntax import value_errors
from cybernetes.core.objects import Object

_DEPRECATED = {
    "beta.kubernetes.io/arch": 'deprecated since v1.14; use "kubernetes.io/arch" instead',
    "beta.kubernetes.io/os": 'deprecated since v1.14; use "kubernetes.io/os" instead',
    "failure-domain.beta.kubernetes.io/region": 'deprecated since v1.17; use "topology.kubernetes.io/region" instead',
    "failure-domain.beta.kubernetes.io/zone": 'deprecated since v1.17; use "topology.kubernetes.io/zone" instead',
    "beta.kubernetes.io/instance-type": 'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead',
    "app.kubernetes.io/created-by": "deprecated since v1.9",
    "scheduler.alpha.kubernetes.io/preferAvoidPods": "deprecated since v1.22; use Taints and Tolerations instead",
    "node-role.kubernetes.io/master": 'use "node-role.kubernetes.io/control-plane" instead',
}


def of_labels(labels: Object | None, path: str) -> list[str]:
    """Labels that nodes must have: ``nodeSelector``."""
    return [f"{path}[{key}]: {_DEPRECATED[key]}" for key in labels or () if key in _DEPRECATED]


def of_key(key: str, path: str) -> list[str]:
    return [f"{path}: {key} is {_DEPRECATED[key]}"] if key in _DEPRECATED else []


def of_term(term: Object, path: str, *, checks_values: bool = False) -> list[str]:
    """A term of a NodeSelector."""
    warnings: list[str] = []
    for index, expression in enumerate(items(term, "matchExpressions")):
        at = f"{path}.matchExpressions[{index}]"
        warnings += of_key(expression.get("key") or "", f"{at}.key")
        for position, value in enumerate(expression.get("values") or () if checks_values else ()):
            warnings += [f"{at}.values[{position}]: {value} is invalid, {text}" for text in value_errors(value)]
    return warnings


def of_selector(selector: Object | None, path: str) -> list[str]:
    """A LabelSelector that is applied to nodes."""
    warnings: list[str] = []
    for index, expression in enumerate(items(selector, "matchExpressions")):
        warnings += of_key(expression.get("key") or "", f"{path}.matchExpressions[{index}].key")
    labels = (selector or {}).get("matchLabels") or ()
    return warnings + [f"{path}.matchLabels.{key}: {_DEPRECATED[key]}" for key in labels if key in _DEPRECATED]


def of_topologies(terms: list[Object], path: str) -> list[str]:
    """``allowedTopologies`` of a storage class."""
    warnings: list[str] = []
    for index, term in enumerate(terms):
        for position, expression in enumerate(items(term, "matchLabelExpressions")):
            message = _DEPRECATED.get(expression.get("key") or "")
            if message is not None:
                warnings.append(f"{path}[{index}].matchLabelExpressions[{position}].key: {message}")
    return warnings

"""ClusterRoles that are made of others: the union of the rules of every role that an ``aggregationRule`` selects.

Rules are joined in the order of the roles' names, each once. A change of any ClusterRole has every aggregating role
looked at; there are few. Upstream: pkg/controller/clusterroleaggregation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cybernetes.core.controllers.interface import Patch, Steps, View, Watch
from cybernetes.core.labels import Selector, SelectorError
from cybernetes.core.objects import CLUSTER_ROLES, Object, labels_of


def _keys(old: Object | None, new: Object | None, view: View) -> Iterable[str]:
    return [role["metadata"]["name"] for role in view.list(CLUSTER_ROLES) if role.get("aggregationRule")]


class ClusterRoleAggregation:
    name = "clusterrole-aggregation-controller"
    service_account = "clusterrole-aggregation-controller"
    workers = 5
    watches = (Watch(CLUSTER_ROLES, _keys),)

    def reconcile(self, key: str, view: View, now: float) -> Steps:
        role = view.get(CLUSTER_ROLES, "", key)
        if role is None or not role.get("aggregationRule"):
            return
        rules = aggregate(role, view.list(CLUSTER_ROLES))
        if rules != (role.get("rules") or []):
            precondition = {"resourceVersion": role["metadata"]["resourceVersion"]}
            yield Patch(CLUSTER_ROLES, key, {"metadata": precondition, "rules": rules})


def aggregate(role: Mapping[str, Any], roles: Iterable[Object]) -> list[Any]:
    """The rules of the roles that ``role`` selects, itself excepted."""
    selectors = []
    for text in role["aggregationRule"].get("clusterRoleSelectors") or ():
        try:
            selectors.append(Selector.from_object(text))
        except SelectorError:
            continue  # validation lets none in; one that is there anyway selects nothing
    rules: list[Any] = []
    for other in sorted(roles, key=lambda other: str(other["metadata"]["name"])):
        if other["metadata"]["name"] == role["metadata"]["name"]:
            continue
        if any(selector.matches(labels_of(other)) for selector in selectors):
            rules += [rule for rule in other.get("rules") or () if rule not in rules]
    return rules

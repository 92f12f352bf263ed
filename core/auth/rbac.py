"""Role-based access control: from roles and bindings to a decision in microseconds, however many bindings there are.

The question is always "may this user do this here", so bindings are kept by subject and namespace:

    ClusterRoleBinding "ops"  -> Group "admins", ClusterRole "edit"      cluster.groups["admins"] = {ops: grant}
    RoleBinding "dev/team"    -> User "jane", Role "pods"                namespaces["dev"].users["jane"] = {team: grant}

A decision looks at the user's name and each of its groups in two such tables, and asks only the roles found there. A
role is compiled into a table from (group, resource) to verb to names, so that it is asked by at most twelve look-ups,
not by reading its rules. Grants name their roles: a role that changes, appears or goes needs no change here.

Rules only ever allow. A binding to a role that does not exist is no error unless nothing else allows: then the refusal
says so. What was decided is kept until any role or binding changes; only decisions that do not depend on the object's
name are kept, so that names do not fill the table.

Source: KEP and documentation "Using RBAC Authorization".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from cybernetes.core.auth.attributes import Attributes, Decision
from cybernetes.core.auth.user import User, node_of, service_account_name
from cybernetes.core.errors import quoted
from cybernetes.core.objects import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES, Gvr, Object

#: Rules of the API: dicts with verbs, apiGroups, resources, resourceNames, nonResourceURLs.
Rule = Mapping[str, Any]

#: The collections to be told of.
GVRS = (ROLES, CLUSTER_ROLES, ROLE_BINDINGS, CLUSTER_ROLE_BINDINGS)

_KEEP_MAX = 16_384

#: Names for which a verb is allowed; None: whatever the name.
_Names = frozenset[str] | None
_MISSING: Final = frozenset[str]()


class Rules:
    """The rules of one role, compiled. ``rules`` are the object's own and read-only."""

    __slots__ = ("_paths", "_resources", "rules")

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules: tuple[Rule, ...] = tuple(rules)
        self._resources: dict[tuple[str, str], dict[str, _Names]] = {}
        self._paths: list[tuple[frozenset[str], frozenset[str], tuple[str, ...]]] = []
        for rule in self.rules:
            verbs = rule.get("verbs") or ()
            names: _Names = frozenset(rule.get("resourceNames") or ()) or None
            for group in rule.get("apiGroups") or ():
                for resource in rule.get("resources") or ():
                    table = self._resources.setdefault((group, resource), {})
                    for verb in verbs:
                        known = table.get(verb, _MISSING)
                        table[verb] = None if names is None or known is None else known | names
            paths = rule.get("nonResourceURLs") or ()
            if paths:
                prefixes = tuple(path.rstrip("*") for path in paths if path.endswith("*"))
                self._paths.append((frozenset(verbs), frozenset(paths), prefixes))

    def allow(self, attributes: Attributes) -> bool:
        """Whether these rules alone allow the request."""
        if attributes.path:
            return self.allow_path(attributes.verb, attributes.path)
        names = self.names_for(attributes)
        return names is None or attributes.name in names

    def names_for(self, attributes: Attributes) -> _Names:
        """The names for which these rules allow the request; None for any, empty when it does not."""
        found = _MISSING
        group, combined, verb = attributes.group, attributes.combined, attributes.verb
        keys = [(group, combined), ("*", combined), (group, "*"), ("*", "*")]
        if attributes.subresource:
            anything = f"*/{attributes.subresource}"
            keys += [(group, anything), ("*", anything)]
        for key in keys:
            table = self._resources.get(key)
            if table is None:
                continue
            for each in (verb, "*"):
                names = table.get(each, _MISSING)
                if names is None:
                    return None
                found |= names
        return found

    def allow_path(self, verb: str, path: str) -> bool:
        for verbs, exact, prefixes in self._paths:
            if verb not in verbs and "*" not in verbs:
                continue
            if path in exact or any(path.startswith(prefix) for prefix in prefixes):
                return True
        return False


class _Grant(NamedTuple):
    """One subject of one binding."""

    role_kind: str
    role_name: str
    namespace: str
    text: str


_Grants = dict[str, _Grant]


class _Subjects:
    """The bindings of one namespace, or of the cluster, by who they are for."""

    __slots__ = ("groups", "users")

    def __init__(self) -> None:
        self.users: dict[str, _Grants] = {}
        self.groups: dict[str, _Grants] = {}

    def of(self, user: User) -> Iterator[_Grant]:
        grants = self.users.get(user.name)
        if grants:
            yield from grants.values()
        for group in user.groups:
            grants = self.groups.get(group)
            if grants:
                yield from grants.values()


class Authorizer:
    """The roles and bindings of the cluster, kept up to date by ``put`` and ``discard``."""

    def __init__(self) -> None:
        self._roles: dict[tuple[str, str], Rules] = {}
        self._namespaces: dict[str, _Subjects] = {"": _Subjects()}
        self._bindings: dict[tuple[str, str], list[tuple[dict[str, _Grants], str]]] = {}
        self._kept: dict[tuple[Any, ...], Decision] = {}

    def put(self, gvr: Gvr, obj: Object) -> None:
        """A role or binding as it is now. Keeps parts of ``obj``, which must not change."""
        metadata = obj["metadata"]
        namespace, name = metadata.get("namespace", ""), metadata["name"]
        self._kept.clear()
        if gvr in (ROLES, CLUSTER_ROLES):
            self._roles[namespace, name] = Rules(obj.get("rules") or ())
        elif gvr in (ROLE_BINDINGS, CLUSTER_ROLE_BINDINGS):
            self._unbind(namespace, name)
            self._bind(namespace, name, obj)
        else:
            raise ValueError(f"RBAC has no {gvr.qualified}")

    def discard(self, gvr: Gvr, namespace: str, name: str) -> None:
        """A role or binding is gone. Unknown ones are ignored."""
        self._kept.clear()
        if gvr in (ROLES, CLUSTER_ROLES):
            self._roles.pop((namespace, name), None)
        else:
            self._unbind(namespace, name)

    def replace(self, gvr: Gvr, objects: Iterable[Object]) -> None:
        """All objects of a collection as they are now: others are gone."""
        is_role, is_cluster_wide = gvr in (ROLES, CLUSTER_ROLES), gvr in (CLUSTER_ROLES, CLUSTER_ROLE_BINDINGS)
        known = [key for key in (self._roles if is_role else self._bindings) if is_cluster_wide == (not key[0])]
        for namespace, name in known:
            self.discard(gvr, namespace, name)
        for obj in objects:
            self.put(gvr, obj)

    def authorize(self, user: User, attributes: Attributes) -> Decision:
        """Whether any rule allows it, and by which binding; else which bindings name roles that do not exist."""
        if attributes.path:
            key: tuple[Any, ...] = (user.name, user.groups, attributes.verb, attributes.path)
        else:
            # Not the version and not the name: the first never decides, the second seldom.
            key = (
                user.name,
                user.groups,
                attributes.verb,
                attributes.group,
                attributes.resource,
                attributes.subresource,
                attributes.namespace,
            )
        kept = self._kept.get(key)
        if kept is not None:
            return kept
        decision, depends_on_name = self._decide(user, attributes)
        if not depends_on_name:
            if len(self._kept) >= _KEEP_MAX:
                self._kept.clear()
            self._kept[key] = decision
        return decision

    def rules_for(self, user: User, namespace: str) -> tuple[list[Rule], list[str]]:
        """Every rule that holds for ``user`` in ``namespace`` (and cluster-wide), and what is missing."""
        rules: list[Rule] = []
        missing: list[str] = []
        for grant in self._grants(user, namespace):
            role = self._role(grant)
            if role is None:
                missing.append(_missing_text(grant))
            else:
                rules += role.rules
        return rules, missing

    def role_rules(self, reference: Mapping[str, str], namespace: str) -> tuple[Rule, ...] | None:
        """The rules of the role that a binding in ``namespace`` ("" for cluster bindings) refers to.

        None: no such role.
        """
        grant = _Grant(reference.get("kind", ""), reference.get("name", ""), namespace, "")
        role = self._role(grant)
        return None if role is None else role.rules

    def _decide(self, user: User, attributes: Attributes) -> tuple[Decision, bool]:
        missing: list[str] = []
        depends_on_name = False
        for grant in self._grants(user, attributes.namespace):
            role = self._role(grant)
            if role is None:
                missing.append(_missing_text(grant))
                continue
            if attributes.path:
                if role.allow_path(attributes.verb, attributes.path):
                    return Decision(True, f"RBAC: allowed by {grant.text}"), False
                continue
            names = role.names_for(attributes)
            if names is None:
                return Decision(True, f"RBAC: allowed by {grant.text}"), depends_on_name
            if names:
                depends_on_name = True
                if attributes.name in names:
                    return Decision(True, f"RBAC: allowed by {grant.text}"), True
        return Decision(False, f"RBAC: {_aggregate(missing)}" if missing else ""), depends_on_name

    def _grants(self, user: User, namespace: str) -> Iterator[_Grant]:
        yield from self._namespaces[""].of(user)
        if namespace:
            subjects = self._namespaces.get(namespace)
            if subjects is not None:
                yield from subjects.of(user)

    def _role(self, grant: _Grant) -> Rules | None:
        if grant.role_kind == "ClusterRole":
            return self._roles.get(("", grant.role_name))
        if grant.role_kind == "Role" and grant.namespace:
            return self._roles.get((grant.namespace, grant.role_name))
        return None

    def _bind(self, namespace: str, name: str, binding: Object) -> None:
        reference = binding.get("roleRef") or {}
        kind, role = reference.get("kind", ""), reference.get("name", "")
        subjects = self._namespaces.setdefault(namespace, _Subjects())
        whose = f"RoleBinding {quoted(f'{name}/{namespace}')}" if namespace else f"ClusterRoleBinding {quoted(name)}"
        places = self._bindings[namespace, name] = []
        for subject in binding.get("subjects") or ():
            subject_kind, subject_name = subject.get("kind", ""), subject.get("name", "")
            described = subject_name
            if subject_kind == "User":
                table, who = subjects.users, subject_name
            elif subject_kind == "Group":
                table, who = subjects.groups, subject_name
            elif subject_kind == "ServiceAccount":
                home = subject.get("namespace") or namespace
                if not home:
                    continue
                table, who = subjects.users, service_account_name(home, subject_name)
                described = f"{subject_name}/{home}"
            else:
                continue
            grants = table.setdefault(who, {})
            if name not in grants:
                text = f"{whose} of {kind} {quoted(role)} to {subject_kind} {quoted(described)}"
                grants[name] = _Grant(kind, role, namespace, text)
                places.append((table, who))

    def _unbind(self, namespace: str, name: str) -> None:
        for table, who in self._bindings.pop((namespace, name), ()):
            grants = table[who]
            del grants[name]
            if not grants:
                del table[who]
        subjects = self._namespaces.get(namespace)
        if namespace and subjects is not None and not subjects.users and not subjects.groups:
            del self._namespaces[namespace]


def review(authorizer: Authorizer, user: User, namespace: str) -> dict[str, Any]:
    """The status of a SelfSubjectRulesReview: what ``kubectl auth can-i --list`` shows."""
    rules, missing = authorizer.rules_for(user, namespace)
    resource_rules = []
    path_rules = []
    for rule in rules:
        if rule.get("resources"):
            shown = {
                key: list(rule[key]) for key in ("verbs", "apiGroups", "resources", "resourceNames") if rule.get(key)
            }
            resource_rules.append(shown)
        if rule.get("nonResourceURLs"):
            path_rules.append({"verbs": list(rule["verbs"]), "nonResourceURLs": list(rule["nonResourceURLs"])})
    status: dict[str, Any] = {"resourceRules": resource_rules, "nonResourceRules": path_rules, "incomplete": False}
    if node_of(user) is not None:
        # What it may do of its own no rules can say.
        missing.insert(0, "node authorizer does not support user rule resolution")
        status["incomplete"] = True
    if missing:
        status["evaluationError"] = _aggregate(missing)
    return status


def aggregate(role: Object, roles: Iterable[Object]) -> list[Rule] | None:
    """The rules that an aggregated ClusterRole should have; None when ``role`` is not aggregated.

    For each of its selectors in turn, the rules of the matching roles in order of their names, each rule once.
    """
    from cybernetes.core.labels import Selector

    aggregation = role.get("aggregationRule")
    if aggregation is None:
        return None
    own = role["metadata"]["name"]
    others = sorted((other for other in roles if other["metadata"]["name"] != own), key=_name)
    rules: list[Rule] = []
    for selector_object in aggregation.get("clusterRoleSelectors") or ():
        selector = Selector.from_object(selector_object)
        for other in others:
            if selector.matches(other["metadata"].get("labels") or {}):
                for rule in other.get("rules") or ():
                    if rule not in rules:
                        rules.append(rule)
    return rules


def _name(role: Object) -> str:
    name: str = role["metadata"]["name"]
    return name


def _missing_text(grant: _Grant) -> str:
    if grant.role_kind in ("ClusterRole", "Role"):
        return f"{grant.role_kind.lower()}.rbac.authorization.k8s.io {quoted(grant.role_name)} not found"
    return f"unsupported role reference kind: {quoted(grant.role_kind)}"


def _aggregate(texts: list[str]) -> str:
    unique = list(dict.fromkeys(texts))
    return unique[0] if len(unique) == 1 else f"[{', '.join(unique)}]"

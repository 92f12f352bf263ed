"""Warnings for the status of a ValidatingAdmissionPolicy: expressions that cannot be right for a kind that it matches.

Policies are compiled without types, since they may match anything. Where the rules name kinds, the expressions are
compiled again for each, and what does not fit is told. It changes nothing of what the policy does.
(apiserver, admission/plugin/policy/validating/typechecking.go)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from cybernetes.core.admission.policies.composition import Composed
from cybernetes.core.admission.policies.definitions import variables_of
from cybernetes.core.cel.types import Type
from cybernetes.core.objects import Gvk, Gvr, Object

_TYPES_MAX = 10
_COMPILING = "compilation failed: "

#: The kind of a collection, and the type of a kind; None for what is not known.
KindOf = Callable[[Gvr], Gvk | None]
TypeOf = Callable[[Gvk], Type | None]


def warnings(policy: Object, kind_of: KindOf, type_of: TypeOf) -> list[Object]:
    """As ``status.typeChecking.expressionWarnings`` has them."""
    spec = policy["spec"]
    kinds = kinds_to_check(spec, kind_of)
    typed = [(kind, type_) for kind in kinds if (type_ := type_of(kind)) is not None]
    param = spec.get("paramKind")
    param_type = type_of(Gvk.of(param)) if param is not None else None
    composed = [(kind, _composed(spec, type_, param_type)) for kind, type_ in typed]
    found: list[Object] = []
    for index, validation in enumerate(spec.get("validations") or ()):
        for field in ("expression", "messageExpression"):
            source = validation.get(field)
            if not source:
                continue
            text = "\n".join(_complaints(source, composed))
            if text:
                found.append({"fieldRef": f"spec.validations[{index}].{field}", "warning": text})
    return found


def kinds_to_check(spec: Object, kind_of: KindOf) -> list[Gvk]:
    """The kinds that the rules name, without those that a wildcard stands for; ten at most."""
    found: set[Gvk] = set()
    for rule in (spec.get("matchConstraints") or {}).get("resourceRules") or ():
        groups, versions = rule.get("apiGroups") or (), rule.get("apiVersions") or ()
        if any("*" in each for each in (*groups, *versions)):
            continue
        resources = [each for each in rule.get("resources") or () if "*" not in each and "/" not in each]
        count = 0
        for gvr in (
            Gvr(group, version, resource)
            for group in sorted(groups)
            for version in sorted(versions)
            for resource in sorted(resources)
        ):
            kind = kind_of(gvr)
            if kind is None:
                continue
            found.add(kind)
            count += 1
            if count == _TYPES_MAX:
                return sorted(found)
    return sorted(found)


def _composed(spec: Object, type_: Type, param: Type | None) -> Composed:
    overrides = {"object": type_, "oldObject": type_}
    if param is not None:
        overrides["params"] = param
    return Composed(variables_of(spec), has_params=spec.get("paramKind") is not None, overrides=overrides)


def _complaints(source: str, composed: Iterable[tuple[Gvk, Composed]]) -> list[str]:
    found = []
    for kind, each in composed:
        problem = each.compile(source).problem
        if problem.startswith(_COMPILING):  # types are checked, no program is made
            found.append(f"{kind.api_version}, Kind={kind.kind}: {problem.removeprefix(_COMPILING)}\n")
    return found

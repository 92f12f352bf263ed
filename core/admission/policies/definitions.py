"""Policies and bindings as their objects describe them, compiled once; and which parameters a binding brings.

A policy does nothing without a binding. A binding of a policy with parameters names one, or selects some: then the
policy is evaluated once for each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from cybernetes.core.admission.expressions import Conditions
from cybernetes.core.admission.matching import Matcher, matcher_of
from cybernetes.core.admission.policies.composition import Composed
from cybernetes.core.labels import Selector
from cybernetes.core.objects import Object, labels_of


class Binding(NamedTuple):
    """``param_ref`` is None for a binding without; ``actions`` are those of a validating one."""

    name: str
    policy: str
    matcher: Matcher | None
    param_ref: Object | None
    actions: tuple[str, ...]


class ParamError(Exception):
    """The parameters of a binding cannot be had."""


class ParamSource(NamedTuple):
    """What holds objects of a policy's paramKind. ``get(namespace, name)``, ``list(namespace)``; "" is the cluster."""

    is_namespaced: bool
    get: Callable[[str, str], Object | None]
    list: Callable[[str], Iterable[Object]]


def matcher_from(resources: Object, *, takes_all: bool) -> Matcher:
    """Of matchConstraints or matchResources."""
    return matcher_of(
        resources.get("namespaceSelector"),
        resources.get("objectSelector"),
        resources.get("resourceRules") or (),
        resources.get("excludeResourceRules") or (),
        match_policy=resources.get("matchPolicy") or "Equivalent",
        takes_all=takes_all,
    )


def binding_of(obj: Object) -> Binding:
    spec = obj["spec"]
    resources = spec.get("matchResources")
    return Binding(
        obj["metadata"]["name"],
        spec["policyName"],
        matcher_from(resources, takes_all=True) if resources is not None else None,
        spec.get("paramRef"),
        tuple(spec.get("validationActions") or ()),
    )


class Policy:
    """What both kinds have. ``conditions`` see no namespace, as upstream's."""

    __slots__ = ("composed", "conditions", "fails_open", "matcher", "name", "param_kind", "spec", "uid")

    def __init__(self, obj: Object, composed: Composed) -> None:
        spec = self.spec = obj["spec"]
        self.name: str = obj["metadata"]["name"]
        self.uid: str = obj["metadata"].get("uid") or ""
        self.composed = composed
        self.param_kind: Object | None = spec.get("paramKind")
        self.fails_open = spec.get("failurePolicy") == "Ignore"
        self.matcher = matcher_from(spec.get("matchConstraints") or {}, takes_all=False)
        conditions = spec.get("matchConditions") or ()

        def compile_condition(source: str) -> tuple[Any, str]:
            from cybernetes.core.cel.types import BOOL

            compiled = composed.compile(source, (BOOL,))
            return compiled.program, compiled.problem

        self.conditions = Conditions(conditions, fails_open=self.fails_open, compile=compile_condition)


def variables_of(spec: Object) -> list[tuple[str, str]]:
    return [(each["name"], each["expression"]) for each in spec.get("variables") or ()]


def params_of(
    kind: Object | None, reference: Object | None, source: ParamSource | None, namespace: str
) -> list[Object | None]:
    """The parameters of one binding for a write in ``namespace``; one None for a policy without. Raises ParamError."""
    if kind is None or reference is None:
        return [None]
    if source is None:
        shown = f"&ParamKind{{APIVersion:{kind.get('apiVersion') or ''},Kind:{kind.get('kind') or ''},}}"
        raise ParamError(f"paramKind kind `{shown}` not known")
    own = reference.get("namespace") or ""
    place = ""
    if source.is_namespaced:
        place = own or namespace
        if not place:
            raise ParamError("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources")
    elif own:
        raise ParamError("paramRef.namespace must not be provided for a cluster-scoped `paramKind`")
    name, raw = reference.get("name") or "", reference.get("selector")
    found: list[Object | None]
    if name:
        param = source.get(place, name)
        found = [] if param is None else [param]
    elif raw is not None:
        selector = Selector.from_object(raw)
        found = [each for each in source.list(place) if selector.matches(labels_of(each))]
    else:
        raise ParamError("one of name or selector must be provided")
    if not found and reference.get("parameterNotFoundAction") == "Deny":
        raise ParamError("no params found for policy binding with `Deny` parameterNotFoundAction")
    return found

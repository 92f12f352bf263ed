"""CEL in admission: what expressions of match conditions and policies may speak of, and the conditions themselves.

    object, oldObject    what is written, and what is there; null where there is none
    request              who asks for what (an AdmissionRequest without uid and objects)
    namespaceObject      the namespace of the request, null for objects of the whole cluster
    authorizer, authorizer.requestResource    what the user of the request may do

(apiserver, admission/plugin/cel; documentation "Dynamic Admission Control", matchConditions; KEP-3716.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from cybernetes.core.auth.user import User
from cybernetes.core.cel import types
from cybernetes.core.cel.declarations import AUTHORIZER, RESOURCE_CHECK
from cybernetes.core.cel.errors import CompileError
from cybernetes.core.cel.program import Environment, Program
from cybernetes.core.cel.schematypes import Declared
from cybernetes.core.cel.types import Type
from cybernetes.core.cel.values import Timestamp, parse_timestamp
from cybernetes.core.objects import Gvk, Gvr, Object

#: What the match conditions of one webhook or policy may cost for one request.
CONDITIONS_COST_MAX = 2_500_000
_OUT_OF_BUDGET = "validation failed due to running out of cost budget, no further validation rules will be run"
_STRINGS = types.list_of(types.STRING)


@dataclass(frozen=True, slots=True)
class Request:
    """A request as configured admission sees it. ``resource`` and ``kind`` are those that were asked for; what a rule
    matched as equivalent is given to ``as_dict``. ``options`` is the object of its options, None for a CONNECT."""

    operation: str
    resource: Gvr
    subresource: str
    kind: Gvk
    namespace: str
    name: str
    user: User
    is_dry_run: bool = False
    options: Object | None = None

    def as_dict(self, resource: Gvr, kind: Gvk) -> Object:
        """An ``AdmissionRequest`` but for its uid and objects. ``resource`` and ``kind``: as which it was matched."""
        user = self.user
        info: Object = {"username": user.name, "groups": list(user.groups)}
        if user.uid:
            info["uid"] = user.uid
        if user.extra:
            info["extra"] = {key: list(values) for key, values in user.extra.items()}
        request: Object = {
            "kind": _parts(kind, "kind"),
            "resource": _parts(resource, "resource"),
            "requestKind": _parts(self.kind, "kind"),
            "requestResource": _parts(self.resource, "resource"),
            "operation": self.operation,
            "userInfo": info,
            "dryRun": self.is_dry_run,
            "options": self.options,
        }
        if self.subresource:
            request["subResource"] = request["requestSubResource"] = self.subresource
        if self.name:
            request["name"] = self.name
        if self.namespace:
            request["namespace"] = self.namespace
        return request


def _parts(named: Gvr | Gvk, last: str) -> Object:
    return {"group": named[0], "version": named[1], last: named[2]}


@lru_cache(maxsize=8)
def environment(*, has_params: bool = False, has_authorizer: bool = True) -> Environment:
    """What an expression is compiled with."""
    return Environment(variable_types(has_params=has_params, has_authorizer=has_authorizer))


def variable_types(*, has_params: bool = False, has_authorizer: bool = True) -> dict[str, Type]:
    """The types of the variables, for environments that have more of them."""
    variables = {
        "object": types.DYN,
        "oldObject": types.DYN,
        "namespaceObject": _namespace_type(),
        "request": _request_type(),
    }
    if has_params:
        variables["params"] = types.DYN
    if has_authorizer:
        variables |= {"authorizer": AUTHORIZER, "authorizer.requestResource": RESOURCE_CHECK}
    return variables


def _struct(type_name: str, /, **fields: Type) -> Type:
    convert = {types.TIMESTAMP: _timestamp}
    declared = {field: Declared(type_, name=field, convert=convert.get(type_)) for field, type_ in fields.items()}
    return types.struct(f"kubernetes.{type_name}", declared)


def _timestamp(text: str) -> Timestamp:
    return parse_timestamp(text)


@lru_cache(maxsize=1)
def _request_type() -> Type:
    text, words = types.STRING, _STRINGS
    kind = _struct("GroupVersionKind", group=text, version=text, kind=text)
    resource = _struct("GroupVersionResource", group=text, version=text, resource=text)
    user = _struct("UserInfo", username=text, uid=text, groups=words, extra=types.map_of(text, words))
    return _struct(
        "AdmissionRequest",
        kind=kind,
        resource=resource,
        subResource=text,
        requestKind=kind,
        requestResource=resource,
        requestSubResource=text,
        name=text,
        namespace=text,
        operation=text,
        userInfo=user,
        dryRun=types.BOOL,
        options=types.DYN,
    )


@lru_cache(maxsize=1)
def _namespace_type() -> Type:
    text, time, number = types.STRING, types.TIMESTAMP, types.INT
    condition = _struct(
        "NamespaceCondition", status=text, type=text, lastTransitionTime=time, message=text, reason=text
    )
    metadata = _struct(
        "NamespaceMetadata",
        name=text,
        generateName=text,
        namespace=text,
        labels=types.map_of(text, text),
        annotations=types.map_of(text, text),
        UID=text,
        creationTimestamp=time,
        deletionGracePeriodSeconds=number,
        deletionTimestamp=time,
        generation=number,
        resourceVersion=text,
        finalizers=_STRINGS,
    )
    return _struct(
        "Namespace",
        metadata=metadata,
        spec=_struct("NamespaceSpec", finalizers=_STRINGS),
        status=_struct("NamespaceStatus", conditions=types.list_of(condition), phase=text),
    )


class Matched(NamedTuple):
    """``failed``: the name of a condition that is false. ``error``: why it cannot be said, which fails the request."""

    matches: bool
    failed: str = ""
    error: str = ""


#: From an expression to its program, or what is wrong with it.
Compile = Callable[[str], tuple[Program | None, str]]


class Conditions:
    """Match conditions, compiled when they are first asked for."""

    __slots__ = ("_compile", "_compiled", "_fails_open", "_raw")

    def __init__(
        self, conditions: Sequence[Mapping[str, Any]], *, fails_open: bool, compile: Compile | None = None
    ) -> None:
        """``compile`` gives an expression's program, or what is wrong with it; by default ``compile_condition``."""
        self._raw = conditions
        self._fails_open = fails_open
        self._compile = compile or compile_condition
        self._compiled: list[tuple[str, str, Program | None, str]] | None = None

    def __bool__(self) -> bool:
        return bool(self._raw)

    def match(self, variables: Mapping[str, Any]) -> Matched:
        """Whether all of them hold. One that is false decides, whatever went wrong with others."""
        errors: list[str] = []
        left = CONDITIONS_COST_MAX
        composition = variables.get("variables")  # of a policy: what they cost is the condition's, too
        for name, source, program, problem in self._programs():
            if program is None:
                errors.append(problem)
                continue
            result = program.evaluate(variables)
            left -= result.cost + (composition.take_cost() if composition is not None else 0)
            if left < 0:
                errors = [_OUT_OF_BUDGET]
                break
            if result.error is not None:
                errors.append(f"expression '{source}' resulted in error: {result.error}")
            elif result.value is False:
                return Matched(False, failed=name)
        if not errors:
            return Matched(True)
        if self._fails_open:
            return Matched(False)
        unique = list(dict.fromkeys(errors))
        return Matched(False, error=unique[0] if len(unique) == 1 else f"[{', '.join(unique)}]")

    def _programs(self) -> list[tuple[str, str, Program | None, str]]:
        if self._compiled is None:
            self._compiled = []
            for each in self._raw:
                program, problem = self._compile(each["expression"])
                self._compiled.append((each["name"], each["expression"], program, f"compilation error: {problem}"))
        return self._compiled


def compile_condition(source: str, *, has_params: bool = False) -> tuple[Program | None, str]:
    """A condition's program, or what is wrong with it."""
    try:
        program = environment(has_params=has_params).compile(source)
    except CompileError as error:
        return None, f"{error.stage}: {error}"
    if program.type != types.BOOL:
        return None, f"must evaluate to bool but got {program.type.declared_name}"
    return program, ""

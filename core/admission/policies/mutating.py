"""What a MutatingAdmissionPolicy makes of an object: apply configurations that are merged in, and JSON patches.

(apiserver, admission/plugin/policy/mutating/patch)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cybernetes.core.admission import patchproblems
from cybernetes.core.admission.policies import patchtypes
from cybernetes.core.admission.policies.composition import Budget, Compiled, Composed, Composition, OutOfBudget
from cybernetes.core.admission.policies.definitions import Policy, variables_of
from cybernetes.core.api.apply import merging, validation
from cybernetes.core.api.apply.mergetypes import MergeType
from cybernetes.core.api.apply.values import ABSENT, MergeError
from cybernetes.core.api.patch import apply_json_patch
from cybernetes.core.cel import types
from cybernetes.core.cel.errors import EvaluationError
from cybernetes.core.errors import ApiError
from cybernetes.core.objects import Object, clone


class MutationError(Exception):
    """The mutation cannot be made; its text is for the client."""


class MutatingPolicy(Policy):
    """Compiled, ready to be asked. ``is_reinvoked``: also a second time, when others have changed the object since."""

    __slots__ = ("is_reinvoked", "mutations")

    def __init__(self, obj: Object) -> None:
        spec = obj["spec"]
        composed = Composed(
            variables_of(spec),
            has_params=spec.get("paramKind") is not None,
            structs=patchtypes.STRUCTS,
            build=patchtypes.build,
            functions=patchtypes.FUNCTIONS,
        )
        super().__init__(obj, composed)
        self.is_reinvoked = spec.get("reinvocationPolicy") == "IfNeeded"
        self.mutations = [_mutation(composed, raw) for raw in spec.get("mutations") or ()]

    def matches(self, variables: Mapping[str, Any]) -> tuple[bool, str]:
        """Whether the match conditions hold, and what is wrong with them."""
        if not self.conditions:
            return True, ""
        scope = Composition(self.composed, {**variables, "namespaceObject": None}).scope
        matched = self.conditions.match(scope)
        return matched.matches, matched.error


def _mutation(composed: Composed, raw: Object) -> Mutation:
    is_patch = raw["patchType"] == "JSONPatch"
    part = raw["jsonPatch" if is_patch else "applyConfiguration"]
    returns = types.list_of(patchtypes.PATCH_TYPE) if is_patch else patchtypes.OBJECT_TYPE
    return Mutation(composed, composed.compile(part["expression"], (returns,), makes_objects=True), is_patch)


class Mutation:
    """One step of a policy."""

    __slots__ = ("_compiled", "_composed", "is_patch")

    def __init__(self, composed: Composed, compiled: Compiled, is_patch: bool) -> None:
        self._composed = composed
        self._compiled = compiled
        #: Whether it makes a JSON patch, whose result may have no unknown fields.
        self.is_patch = is_patch

    def apply(self, obj: Object, variables: Mapping[str, Any], type_: MergeType) -> Object:
        """A new object made of ``obj``, which is that of ``variables``. Raises MutationError."""
        if self._compiled.program is None:
            raise MutationError(self._compiled.problem)
        try:
            value = Budget(Composition(self._composed, variables)).evaluate(self._compiled)
        except OutOfBudget as error:
            raise MutationError(str(error)) from None
        if value.error:
            raise MutationError(value.error)
        return _patched(obj, value.value) if self.is_patch else _merged(obj, value.value, type_)


def _patched(obj: Object, operations: list[Any]) -> Object:
    made: list[Object] = []
    for operation in operations:
        content = operation.get("value")
        if isinstance(content, patchtypes.Made) and (wrong := patchtypes.misplaced(content)):
            raise MutationError(f"type mismatch: {wrong}")
        step = {"op": operation.get("op") or "", "path": operation.get("path") or ""}
        if operation.get("from"):
            step["from"] = operation["from"]
        if "value" in operation:
            try:
                step["value"] = patchtypes.to_json(content)
            except EvaluationError as error:
                why = "JSONPath valueExpression evaluated to a type that could not marshal to JSON"
                raise MutationError(f"{why}: {error}") from None
        made.append(step)
    try:
        return apply_json_patch(clone(obj), made)
    except ApiError as error:
        from jsonpatch import JsonPatchTestFailed

        if isinstance(error.__cause__, JsonPatchTestFailed):
            return clone(obj)  # a test that fails means: not this object
        raise MutationError(f"JSON Patch: {patchproblems.explain(obj, made)}") from None


def _merged(obj: Object, configuration: Any, type_: MergeType) -> Object:
    if wrong := patchtypes.misplaced(configuration):
        raise MutationError(f"type mismatch: {wrong}")
    try:
        wanted = patchtypes.to_json(configuration)
    except EvaluationError as error:
        raise MutationError(str(error)) from None
    wanted["apiVersion"], wanted["kind"] = obj["apiVersion"], obj["kind"]
    try:
        validation.validate(type_, wanted)
    except MergeError as error:
        raise MutationError(f"error applying patch: failed to convert patch object to typed object: {error}") from None
    atomic = _atomics(type_, wanted, "")
    if atomic:
        raise MutationError(
            "error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: "
            + ", ".join(atomic)
        )
    try:
        merged = merging.merge(type_, obj, wanted)
    except MergeError as error:
        raise MutationError(f"error applying patch: failed to merge patch: {error}") from None
    return {} if merged is ABSENT else clone(merged)


def _atomics(type_: MergeType, value: Any, path: str) -> list[str]:
    """The paths of what could only be replaced in whole, which a configuration that knows a part of it must not do."""
    found: list[str] = []
    actual = type_.of(value)
    if isinstance(value, dict) and actual.map is not None:
        if actual.map.is_atomic:
            found.append(path)
        for name, each in value.items():
            member = actual.map.member(name)
            if member is not None:
                found += _atomics(member, each, f"{path}.{name}")
    elif isinstance(value, list) and actual.list is not None:
        if actual.list.relation == "atomic":
            found.append(path)
        for index, each in enumerate(value):
            found += _atomics(actual.list.element, each, f"{path}[{index}]")
    return found

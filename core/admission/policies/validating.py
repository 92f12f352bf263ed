"""What a ValidatingAdmissionPolicy says of a write: decisions, and annotations for the audit log.

(apiserver, admission/plugin/policy/validating/validator.go)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from cybernetes.core.admission.policies.composition import (
    Budget,
    Compiled,
    Composed,
    Composition,
    OutOfBudget,
    Value,
)
from cybernetes.core.admission.policies.definitions import Policy, variables_of
from cybernetes.core.cel import types
from cybernetes.core.cel.values import type_of
from cybernetes.core.objects import Object

_MESSAGE_BYTES_MAX = 5 * 1024
_ANNOTATION_BYTES_MAX = 10 * 1024


class Denial(NamedTuple):
    """``place`` is that of the validation; ``reason`` is empty where an error denies."""

    place: int
    message: str
    reason: str = ""


class Verdict(NamedTuple):
    """``errors`` deny whatever the actions of the binding are."""

    denials: list[Denial]
    annotations: list[tuple[str, str]]
    errors: list[str]


class Validation(NamedTuple):
    expression: Compiled
    message_expression: Compiled | None
    message: str
    reason: str


class ValidatingPolicy(Policy):
    """Compiled, ready to be asked."""

    __slots__ = ("_annotations", "_validations")

    def __init__(self, obj: Object) -> None:
        spec = obj["spec"]
        composed = Composed(variables_of(spec), has_params=spec.get("paramKind") is not None)
        super().__init__(obj, composed)
        self._validations = [_validation(composed, raw) for raw in spec.get("validations") or ()]
        self._annotations = [
            (raw["key"], composed.compile(raw["valueExpression"], (types.STRING, types.NULL)))
            for raw in spec.get("auditAnnotations") or ()
        ]

    def judge(self, variables: Mapping[str, Any]) -> Verdict:
        """``variables`` are those of expressions, with ``params`` where the policy has some."""
        if self.conditions:
            scope = Composition(self.composed, {**variables, "namespaceObject": None}).scope
            matched = self.conditions.match(scope)
            if matched.error:
                return self._failed(matched.error)
            if not matched.matches:
                return Verdict([], [], [])
        composition = Composition(self.composed, variables)
        budget = Budget(composition)
        try:
            values = [budget.evaluate(each.expression) for each in self._validations]
        except OutOfBudget as error:
            return self._failed(str(error))
        denials, problem = [], ""
        messages: dict[int, Value] = {}
        try:
            for index, each in enumerate(self._validations):
                if each.message_expression is not None:
                    messages[index] = budget.evaluate(each.message_expression)
        except OutOfBudget as error:
            problem = f"failed messageExpression: {error}"
            messages = {}
        for index, (each, value) in enumerate(zip(self._validations, values, strict=True)):
            failure = value.error or problem
            if failure:
                if not self.fails_open:
                    denials.append(Denial(index, failure))
            elif value.value is not True:
                denials.append(Denial(index, _message(each, messages.get(index)), each.reason))
        try:
            annotations, errors = self._annotate(composition)
        except OutOfBudget as error:
            return self._failed(str(error))
        return Verdict(denials, annotations, errors)

    def _failed(self, why: str) -> Verdict:
        return Verdict([] if self.fails_open else [Denial(0, why)], [], [])

    def _annotate(self, composition: Composition) -> tuple[list[tuple[str, str]], list[str]]:
        budget = Budget(composition)
        found, errors = [], []
        for key, compiled in self._annotations:
            value = budget.evaluate(compiled)
            if value.error:
                if not self.fails_open:
                    errors.append(value.error)
            elif isinstance(value.value, str):
                text = value.value.strip()
                if text:
                    found.append((key, text.encode()[:_ANNOTATION_BYTES_MAX].decode("utf-8", "ignore")))
            elif value.value is not None:
                errors.append(
                    f"valueExpression '{compiled.source}' resulted in unsupported return type: "
                    f"{type_of(value.value)}. Return type must be either string or null."
                )
        return found, errors


def _validation(composed: Composed, raw: Object) -> Validation:
    message = raw.get("messageExpression")
    return Validation(
        composed.compile(raw["expression"], (types.BOOL,)),
        composed.compile(message, (types.STRING,), has_authorizer=False) if message else None,
        raw.get("message") or "",
        raw.get("reason") or "Invalid",
    )


def _message(validation: Validation, found: Value | None) -> str:
    text = ""
    if found is not None and not found.error and isinstance(found.value, str):
        text = found.value.strip()
        if len(text.encode()) > _MESSAGE_BYTES_MAX or "\n" in text:
            text = ""
    return text or validation.message.strip() or f"failed expression: {validation.expression.source.strip()}"

"""Rules in CEL of the schemas of custom resources (``x-kubernetes-validations``; KEP-2876, KEP-4008).

The schema nodes that have rules, and the way to them, are a tree of their own (``Rules``), made once; objects are gone
through along it. Programs are compiled when the first object comes to them. A rule that mentions ``oldSelf`` is asked
about values that there were before; one that sets ``optionalOldSelf`` always, with an optional.

What evaluating all rules of an object may cost is limited, and what one may.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from cybernetes.core.api.custom.correlation import Pair
from cybernetes.core.api.custom.fieldpaths import WrongPath, resolve
from cybernetes.core.api.custom.structure import NO_DEFAULT, Structural
from cybernetes.core.api.fielderror import FieldError, duplicate, forbidden, invalid_unshown, invalid_value, required
from cybernetes.core.cel import types
from cybernetes.core.cel.errors import CompileError, CostExceeded
from cybernetes.core.cel.program import CALL_COST_MAX, Environment, Program
from cybernetes.core.cel.schematypes import Declared, declare
from cybernetes.core.cel.values import Optional
from cybernetes.core.errors import quoted

#: What all rules may cost for one object.
OBJECT_COST_MAX = 10_000_000
_MESSAGE_BYTES_MAX = 5 * 1024
_NO_PATH = "<nil>"
_OUT_OF_BUDGET = "validation failed due to running out of cost budget, no further validation rules will be run"
_NONE = Optional(False)


class Rule:
    """One rule, compiled. ``error`` says why it cannot be."""

    __slots__ = ("error", "message", "message_error", "program", "raw", "uses_old")

    def __init__(self, raw: Mapping[str, Any], declared: Declared) -> None:
        self.raw = raw
        self.program: Program | None = None
        self.message: Program | None = None
        self.error = self.message_error = ""
        self.uses_old = False
        text = raw.get("rule") or ""
        if not text.strip():
            return
        old = types.optional_of(declared.type) if raw.get("optionalOldSelf") else declared.type
        environment = Environment({"self": declared.type, "oldSelf": old})
        try:
            self.program = environment.compile(text)
        except CompileError as error:
            self.error = f"{error.stage}: {error}"
            return
        if self.program.type != types.BOOL:
            self.program = None
            self.error = "cel expression must evaluate to a bool"
            return
        self.uses_old = self.program.uses("oldSelf")
        if raw.get("messageExpression"):
            try:
                self.message = environment.compile(raw["messageExpression"])
            except CompileError as error:
                self.message_error = f"{error.message_stage}: {error}"
                return
            if self.message.type != types.STRING:
                self.message = None
                self.message_error = "messageExpression must evaluate to a string"

    @property
    def text(self) -> str:
        """What errors call the rule."""
        return (self.raw.get("message") or self.raw.get("rule") or "").strip()


class Rules:
    """The rules at and below one node of a schema."""

    __slots__ = ("_compiled", "_declared", "all_of", "extra", "fields", "is_root", "items", "node", "raw_rules")

    def __init__(self, node: Structural, raw_rules: list[Any], *, is_root: bool) -> None:
        self.node = node
        self.raw_rules = raw_rules
        self.is_root = is_root
        self.fields: dict[str, Rules] = {}
        self.items: Rules | None = None
        self.extra: Rules | None = None
        self.all_of: list[Rules] = []
        self._compiled: list[Rule] | None = None
        self._declared: Any = NO_DEFAULT

    @property
    def is_empty(self) -> bool:
        return not (self.raw_rules or self.fields or self.items or self.extra or self.all_of)

    @property
    def declared(self) -> Declared | None:
        if self._declared is NO_DEFAULT:
            self._declared = declare(self.node, is_root=self.is_root)
        return self._declared  # type: ignore[no-any-return]

    @property
    def compiled(self) -> list[Rule]:
        if self._compiled is None:
            declared = self.declared
            self._compiled = [] if declared is None else [Rule(raw, declared) for raw in self.raw_rules]
        return self._compiled


def of(root: Structural, *, is_root: bool = True) -> Rules | None:
    """The rules of a whole schema; None when it has none. Made once."""
    if root.rules is None:
        found = _gather(root, root.raw, is_root=is_root)
        root.rules = found or False
    return root.rules or None


def _gather(node: Structural, raw: Mapping[str, Any], *, is_root: bool) -> Rules | None:
    """``raw`` is the schema whose rules are gathered: the node's own, or one that is combined with it."""
    found = Rules(node, list(raw.get("x-kubernetes-validations") or ()), is_root=is_root)
    for name, inner in (raw.get("properties") or {}).items():
        child = node.field(name)
        if child is not None and (below := _gather(child, inner, is_root=child.is_embedded)):
            found.fields[name] = below
    for key, child in (("items", node.items), ("additionalProperties", node.extra)):
        inner = raw.get(key)
        if isinstance(inner, dict) and child is not None:
            below = _gather(child, inner, is_root=child.is_embedded)
            if key == "items":
                found.items = below
            else:
                found.extra = below
    for inner in raw.get("allOf") or ():
        below = _gather(node, inner, is_root=is_root)
        if below is not None:
            found.all_of.append(below)
    return None if found.is_empty else found


def check(
    root: Structural, new: Any, old: Any, pair: Pair | None, path: str = "", *, is_root: bool = True
) -> list[FieldError]:
    """What the rules of a schema say against an object, which replaces ``old``. ``pair`` forgives what stayed.

    ``is_root`` False: the value is no object of its own, but stands at ``path`` in one.
    """
    rules = of(root, is_root=is_root)
    if rules is None:
        return []
    evaluation = _Evaluation()
    evaluation.visit(rules, new, old, path, _Place(pair, None, is_root))
    return evaluation.errors


class _Place(NamedTuple):
    """Where an object corresponds to the old one: here, or at the nearest place above."""

    pair: Pair | None
    above: Pair | None
    is_root: bool = False

    def at_key(self, name: str) -> _Place:
        if self.pair is None:
            return self
        if self.is_root and name in ("apiVersion", "kind"):
            return _Place(None, None)
        return _Place(self.pair.key(name), self.pair)

    def at_index(self, index: int) -> _Place:
        return self if self.pair is None else _Place(self.pair.index(index), self.pair)

    @property
    def is_unchanged(self) -> bool:
        found = self.pair or self.above
        return found is not None and found.is_equal


class _Stopped(Exception):
    """The budget is spent: nothing more is evaluated."""


class _Evaluation:
    def __init__(self) -> None:
        self.errors: list[FieldError] = []
        self.budget = OBJECT_COST_MAX

    def visit(self, rules: Rules, value: Any, old: Any, path: str, place: _Place) -> None:
        try:
            self._visit(rules, value, old, path, place)
        except _Stopped:
            pass

    def _visit(self, rules: Rules, value: Any, old: Any, path: str, place: _Place) -> None:
        if value is None:
            return
        if rules.raw_rules:
            self._evaluate(rules, value, old, path, place)
        for each in rules.all_of:
            self._visit(each, value, old, path, _Place(None, place.above))
        if isinstance(value, dict):
            if not (rules.fields or rules.extra):
                return
            before: Mapping[str, Any] = old if isinstance(old, dict) else {}
            for name, item in value.items():
                below = rules.fields.get(name)
                if below is not None:
                    self._visit(below, item, before.get(name), f"{path}.{name}" if path else name, place.at_key(name))
                elif rules.extra is not None:
                    self._visit(rules.extra, item, before.get(name), f"{path}[{name}]", place.at_key(name))
        elif isinstance(value, list) and rules.items is not None:
            by_key = _by_key(rules.node, old)
            for index, item in enumerate(value):
                earlier = by_key.get(_identity(rules.node, item)) if by_key else None
                self._visit(rules.items, item, earlier, f"{path}[{index}]", place.at_index(index))

    def _evaluate(self, rules: Rules, value: Any, old: Any, path: str, place: _Place) -> None:
        declared = rules.declared
        kind = rules.node.type
        at = path or _NO_PATH
        if declared is None:
            why = "failed to convert to declType for CEL validation rules"
            self.errors.append(invalid_value(at, kind, f"rule compiler initialization error: {why}"))
            return
        if self.budget <= 0:
            self._stop(invalid_value(at, kind, _OUT_OF_BUDGET))
        convert = declared.convert
        own = value if convert is None else convert(value)
        before = None if old is None else (old if convert is None else convert(old))
        for rule in rules.compiled:
            if rule.error:
                self.errors.append(invalid_value(at, kind, f"rule compile error: {rule.error}"))
                continue
            if rule.program is None:
                continue
            is_optional = bool(rule.raw.get("optionalOldSelf"))
            if rule.uses_old and old is None and not is_optional:
                continue
            variables: dict[str, Any] = {"self": own}
            if is_optional:
                variables["oldSelf"] = _NONE if old is None else Optional(True, before)
            elif old is not None:
                variables["oldSelf"] = before
            found = rule.program.evaluate(variables, CALL_COST_MAX)
            if found.cost > self.budget:
                self._stop(invalid_value(at, kind, _OUT_OF_BUDGET))
            self.budget -= found.cost
            if found.error is not None:
                self._failed(rule, found.error, at, kind)
            elif found.value is not True:
                self._refused(rule, rules, variables, value, path, place)

    def _failed(self, rule: Rule, error: Exception, at: str, kind: str) -> None:
        text = str(error)
        if isinstance(error, CostExceeded):
            why = "no further validation rules will be run due to call cost exceeds limit for rule"
            self._stop(invalid_value(at, kind, f"'{text}': {why}: {rule.text}"))
        if text.startswith("no such overload"):
            why = "call arguments did not match a supported operator, function or macro signature for rule"
            self.errors.append(invalid_value(at, kind, f"'{text}': {why}: {rule.text}"))
        else:
            self.errors.append(invalid_value(at, kind, f"{text} evaluating rule: {rule.text}"))

    def _refused(
        self, rule: Rule, rules: Rules, variables: Mapping[str, Any], value: Any, path: str, place: _Place
    ) -> None:
        at = _joined(path, rule.raw.get("fieldPath"), rules.node)
        is_forgiven = not rule.uses_old and place.is_unchanged
        message = ""
        if rule.message is not None:
            message = self._message(rule, variables, at, rules.node.type, is_forgiven)
        if is_forgiven:
            return
        if not message:
            own = rule.raw.get("message")
            message = own.strip() if own else f"failed rule: {rule.text}"
        self.errors.append(_error(rule.raw.get("reason"), at, value, rules.node.type, message))

    def _message(self, rule: Rule, variables: Mapping[str, Any], at: str, kind: str, is_forgiven: bool) -> str:
        """What the rule's own expression says; empty when it says nothing that can be shown."""
        assert rule.message is not None
        found = rule.message.evaluate(variables, CALL_COST_MAX)
        problem = ""
        if found.cost > self.budget:
            problem = (
                "messageExpression evaluation failed due to running out of cost budget, no further validation rules "
                "will be run"
            )
        elif isinstance(found.error, CostExceeded):
            problem = (
                "no further validation rules will be run due to call cost exceeds limit for messageExpression: "
                f"{quoted(rule.raw['messageExpression'])}"
            )
        if problem:
            if is_forgiven:
                raise _Stopped
            self._stop(invalid_value(at, kind, problem))
        self.budget -= found.cost
        text = found.value.strip() if isinstance(found.value, str) else ""
        return text if len(text.encode()) <= _MESSAGE_BYTES_MAX and "\n" not in text else ""

    def _stop(self, error: FieldError) -> None:
        self.errors.append(error)
        raise _Stopped


def _joined(path: str, field_path: str | None, node: Structural) -> str:
    """Where a refusal is reported: at the field that the rule names, or where the rule stands."""
    if not field_path:
        return path or _NO_PATH
    try:
        field, _ = resolve(field_path, node)
    except WrongPath:
        return path or _NO_PATH
    return f"{path}.{field}" if path and not field.startswith("[") else path + field


def _error(reason: str | None, at: str, value: Any, kind: str, message: str) -> FieldError:
    is_shown = kind not in ("object", "array")
    if reason == "FieldValueForbidden":
        return forbidden(at, message)
    if reason == "FieldValueRequired":
        return required(at, message)
    if reason == "FieldValueDuplicate":
        return duplicate(at, value) if is_shown else FieldError("FieldValueDuplicate", at, "Duplicate value")
    return invalid_value(at, value, message) if is_shown else invalid_unshown(at, message)


def _by_key(node: Structural, old: Any) -> dict[tuple[Any, ...], Any]:
    """The elements of an old list of type map by their keys."""
    if node.list_type != "map" or not isinstance(old, list):
        return {}
    return {_identity(node, item): item for item in old if isinstance(item, dict)}


def _identity(node: Structural, item: Any) -> tuple[Any, ...]:
    if not isinstance(item, dict):
        return ()
    return tuple((type(item.get(key)).__name__, str(item.get(key))) for key in node.map_keys)

"""Values held to the schemas of custom resources (upstream: kube-openapi, validation/validate; KEP-4008).

A Validator is made of one JSON schema, its children when they are needed. ``accepts`` answers yes or no, as fast as it
can; only for what it refuses does ``validate`` go over the value again and word every complaint. On an update, a
complaint about something that has not changed is dropped (``Pair``), which only ``validate`` knows.

    validator = of(structural)
    if not validator.accepts(obj): errors = field_errors(validator.validate(obj, "").failures)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cybernetes.core import goregex
from cybernetes.core.api.custom import formats
from cybernetes.core.api.custom.correlation import Pair
from cybernetes.core.api.custom.govalues import go_text, is_among, is_multiple, number, type_of
from cybernetes.core.api.custom.results import Failure, Result, plain_failure, type_failure
from cybernetes.core.api.custom.structure import Structural
from cybernetes.core.errors import quoted

_INT64 = 2**63
_INT32 = 2**31
_FLOAT32_MAX = 3.4028234663852886e38


class Validator:
    """The checks of one schema."""

    __slots__ = (
        "_children",
        "_extra",
        "_items",
        "all_of",
        "any_of",
        "enum",
        "exclusive_maximum",
        "exclusive_minimum",
        "extra",
        "format",
        "format_check",
        "is_nullable",
        "max_items",
        "max_length",
        "max_properties",
        "maximum",
        "min_items",
        "min_length",
        "min_properties",
        "minimum",
        "multiple_of",
        "negated",
        "one_of",
        "pattern",
        "properties",
        "raw",
        "regex",
        "required",
        "single",
        "types",
    )

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.raw = raw
        kind = raw.get("type") or ""
        either = bool(raw.get("x-kubernetes-int-or-string"))
        self.types: tuple[str, ...] = ("integer", "string") if either else (kind,) if kind else ()
        #: The type when there is only one.
        self.single: str = self.types[0] if len(self.types) == 1 else ""
        self.is_nullable = bool(raw.get("nullable"))
        format = raw.get("format") or ""
        self.format: str = format if format and formats.is_known(format, self.single) else ""
        self.format_check: Callable[[str], bool] | None = formats.matcher(self.format) if self.format else None
        self.enum: Sequence[Any] = raw.get("enum") or ()
        self.max_length: int | None = raw.get("maxLength")
        self.min_length: int | None = raw.get("minLength")
        self.pattern: str = raw.get("pattern") or ""
        self.regex: goregex.Regex | None = None
        self.maximum: float | None = raw.get("maximum")
        self.minimum: float | None = raw.get("minimum")
        self.exclusive_maximum = bool(raw.get("exclusiveMaximum"))
        self.exclusive_minimum = bool(raw.get("exclusiveMinimum"))
        self.multiple_of: float | None = raw.get("multipleOf")
        self.max_items: int | None = raw.get("maxItems")
        self.min_items: int | None = raw.get("minItems")
        self.max_properties: int | None = raw.get("maxProperties")
        self.min_properties: int | None = raw.get("minProperties")
        self.required: Sequence[str] = raw.get("required") or ()
        self.properties: Mapping[str, Any] = raw.get("properties") or {}
        self.extra: Any = raw.get("additionalProperties")
        self.all_of = [Validator(each) for each in raw.get("allOf") or ()]
        self.any_of = [Validator(each) for each in raw.get("anyOf") or ()]
        self.one_of = [Validator(each) for each in raw.get("oneOf") or ()]
        negated = raw.get("not")
        self.negated = Validator(negated) if isinstance(negated, dict) else None
        self._children: dict[str, Validator] = {}
        self._items: Validator | None = None
        self._extra: Validator | None = None

    def child(self, name: str) -> Validator | None:
        found = self._children.get(name)
        if found is None:
            raw = self.properties.get(name)
            if raw is None:
                return None
            found = self._children[name] = Validator(raw)
        return found

    @property
    def items(self) -> Validator | None:
        if self._items is None:
            raw = self.raw.get("items")
            if isinstance(raw, dict):
                self._items = Validator(raw)
        return self._items

    @property
    def others(self) -> Validator | None:
        """What fields are held to that are not described by name."""
        if self._extra is None and isinstance(self.extra, dict):
            self._extra = Validator(self.extra)
        return self._extra

    # Fast

    def accepts(self, value: Any) -> bool:
        """Whether nothing is wrong with ``value``."""
        if value is None:
            return (not self.types or self.is_nullable) and not self.enum
        if (self.types or self.format) and not self._has_type(value):
            return False
        if self.enum and not is_among(value, self.enum):
            return False
        kind = type(value)
        if kind is str:
            if not self._accepts_text(value):
                return False
        elif kind is dict:
            if not self._accepts_object(value):
                return False
        elif kind is list:
            if not self._accepts_list(value):
                return False
        elif kind is not bool and self._number_failures("", value):
            return False
        return self._accepts_combined(value)

    def _has_type(self, value: Any) -> bool:
        return self._type_failure("", value) is None

    def _accepts_text(self, value: str) -> bool:
        if self.max_length is not None and len(value) > self.max_length:
            return False
        if self.min_length is not None and len(value) < self.min_length:
            return False
        if self.pattern and not self._matches(value):
            return False
        return self.format_check is None or self.format_check(value)

    def _accepts_object(self, value: Mapping[str, Any]) -> bool:
        size = len(value)
        if self.min_properties is not None and size < self.min_properties:
            return False
        if self.max_properties is not None and size > self.max_properties:
            return False
        for name in self.required:
            if name not in value:
                return False
        if self.properties:
            for name, item in value.items():
                child = self.child(name)
                if child is not None:
                    if not child.accepts(item):
                        return False
                elif self.extra is not None and (
                    self.extra is False or ((others := self.others) is not None and not others.accepts(item))
                ):
                    return False
            return True
        if self.extra is False:
            return not value
        others = self.others
        return others is None or all(others.accepts(item) for item in value.values())

    def _accepts_list(self, value: Sequence[Any]) -> bool:
        if self.min_items is not None and len(value) < self.min_items:
            return False
        if self.max_items is not None and len(value) > self.max_items:
            return False
        items = self.items
        return items is None or all(items.accepts(item) for item in value)

    def _accepts_combined(self, value: Any) -> bool:
        if self.all_of and not all(each.accepts(value) for each in self.all_of):
            return False
        if self.any_of and not any(each.accepts(value) for each in self.any_of):
            return False
        if self.one_of and sum(each.accepts(value) for each in self.one_of) != 1:
            return False
        return self.negated is None or not self.negated.accepts(value)

    # With words

    def validate(self, value: Any, path: str, pair: Pair | None = None) -> Result:
        """Every complaint about ``value``, which stands at ``path``; ``pair`` knows what it was before."""
        result = self._validate(value, path, pair)
        if result.failures and pair is not None and pair.is_equal:
            return result.forgive()
        return result

    def _validate(self, value: Any, path: str, pair: Pair | None) -> Result:
        result = Result()
        if value is None:
            if self.types and not self.is_nullable:
                result.add(type_failure(path, ",".join(self.types), "null"))
            else:
                result.matches += 1
            self._check_enum(value, path, result)
            return result
        if self.types or self.format:
            failure = self._type_failure(path, value)
            if failure is not None:
                result.add(failure)
            else:
                result.matches += 1
            result.matches += 1
        self._check_combined(value, path, pair, result)
        kind = type(value)
        if kind is str:
            failure = self._text_failure(path, value)
            if failure is not None:
                result.add(failure)
            result.matches += 1
            if self.format_check is not None:
                if not self.format_check(value):
                    result.add(type_failure(path, self.format, value))
                result.matches += 1
        elif kind is list:
            self._check_list(value, path, pair, result)
            result.matches += 2
        elif kind is not bool and kind is not dict:
            for failure in self._number_failures(path, value):
                result.add(failure)
            result.matches += 2
        self._check_enum(value, path, result)
        result.matches += 1
        if kind is dict:
            self._check_object(value, path, pair, result)
            result.matches += 1
        result.matches += 1
        return result

    def _type_failure(self, path: str, value: Any) -> Failure | None:
        found, format = type_of(value)
        types = self.types
        is_sized = found in ("string", "array")
        is_whole = found == "number" and "integer" in types and float(value).is_integer()
        is_number = found == "integer" and "number" in types
        if self.format:
            if not is_sized and not (found in types or format == self.format or is_whole or is_number):
                return type_failure(path, self.format, format)
            if is_sized and "number" not in types and "integer" not in types:
                return None
        if found in types or is_whole or is_number:
            return None
        return type_failure(path, ",".join(types), found)

    def _check_enum(self, value: Any, path: str, result: Result) -> None:
        if self.enum and not is_among(value, self.enum):
            shown = " ".join(go_text(item) for item in self.enum)
            result.add(Failure("enum", path, value, f"{path} in body should be one of [{shown}]", self.enum))

    def _text_failure(self, path: str, value: str) -> Failure | None:
        """The first complaint about a string: its length, then its pattern."""
        if self.max_length is not None and len(value) > self.max_length:
            text = f"{path} in body should be at most {self.max_length} chars long"
            return Failure("long", path, value, text, self.max_length)
        if self.min_length is not None and len(value) < self.min_length:
            return Failure("other", path, value, f"{path} in body should be at least {self.min_length} chars long")
        if self.pattern and not self._matches(value):
            return Failure("other", path, value, f"{path} in body should match '{self.pattern}'")
        return None

    def _matches(self, value: str) -> bool:
        regex = self.regex
        if regex is None:
            try:
                regex = self.regex = goregex.compiled(self.pattern)
            except goregex.RegexError:
                return False
        return regex.matches(value)

    def _number_failures(self, path: str, value: float) -> list[Failure]:
        is_int = type(value) is int and -_INT64 <= value < _INT64
        is_plain = self.maximum is None and self.minimum is None and self.multiple_of is None and not self.format
        if is_plain and (is_int or self.single != "integer"):
            return []
        found: list[Failure] = []
        if not self._is_in_range(value):
            form = f"with format {self.format}" if self.format else "(default format)"
            found.append(plain_failure(f"Checked value must be of type {self.single} {form} in {path}"))
        limit: float
        if self.multiple_of is not None:
            limit = int(self.multiple_of) if is_int else self.multiple_of
            if limit <= 0:
                text = f"factor MultipleOf declared for {path} must be positive: {number(limit)}"
                found.append(Failure("other", path, limit, text))
            elif (value % limit != 0) if is_int else not is_multiple(value, limit):
                text = f"{path} in body should be a multiple of {number(limit)}"
                found.append(Failure("other", path, value, text))
        if self.minimum is not None:
            limit = int(self.minimum) if is_int else self.minimum
            if value < limit or (self.exclusive_minimum and value == limit):
                than = "greater than" if self.exclusive_minimum else "greater than or equal to"
                found.append(Failure("other", path, value, f"{path} in body should be {than} {number(limit)}"))
        if self.maximum is not None:
            limit = int(self.maximum) if is_int else self.maximum
            if value > limit or (self.exclusive_maximum and value == limit):
                than = "less than" if self.exclusive_maximum else "less than or equal to"
                found.append(Failure("other", path, value, f"{path} in body should be {than} {number(limit)}"))
        return found

    def _is_in_range(self, value: float) -> bool:
        if self.single == "integer":
            if float(value) != value or not float(value).is_integer():
                return False
            limit = _INT32 if self.format == "int32" else _INT64
            return -limit <= value < limit
        return self.format != "float" or abs(value) <= _FLOAT32_MAX

    def _check_list(self, value: Sequence[Any], path: str, pair: Pair | None, result: Result) -> None:
        items = self.items
        if items is not None:
            for index, item in enumerate(value):
                below = pair.index(index) if pair is not None else None
                result.merge(items.validate(item, f"{path}[{index}]", below))
        size = len(value)
        if self.min_items is not None and size < self.min_items:
            result.add(Failure("other", path, size, f"{path} in body should have at least {self.min_items} items"))
        if self.max_items is not None and size > self.max_items:
            text = f"{path} in body should have at most {self.max_items} items"
            result.add(Failure("items", path, size, text, self.max_items))

    def _check_object(self, value: Mapping[str, Any], path: str, pair: Pair | None, result: Result) -> None:
        size = len(value)
        if self.min_properties is not None and size < self.min_properties:
            text = f"{path} in body should have at least {self.min_properties} properties"
            result.add(Failure("other", path, size, text))
        if self.max_properties is not None and size > self.max_properties:
            text = f"{path} in body should have at most {self.max_properties} properties"
            result.add(Failure("properties", path, size, text, self.max_properties))
        others = self.others
        for name, item in value.items():
            child = self.child(name)
            if child is not None:
                at = f"{path}.{name}" if path else name
                below = pair.key(name) if pair is not None and (path or name not in ("kind", "apiVersion")) else None
                result.merge(child.validate(item, at, below))
            elif self.extra is False:
                result.add(Failure("other", path, name, f"{path}.{name} in body is a forbidden property"))
            elif others is not None:
                below = pair.key(name) if pair is not None else None
                result.merge(others.validate(item, f"{path}.{name}", below))
        for name in self.required:
            if name not in value:
                result.add(Failure("required", f"{path}.{name}", None, f"{path}.{name} in body is required"))

    def _check_combined(self, value: Any, path: str, pair: Pair | None, result: Result) -> None:
        result.matches += 2
        if self.any_of:
            self._check_any(value, path, pair, result)
        if self.one_of:
            self._check_one(value, path, pair, result)
        if self.all_of:
            results = [each._validate(value, path, pair) for each in self.all_of]
            valid = 0
            for each in results:
                valid += each.is_valid
                result.merge(each)
            if valid != len(results):
                end = "" if valid else ". None validated"
                result.add(plain_failure(f"{quoted(path)} must validate all the schemas (allOf){end}"))
        if self.negated is not None and self.negated._validate(value, path, pair).is_valid:
            result.add(plain_failure(f"{quoted(path)} must not validate the schema (not)"))

    def _check_any(self, value: Any, path: str, pair: Pair | None, result: Result) -> None:
        best: Result | None = None
        for each in self.any_of:
            found = each._validate(value, path, pair)
            if found.is_valid:
                result.merge(found)
                return
            if best is None or found.matches > best.matches:
                best = found
        result.add(plain_failure(f"{quoted(path)} must validate at least one schema (anyOf)"))
        assert best is not None
        result.merge(best)

    def _check_one(self, value: Any, path: str, pair: Pair | None, result: Result) -> None:
        best: Result | None = None
        first: Result | None = None
        valid = 0
        for each in self.one_of:
            found = each._validate(value, path, pair)
            if found.is_valid:
                valid += 1
                best = None
                first = first or found
            elif valid == 0 and (best is None or found.matches > best.matches):
                best = found
        if valid == 1 and first is not None:
            result.merge(first)
            return
        end = f"Found {valid} valid alternatives" if valid else "Found none valid"
        result.add(plain_failure(f"{quoted(path)} must validate one and only one schema (oneOf). {end}"))
        if best is not None:
            result.merge(best)


def of(node: Structural) -> Validator:
    """The validator of a node, made once."""
    found: Validator | None = node.validator
    if found is None:
        found = node.validator = Validator(node.raw)
    return found

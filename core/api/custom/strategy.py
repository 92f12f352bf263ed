"""What is done to a custom resource on its way into the store (upstream: registry/customresource/strategy.go).

Unlike built-in kinds, a custom resource goes this way in the version of the request; it is converted to the version of
the store last.
"""

from __future__ import annotations

from collections.abc import Sequence

from cybernetes.core.api.custom import defaulting, results, rules, validation
from cybernetes.core.api.custom.correlation import Pair, same
from cybernetes.core.api.custom.embedded import check_embedded
from cybernetes.core.api.custom.kind import Custom
from cybernetes.core.api.custom.listtypes import check_lists
from cybernetes.core.api.custom.structure import NO_DEFAULT
from cybernetes.core.api.fielderror import FieldError, invalid_value
from cybernetes.core.api.resource import Context, Strategy
from cybernetes.core.api.strategies.generic import copy_field
from cybernetes.core.api.validation.metadata import check_metadata, check_metadata_update
from cybernetes.core.labels.syntax import key_errors
from cybernetes.core.objects import Object, clone

_STANDARD_FINALIZERS = frozenset({"orphan", "foregroundDeletion", "kubernetes"})


def strategy_of(custom: Custom, *, is_namespaced: bool) -> Strategy:
    """The strategy of one version of a custom resource."""
    parts = _Parts(custom, is_namespaced)
    return Strategy(
        default=custom.default,
        prepare_create=parts.prepare_create,
        prepare_update=parts.prepare_update,
        prepare_status=parts.prepare_status,
        validate_create=parts.validate_create,
        validate_update=parts.validate_update,
        validate_status=parts.validate_status,
        warnings=_finalizer_warnings,
        allows_unconditional_update=False,
    )


class _Parts:
    """The functions of a strategy, which share what they are made of."""

    def __init__(self, custom: Custom, is_namespaced: bool) -> None:
        self.custom = custom
        self.is_namespaced = is_namespaced
        node = custom.schema
        self.node = node
        self.status_node = node.field("status") if node is not None else None

    def prepare_create(self, obj: Object, context: Context) -> None:
        if self.custom.has_status:
            obj.pop("status", None)
            self._default_status(obj)
        obj["metadata"]["generation"] = 1

    def prepare_update(self, new: Object, old: Object, context: Context) -> None:
        if self.custom.has_status:
            copy_field(new, old, "status")
        if not _is_same_but_metadata(new, old):
            new["metadata"]["generation"] = (old["metadata"].get("generation") or 0) + 1

    def prepare_status(self, new: Object, old: Object, context: Context) -> None:
        """Only the status is the client's, and who manages its fields."""
        managed = new["metadata"].get("managedFields")
        status, has_status = new.get("status"), "status" in new
        new.clear()
        new.update(clone(old))
        metadata = new["metadata"]
        metadata.pop("resourceVersion", None)
        metadata.pop("managedFields", None)
        if managed is not None:
            metadata["managedFields"] = managed
        new.pop("status", None)
        if has_status:
            new["status"] = status
        self._default_status(new)

    def _default_status(self, obj: Object) -> None:
        """A status that is not there has its default, as every read would show it."""
        node = self.status_node
        if node is not None and "status" not in obj and node.default is not NO_DEFAULT:
            obj["status"] = clone(node.default)
            defaulting.default(obj["status"], node)

    def validate_create(self, obj: Object) -> Sequence[FieldError]:
        errors = self._check_type(obj)
        if not errors:
            errors = check_metadata(obj, is_namespaced=self.is_namespaced)
            errors += self._check_values(obj, None)
            if self.custom.scale is not None:
                errors += self.custom.scale.check(obj)
        if self.node is not None:
            errors += check_embedded(self.node, obj)
            errors += check_lists(self.node, obj)
        return self._with_rules(errors, obj, None)

    def validate_update(self, new: Object, old: Object) -> Sequence[FieldError]:
        errors = self._check_type(new)
        if not errors:
            errors = check_metadata_update(new, old)
            errors += self._check_values(new, old)
            if self.custom.scale is not None:
                errors += self.custom.scale.check(new)
        if self.node is not None:
            errors += check_embedded(self.node, new)
            errors += self._check_new_lists(new, old)
        return self._with_rules(errors, new, old)

    def validate_status(self, new: Object, old: Object) -> Sequence[FieldError]:
        errors = self._check_type(new)
        if not errors:
            errors = check_metadata_update(new, old)
            if "status" in new and self.status_node is not None:
                validator = validation.of(self.status_node)
                status = new["status"]
                if not validator.accepts(status):
                    pair = Pair(status, old["status"], self.status_node) if "status" in old else None
                    errors += results.field_errors(validator.validate(status, "", pair).failures, "status")
            if self.custom.scale is not None:
                errors += self.custom.scale.check_status(new)
        if self.node is not None:
            errors += self._check_new_lists(new, old)
        return self._with_rules(errors, new, old)

    def _check_type(self, obj: Object) -> list[FieldError]:
        errors = []
        gvk = self.custom.gvk
        if obj.get("kind") != gvk.kind:
            errors.append(invalid_value("kind", obj.get("kind") or "", f"must be {gvk.kind}"))
        if obj.get("apiVersion") != gvk.api_version:
            errors.append(invalid_value("apiVersion", obj.get("apiVersion") or "", f"must be {gvk.api_version}"))
        return errors

    def _check_values(self, new: Object, old: Object | None) -> list[FieldError]:
        node = self.node
        if node is None:
            return []
        validator = validation.of(node)
        if validator.accepts(new):
            return []
        pair = Pair(new, old, node) if old is not None else None
        return results.field_errors(validator.validate(new, "", pair).failures)

    def _check_new_lists(self, new: Object, old: Object) -> list[FieldError]:
        """What is twice in a list; but when the old object had such lists, it may keep them."""
        errors = check_lists(self.node, new)
        return [] if errors and check_lists(self.node, old) else errors

    def _with_rules(self, errors: list[FieldError], new: Object, old: Object | None) -> list[FieldError]:
        """The errors, and those of the rules in CEL, which are only asked about what is right so far."""
        node = self.node
        if node is None or rules.of(node) is None:
            return errors
        if results.blocks_rules(errors):
            return [*errors, results.RULES_NOT_CHECKED]
        pair = Pair(new, old, node) if old is not None else None
        return errors + rules.check(node, new, old, pair)


def _is_same_but_metadata(new: Object, old: Object) -> bool:
    if new.keys() - {"metadata"} != old.keys() - {"metadata"}:
        return False
    return all(same(value, old[name]) for name, value in new.items() if name != "metadata")


def _finalizer_warnings(obj: Object) -> list[str]:
    """Finalizers whose names may clash with others'."""
    found = []
    for name in sorted(set(obj["metadata"].get("finalizers") or ())):
        quoted = f'metadata.finalizers: "{name}"'
        found += [f"{quoted}: {message}" for message in key_errors(name)]
        if "/" not in name and name not in _STANDARD_FINALIZERS:
            path = " including a path (/)" if "." in name else ""
            found.append(
                f"{quoted}: prefer a domain-qualified finalizer name{path} to avoid accidental conflicts with other "
                "finalizer writers"
            )
    return found

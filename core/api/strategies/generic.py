"""What strategies have in common, so that a kind says only how it differs.

``build`` makes the Strategy of one kind. Upstream repeats these rules in every ``strategy.go``:

- A create starts with an empty status and, where the kind counts generations, with generation 1.
- An update keeps the stored status, and raises the generation when what a controller acts on has changed.
- A status update keeps everything but the status; some kinds keep the stored metadata too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cybernetes.core.api import schema
from cybernetes.core.api.fielderror import FieldError
from cybernetes.core.api.resource import Context, Strategy
from cybernetes.core.api.validation.metadata import check_finalizer_name
from cybernetes.core.objects import Object, clone

Create = Callable[[Object, Context], None]
Update = Callable[[Object, Object, Context], None]
Check = Callable[[Object], Sequence[FieldError]]
CheckUpdate = Callable[[Object, Object], Sequence[FieldError]]

#: The parts of the metadata that belong to an object and not to its status.
_OWN_METADATA = (
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "labels",
    "annotations",
    "finalizers",
    "ownerReferences",
)


def build(
    type_name: str,
    *,
    default: Callable[[Object], None] | None = None,
    has_status: bool = False,
    generation: Sequence[str] = (),
    on_create: Create | None = None,
    on_update: Update | None = None,
    on_status: Update | None = None,
    resets_metadata: bool = False,
    keeps_status_on_create: bool = False,
    check: Check | None = None,
    check_update: CheckUpdate | None = None,
    check_status: CheckUpdate | None = None,
    warnings: Callable[[Object], Sequence[str]] | None = None,
    update_warnings: Callable[[Object, Object], Sequence[str]] | None = None,
    status_warnings: Callable[[Object], Sequence[str]] | None = None,
    allows_unconditional_update: bool = True,
    allows_create_on_update: bool = False,
    grace_period_s: Callable[[Object], int | None] | None = None,
) -> Strategy:
    """The Strategy of the kind whose type is ``type_name``.

    ``generation`` names the fields whose change raises the generation (``spec``; ``metadata.annotations``); empty: the
    kind has no generation. ``on_create``, ``on_update`` and ``on_status`` come after the common part, before the
    generation is counted. ``resets_metadata``: a status update changes no labels, annotations or owners.
    ``keeps_status_on_create``: the object may bring its status, as a node does.
    ``check_update`` is all that an update is held to; without one it is ``check``.
    """

    def prepare_create(obj: Object, context: Context) -> None:
        if has_status and not keeps_status_on_create:
            obj["status"] = empty_status(type_name)
        if generation:
            obj["metadata"]["generation"] = 1
        if on_create is not None:
            on_create(obj, context)

    def prepare_update(new: Object, old: Object, context: Context) -> None:
        if has_status:
            copy_field(new, old, "status")
        if on_update is not None:
            on_update(new, old, context)
        if any(_at(new, path) != _at(old, path) for path in generation):
            raise_generation(new, old)

    def prepare_status(new: Object, old: Object, context: Context) -> None:
        for field in {*new, *old} - {"apiVersion", "kind", "metadata", "status"}:
            copy_field(new, old, field)
        if resets_metadata:
            reset_metadata(new, old)
        if on_status is not None:
            on_status(new, old, context)

    def check_as_new(new: Object, old: Object) -> Sequence[FieldError]:
        return check(new) if check is not None else ()

    judge_update: CheckUpdate = check_update or check_as_new
    if type_name.startswith("io.k8s.api.") and not type_name.startswith("io.k8s.api.admissionregistration."):
        check, judge_update = _with_finalizers(check), _with_finalizers_update(judge_update)

    parts: dict[str, Any] = {
        "default": default,
        "prepare_create": prepare_create,
        "prepare_update": prepare_update,
        "prepare_status": prepare_status,
        "validate_create": check,
        "validate_update": judge_update,
        "validate_status": check_status,
        "warnings": warnings,
        "update_warnings": update_warnings,
        "status_warnings": status_warnings,
        "grace_period_s": grace_period_s,
    }
    return Strategy(
        **{name: part for name, part in parts.items() if part is not None},
        allows_unconditional_update=allows_unconditional_update,
        allows_create_on_update=allows_create_on_update,
    )


def _with_finalizers(check: Check | None) -> Check:
    """``check``, and the names of finalizers."""

    def judge(obj: Object) -> Sequence[FieldError]:
        errors = check(obj) if check is not None else ()
        return [*errors, *_finalizer_errors(obj)] if "finalizers" in obj["metadata"] else errors

    return judge


def _with_finalizers_update(check: CheckUpdate) -> CheckUpdate:
    def judge(new: Object, old: Object) -> Sequence[FieldError]:
        errors = check(new, old)
        return [*errors, *_finalizer_errors(new)] if "finalizers" in new["metadata"] else errors

    return judge


def _finalizer_errors(obj: Object) -> list[FieldError]:
    return [
        error
        for index, finalizer in enumerate(obj["metadata"]["finalizers"] or ())
        for error in check_finalizer_name(finalizer, f"metadata.finalizers[{index}]")
    ]


def empty_status(type_name: str) -> Object:
    """The status of an object of that type that nobody has reported on yet."""
    zero = schema.load().type(type_name).fields["status"].zero
    return clone(zero) if zero else {}


def copy_field(new: Object, old: Object, field: str) -> None:
    """Give ``new`` what ``old`` has, or has not, at ``field``."""
    if field in old:
        new.update(clone({field: old[field]}))
    else:
        new.pop(field, None)


def reset_metadata(new: Object, old: Object) -> None:
    """Keep of the metadata what a status update may not change (upstream: ResetObjectMetaForStatus)."""
    for field in _OWN_METADATA:
        copy_field(new["metadata"], old["metadata"], field)


def raise_generation(new: Object, old: Object) -> None:
    new["metadata"]["generation"] = (old["metadata"].get("generation") or 0) + 1


def drop(obj: Object | None, *fields: str) -> None:
    """Remove what belongs to a feature that is off in this version."""
    if obj:
        for field in fields:
            obj.pop(field, None)


def drop_unless_used(new: Object | None, old: Object | None, *fields: str) -> None:
    """``drop``, but keep what the stored object has already: a feature may have been on when it was written."""
    if new:
        for field in fields:
            if (old or {}).get(field) is None:
                new.pop(field, None)


def _at(obj: Mapping[str, Any], path: str) -> Any:
    """The value at ``path``; what is empty is none, as upstream compares."""
    found: Any = obj
    for key in path.split("."):
        found = found.get(key) if isinstance(found, dict) else None
    return found or None

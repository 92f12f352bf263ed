"""Whom does an object belong to: adopting what matches a selector, releasing what no longer does.

Rules (upstream: controller_ref_manager.go):

1. An object with another controller is never touched.
2. Ours and matching: ours. Ours and not matching: released, unless we are being deleted.
3. Nobody's and matching: adopted, unless it or we are being deleted. Before the first adoption the owner is read from
   the server: an owner that has been deleted must not adopt what the garbage collector is about to orphan.
4. The patch names the object's uid, so that a successor of the same name is left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Any

from cybernetes.core.controllers.interface import Action, Get, KeysOf, Patch, View
from cybernetes.core.errors import ApiError, is_not_found
from cybernetes.core.labels import Selector
from cybernetes.core.objects import Gvr, Object, controller_of, controller_reference, is_deleting, labels_of, uid_of


class OwnerGone(Exception):
    """The owner was deleted, or replaced by another of its name, since the view was made."""


def owned_and_orphans(view: View, gvr: Gvr, owner: Object, selector: Selector) -> list[Object]:
    """Candidates for ``claim``: what ``owner`` controls, and what nobody does and the selector may match."""
    found = list(view.by_index(gvr, "controller", uid_of(owner)))
    namespace = owner["metadata"]["namespace"]
    seen = set()
    for value in orphan_values(namespace, selector):
        for obj in view.by_index(gvr, "orphans", value):
            if uid_of(obj) not in seen:
                seen.add(uid_of(obj))
                found.append(obj)
    return found


def orphan_values(namespace: str, selector: Selector) -> Sequence[str]:
    """Values of the index "orphans" that together list whatever the selector can match: the fewest that do."""
    for requirement in selector.requirements:
        if requirement.operator in ("=", "==", "in"):
            return [f"{namespace}/{requirement.key}={value}" for value in requirement.values]
    return [f"{namespace}/"]


def keys_of_owned(owner_gvr: Gvr, owner_kind: str, selector_of: Callable[[Object], Selector]) -> KeysOf:
    """Maps a change of something owned to its owners' keys: old and new one, and who may want to adopt an orphan."""

    def keys_of(old: Object | None, new: Object | None, view: View) -> Iterable[str]:
        keys: dict[str, None] = {}
        for state in (old, new):
            reference = controller_of(state) if state is not None else None
            if state is not None and reference is not None and reference.get("kind") == owner_kind:
                keys[f"{state['metadata']['namespace']}/{reference['name']}"] = None
        if new is None or controller_of(new) is not None or is_deleting(new):
            return keys
        # An orphan interests others only when it is new as an orphan or its labels have changed.
        if old is None or controller_of(old) is not None or labels_of(old) != labels_of(new):
            namespace = new["metadata"]["namespace"]
            for candidate in view.list(owner_gvr, namespace):
                if selector_of(candidate).matches(labels_of(new)):
                    keys[f"{namespace}/{candidate['metadata']['name']}"] = None
        return keys

    return keys_of


def claim(
    gvr: Gvr,
    objects: Sequence[Object],
    *,
    owner: Object,
    owner_gvr: Gvr,
    owner_kind: str,
    selector: Selector,
    finalizers: Sequence[str] = (),
    is_member: Callable[[Object], bool] = lambda obj: True,
) -> Generator[Action, Any, list[Object]]:
    """Adopt and release; gives those that are the owner's afterwards. The first refusal is raised at the end.

    ``is_member`` is a condition beside the selector; ``finalizers`` are put on what is adopted, removed on release.
    """
    claimed: list[Object] = []
    failure: ApiError | ConnectionError | None = None
    may_adopt = False
    owner_uid, owner_is_going = uid_of(owner), is_deleting(owner)
    for obj in objects:
        controller = controller_of(obj)
        if controller is not None and controller.get("uid") != owner_uid:
            continue
        matches = selector.matches(labels_of(obj)) and is_member(obj)
        if controller is not None:
            if matches:
                claimed.append(obj)
                continue
            if owner_is_going:
                continue
            try:
                yield _release(gvr, obj, owner, finalizers)
            except (ApiError, ConnectionError) as error:
                if not _is_moot(error):
                    failure = failure or error
            continue
        if not matches or owner_is_going or is_deleting(obj):
            continue
        try:
            if not may_adopt:
                yield from check_alive(owner, owner_gvr)
                may_adopt = True
            claimed.append((yield _adopt(gvr, obj, owner, owner_gvr, owner_kind, finalizers)))
        except (ApiError, ConnectionError) as error:
            if not is_not_found(error):
                failure = failure or error
    if failure is not None:
        raise failure
    return claimed


def check_alive(owner: Object, owner_gvr: Gvr) -> Generator[Action, Any, None]:
    """Read the owner from the server. Raises OwnerGone unless it is the same object and is not being deleted."""
    metadata = owner["metadata"]
    try:
        fresh = yield Get(owner_gvr, metadata["name"], metadata.get("namespace", ""))
    except ApiError as error:
        if is_not_found(error):
            raise OwnerGone(metadata["name"]) from error
        raise
    if uid_of(fresh) != uid_of(owner) or is_deleting(fresh):
        raise OwnerGone(metadata["name"])


def _is_moot(error: BaseException) -> bool:
    """A release that is refused because there is nothing to release: gone, or another object by now."""
    return (isinstance(error, ApiError) and error.code in (404, 422)) or _is_other_uid(error)


def _is_other_uid(error: BaseException) -> bool:
    return isinstance(error, ApiError) and error.code == 409 and "UID" in error.message


def _adopt(gvr: Gvr, obj: Object, owner: Object, owner_gvr: Gvr, owner_kind: str, finalizers: Sequence[str]) -> Patch:
    references = list(obj["metadata"].get("ownerReferences") or ())
    references.append(controller_reference(owner, owner_gvr.api_version, owner_kind))
    metadata: dict[str, Any] = {
        "uid": uid_of(obj),
        # A list is replaced as a whole by a merge patch: it must be the one that was seen.
        "resourceVersion": obj["metadata"]["resourceVersion"],
        "ownerReferences": references,
    }
    if finalizers:
        present = list(obj["metadata"].get("finalizers") or ())
        metadata["finalizers"] = [*present, *(name for name in finalizers if name not in present)]
    return _patch(gvr, obj, metadata)


def _release(gvr: Gvr, obj: Object, owner: Object, finalizers: Sequence[str]) -> Patch:
    references = [
        reference for reference in obj["metadata"].get("ownerReferences") or () if reference.get("uid") != uid_of(owner)
    ]
    metadata: dict[str, Any] = {
        "uid": uid_of(obj),
        "resourceVersion": obj["metadata"]["resourceVersion"],
        "ownerReferences": references or None,
    }
    if finalizers:
        kept = [name for name in obj["metadata"].get("finalizers") or () if name not in finalizers]
        metadata["finalizers"] = kept or None
    return _patch(gvr, obj, metadata)


def _patch(gvr: Gvr, obj: Mapping[str, Any], metadata: Mapping[str, Any]) -> Patch:
    return Patch(gvr, obj["metadata"]["name"], {"metadata": dict(metadata)}, obj["metadata"].get("namespace", ""))

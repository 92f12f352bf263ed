"""The part of an object's metadata that the server decides, on its way in (upstream: registry/rest). Pure.

A create gets uid, creationTimestamp and a name from generateName, and loses what only a server may set. An update keeps
what never changes from the stored object. Deletion has its own marks.
"""

from __future__ import annotations

from cybernetes.core.clock import Random, format_time, parse_time
from cybernetes.core.errors import ApiError, bad_request
from cybernetes.core.objects import Object

#: A generated name ends in five characters and is at most 63 long.
_GENERATED_LENGTH = 5
_BASE_LENGTH_MAX = 63 - _GENERATED_LENGTH


def metadata_of(obj: Object) -> Object:
    """The metadata, made when it is absent. Raises ApiError 400 when it is no object."""
    metadata = obj.get("metadata")
    if metadata is None:
        metadata = obj["metadata"] = {}
    elif not isinstance(metadata, dict):
        raise bad_request("metadata must be an object")
    return metadata


def match_namespace(metadata: Object, namespace: str) -> None:
    """Give the object the namespace of the request. Raises ApiError 400 when it says another."""
    own = metadata.get("namespace") or ""
    if own and namespace and own != namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    if namespace:
        metadata["namespace"] = namespace
    else:
        metadata.pop("namespace", None)


def match_name(metadata: Object, name: str) -> None:
    """Raises ApiError 400 unless the object's name is that of the request's path."""
    own = metadata.get("name") or ""
    if own != name:
        if not own:
            raise bad_request("name must be provided")
        raise bad_request(f"the name of the object ({own}) does not match the name on the URL ({name})")


def begin(metadata: Object, now: float, uid: str) -> None:
    """The system fields of a new object. Raises ApiError 400 for a resourceVersion."""
    if metadata.get("resourceVersion"):
        raise bad_request("resourceVersion should not be set on objects to be created")
    for name in ("resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"):
        metadata.pop(name, None)
    metadata["uid"] = uid
    metadata["creationTimestamp"] = format_time(now)


def generate_name(metadata: Object, random: Random) -> bool:
    """Complete a generateName; says whether there was one to complete."""
    base = metadata.get("generateName")
    if not base or metadata.get("name"):
        return False
    metadata["name"] = str(base)[:_BASE_LENGTH_MAX] + random.name_suffix(_GENERATED_LENGTH)
    return True


def carry_over(new: Object, old: Object) -> None:
    """What an update may leave out or never changes: taken from the stored object's metadata.

    A value that was sent and differs stays: validation refuses it by name.
    """
    new.pop("generation", None)
    if "generation" in old:
        new["generation"] = old["generation"]
    for name in ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"):
        if name not in old:
            if name.startswith("deletion"):
                new.pop(name, None)  # only a deletion sets them
        elif new.get(name) is None or name.startswith("deletion"):
            new[name] = old[name]
    new.pop("selfLink", None)


def revision_of(metadata: Object) -> int | None:
    """The resourceVersion that was sent as precondition; None for none. Raises ApiError 400 for what is no version."""
    text = metadata.get("resourceVersion")
    if not text or text == "0":
        return None
    return parse_revision(text)


def parse_revision(text: str) -> int:
    """A resourceVersion as the number that it is. Raises ApiError 400."""
    if not (text.isascii() and text.isdigit()) or len(text) > 20:
        raise invalid_revision(text)
    return int(text)


def invalid_revision(text: str) -> ApiError:
    return bad_request(f'invalid resource version "{text}": strconv.ParseUint: parsing "{text}": invalid syntax')


def mark_deleted(metadata: Object, now: float) -> None:
    """The object waits for its finalizers alone: deleted now, without grace."""
    stamp = metadata.get("deletionTimestamp")
    if stamp is None:
        bump_generation(metadata)
    if stamp is None or parse_time(stamp) > now:
        metadata["deletionTimestamp"] = format_time(now)
    metadata["deletionGracePeriodSeconds"] = 0


def mark_graceful(metadata: Object, now: float, period_s: int) -> None:
    """The object is given ``period_s`` to end by itself. A deletion that has begun is shortened: its time moves up."""
    stamp = metadata.get("deletionTimestamp")
    if stamp is None:
        bump_generation(metadata)
        metadata["deletionTimestamp"] = format_time(now + period_s)
    else:
        began = parse_time(stamp) - int(metadata.get("deletionGracePeriodSeconds") or 0)
        metadata["deletionTimestamp"] = format_time(began + period_s)
    metadata["deletionGracePeriodSeconds"] = period_s


def bump_generation(metadata: Object) -> None:
    """What its controller should do has changed. Kinds without a generation keep none."""
    if metadata.get("generation"):
        metadata["generation"] += 1


def is_done(old: Object, new: Object) -> bool:
    """Whether an update leaves a deleted object that nothing holds any more (both are metadata)."""
    return "deletionTimestamp" in new and not new.get("finalizers") and not (old.get("deletionGracePeriodSeconds") or 0)

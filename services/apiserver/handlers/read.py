"""get and list, from the watch cache: no decoding, whatever the resource.

Which state a list shows (documentation "API Concepts", semantics for resourceVersion):

    resourceVersion   match          limit/continue
    none              -              the newest, after waiting for every acknowledged write
    "0"               -              whatever the cache has
    N                 NotOlderThan   the cache, once it has seen N (also without a match and a limit)
    N                 Exact          the state at N (also without a match, with a limit)
    -                 -, continue    the state of the first page
"""

from __future__ import annotations

import base64
import binascii
from typing import NamedTuple

import orjson

from cybernetes.core.api import conversion, fielderror
from cybernetes.core.api.fielderror import FieldError
from cybernetes.core.api.resource import Resource
from cybernetes.core.errors import Cause, bad_request, expired, invalid, not_found, too_large_revision
from cybernetes.core.labels import FieldSelector, Selector, SelectorError
from cybernetes.core.store.cached import EVERYTHING, Listing, Selection
from cybernetes.core.store.interface import Compacted, FutureRevision
from cybernetes.core.store.watchcache import WatchCache
from cybernetes.services.apiserver.backend import Backend
from cybernetes.services.apiserver.call import Call, Item, Items
from cybernetes.services.apiserver.custom.views import is_converted_alone
from cybernetes.services.apiserver.objectmeta import parse_revision

_TOKEN_VERSION = "meta.k8s.io/v1"


async def get(backend: Backend, call: Call) -> Item:
    """One object. ``resourceVersion`` 0 spares the wait, N is the least that the cache must have seen."""
    storage = backend.storage
    wanted = call.option("resourceVersion")
    if not wanted:
        await storage.catch_up()
    elif wanted != "0":
        await storage.wait_for(parse_revision(wanted))
    if is_converted_alone(call.resource):
        current = await storage.converted(call.resource, call.namespace, call.name)
        if current is None:
            raise not_found(*call.group_resource, call.name)
        return Item(call.resource, value=current.value, revision=current.revision)
    cached = storage.cache(call.resource).get(call.namespace, call.name)
    if cached is None:
        raise not_found(*call.group_resource, call.name)
    return Item(call.resource, cached=cached)


async def list_(backend: Backend, call: Call) -> Items:
    """A page, or everything."""
    check_list_options(call)
    selection = selection_of(call)
    storage = backend.storage
    limit = call.number("limit") or 0
    if limit < 0:
        limit = 0
    token = call.option("continue")
    wanted = call.option("resourceVersion")
    match = call.option("resourceVersionMatch")
    if token:
        if wanted and wanted != "0":
            raise bad_request("specifying resource version is not allowed when using continue")
        place = read_token(token)
        await storage.catch_up()
        cache = await storage.ready(call.resource)
        if place.revision < 0:  # goes on after its state was gone, see below
            listing = cache.list(selection, limit, place.after)
        else:
            listing = await _list_at(cache, selection, place.revision, limit, place.after, is_continued=True)
    elif wanted and wanted != "0" and (match == "Exact" or (not match and limit)):
        revision = parse_revision(wanted)
        await storage.wait_for(revision)
        listing = await _list_at(await storage.ready(call.resource), selection, revision, limit, None)
    else:
        if not wanted:
            await storage.catch_up()
        elif wanted != "0":
            await storage.wait_for(parse_revision(wanted))
        listing = (await storage.ready(call.resource)).list(selection, limit)
    next_token = make_token(listing) if listing.after is not None else ""
    return Items(call.resource, listing.records, listing.revision, next_token, listing.remaining)


async def _list_at(
    cache: WatchCache, selection: Selection, revision: int, limit: int, after: bytes | None, is_continued: bool = False
) -> Listing:
    try:
        return await cache.list_at(selection, revision, limit, after)
    except FutureRevision as error:
        raise too_large_revision(error.requested, error.current) from None
    except Compacted as error:
        if not is_continued:
            raise expired(f"The resourceVersion for the provided list is too old. ({error.requested})") from None
        # The client may go on from here on the newest state, knowing that it is another one.
        refusal = expired(
            "The provided continue parameter is too old to display a consistent list result. You can start a new list "
            "without the continue parameter, or use the continue token in this response to retrieve the remainder of "
            "the results. Continuing with the provided token results in an inconsistent list - objects that were "
            "created, modified, or deleted between the time the first chunk was returned and now may show up in the "
            "list."
        )
        refusal.status["metadata"] = {"continue": _encoded(-1, after or b"")}
        raise refusal from None


class _Place(NamedTuple):
    revision: int
    after: bytes


def make_token(listing: Listing) -> str:
    assert listing.after is not None
    return _encoded(listing.revision, listing.after)


def _encoded(revision: int, after: bytes) -> str:
    body = orjson.dumps({"v": _TOKEN_VERSION, "rv": revision, "start": after.decode() + "\0"})
    return base64.urlsafe_b64encode(body).rstrip(b"=").decode()


def read_token(token: str) -> _Place:
    """Where a page goes on. Raises ApiError 400 for what is no token of ours."""
    try:
        body = orjson.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        version, revision, start = body["v"], body["rv"], body["start"]
        if not isinstance(revision, int) or not isinstance(start, str):
            raise ValueError("wrong types")
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise bad_request(f"continue key is not valid: {error}") from None
    if version != _TOKEN_VERSION:
        raise bad_request(f"continue key is not valid: server does not recognize this encoded version {version}")
    if revision == 0:
        raise bad_request("continue key is not valid: incorrect encoded start resourceVersion (version meta.k8s.io/v1)")
    if not start:
        raise bad_request("continue key is not valid: encoded start key empty (version meta.k8s.io/v1)")
    if any(part in ("", ".", "..") for part in start.rstrip("\0").split("/")):
        raise bad_request(f"continue key is not valid: {start}")
    return _Place(revision, start.removesuffix("\0").encode())


def selection_of(call: Call) -> Selection:
    """What of the collection is asked for. Raises ApiError 400 for selectors that cannot be read or are not served."""
    label_text, field_text = call.option("labelSelector"), call.option("fieldSelector")
    name = call.name if call.verb not in ("list", "watch", "deletecollection") else ""
    if not label_text and not field_text:
        return Selection(call.namespace, name) if call.namespace or name else EVERYTHING
    try:
        labels = Selector.parse(label_text) if label_text else None
        fields = FieldSelector.parse(field_text) if field_text else None
    except SelectorError as error:
        raise bad_request(str(error)) from None
    if fields is not None:
        for path, _, _ in fields.requirements:
            _check_field(call.resource, path)
        stored = conversion.STORED_AS.get(call.resource.gvr)
        if stored is not None:  # objects are selected by the names of the version in which they are kept
            names = stored.fields
            fields = FieldSelector(each._replace(path=names.get(each.path, each.path)) for each in fields.requirements)
    return Selection(call.namespace, name, labels, fields)


def _check_field(resource: Resource, path: str) -> None:
    if path in ("metadata.name", "metadata.namespace") or path in resource.selectable_fields:
        return
    if resource.selectable_fields or resource.is_custom:
        raise bad_request(f"field label not supported: {path}")
    raise bad_request(f'"{path}" is not a known field selector: only "metadata.name", "metadata.namespace"')


def check_list_options(call: Call) -> None:
    """Which options go together (upstream: ValidateListOptions). Raises ApiError 422."""
    match = call.option("resourceVersionMatch")
    errors: list[FieldError] = []
    sends_initial = "sendInitialEvents" in call.query
    is_watch = call.verb == "watch"
    path = "resourceVersionMatch"
    if is_watch and sends_initial and match != "NotOlderThan":
        errors.append(
            fielderror.forbidden(path, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
        )
    if match:
        if is_watch and not sends_initial:
            errors.append(
                fielderror.forbidden(
                    path, "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
                )
            )
        if not is_watch and not call.option("resourceVersion"):
            errors.append(
                fielderror.forbidden(path, "resourceVersionMatch is forbidden unless resourceVersion is provided")
            )
        if call.option("continue"):
            errors.append(fielderror.forbidden(path, "resourceVersionMatch is forbidden when continue is provided"))
        allowed = ("NotOlderThan",) if is_watch else ("Exact", "NotOlderThan", "")
        if match not in allowed:
            errors.append(fielderror.not_supported(path, match, allowed))
        if match == "Exact" and call.option("resourceVersion") == "0" and not is_watch:
            errors.append(
                fielderror.forbidden(path, 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"')
            )
    if sends_initial and not is_watch:
        errors.append(fielderror.forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"))
    if errors:
        causes = [Cause(error.reason, error.message, error.path) for error in errors]
        raise invalid("meta.k8s.io", "ListOptions", "", causes)

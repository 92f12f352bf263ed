"""``serviceaccounts/token``: a token for an account, bound to a pod, node or Secret if it is asked for (KEP-1205)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from cybernetes.core.api import fielderror
from cybernetes.core.auth import tokens
from cybernetes.core.clock import format_time
from cybernetes.core.errors import Cause, bad_request, conflict, invalid, no_such_path, not_found
from cybernetes.core.objects import NODES, PODS, SECRETS, Gvk, Gvr, Object
from cybernetes.services.apiserver import body, objectmeta
from cybernetes.services.apiserver.backend import Backend
from cybernetes.services.apiserver.call import Call, Document

_TOKEN_REQUEST = Gvk("authentication.k8s.io", "v1", "TokenRequest")
_DEFAULT_EXPIRATION_S = 3600
_EXPIRATION_S_MIN, _EXPIRATION_S_MAX = 600, 1 << 32
_BINDABLE = {"Pod": PODS, "Secret": SECRETS, "Node": NODES}


def creator(issuer: tokens.Issuer | None) -> Callable[[Backend, Call], Awaitable[Document]]:
    """The handler that signs with ``issuer``."""

    async def create_token(backend: Backend, call: Call) -> Document:
        if issuer is None:
            raise no_such_path()
        request = body.read_kind(call, _TOKEN_REQUEST)
        objectmeta.metadata_of(request)
        admission = backend.admitting.begin(call, call.resource, "CREATE", request, None)
        await admission.mutate()
        await admission.validate()
        return Document(await _answer(backend, call, issuer, request), 201)

    return create_token


async def _answer(backend: Backend, call: Call, issuer: tokens.Issuer, request: Object) -> Object:
    metadata = request["metadata"]
    for field, own, what in (("name", call.name, "name"), ("namespace", call.namespace, "namespace")):
        if metadata.get(field) and metadata[field] != own:
            error = fielderror.invalid_value(
                f"metadata.{field}", metadata[field], f"must match the service account {what} if specified"
            )
            raise invalid(_TOKEN_REQUEST.group, _TOKEN_REQUEST.kind, call.name, [Cause(*_cause(error))])
    account = await _found(backend, call.resource.gvr, call.namespace, call.name)
    uid = account["metadata"]["uid"]
    if metadata.get("uid") and metadata["uid"] != uid:
        why = f"the UID in the token request ({metadata['uid']}) does not match the UID of the service account ({uid})"
        raise conflict(_TOKEN_REQUEST.group, _TOKEN_REQUEST.kind, call.name, why)
    spec = request.get("spec") or {}
    audiences = spec.get("audiences") or [issuer.issuer]
    expiration_s = spec.get("expirationSeconds") or _DEFAULT_EXPIRATION_S
    _check_expiration(expiration_s)
    pod, secret, node = await _bound(backend, call, spec.get("boundObjectRef"))
    warn_after_s, lifetime_s = 0, expiration_s
    if pod is not None and expiration_s == tokens.WARN_ONLY_EXPIRATION_S and set(audiences) <= {issuer.issuer}:
        warn_after_s, lifetime_s = expiration_s, tokens.EXTENDED_EXPIRATION_S
    now = backend.clock.now()
    token = issuer.issue(
        account,
        audiences=audiences,
        expiration_s=lifetime_s,
        token_id=backend.random.uid(),
        pod=pod,
        secret=secret,
        node=node,
        warn_after_s=warn_after_s,
    )
    reference = spec.get("boundObjectRef")
    return {
        "kind": _TOKEN_REQUEST.kind,
        "apiVersion": _TOKEN_REQUEST.api_version,
        "metadata": {
            "name": call.name,
            "namespace": call.namespace,
            "uid": uid,
            "creationTimestamp": format_time(now),
        },
        "spec": {"audiences": audiences, "expirationSeconds": expiration_s, "boundObjectRef": reference},
        "status": {"token": token, "expirationTimestamp": format_time(now + expiration_s)},
    }


def _check_expiration(expiration_s: int) -> None:
    if expiration_s < _EXPIRATION_S_MIN:
        detail = "may not specify a duration less than 10 minutes"
    elif expiration_s > _EXPIRATION_S_MAX:
        detail = "may not specify a duration larger than 2^32 seconds"
    else:
        return
    error = fielderror.invalid_value("spec.expirationSeconds", expiration_s, detail)
    raise invalid(_TOKEN_REQUEST.group, _TOKEN_REQUEST.kind, "", [Cause(*_cause(error))])


def _cause(error: fielderror.FieldError) -> tuple[str, str, str]:
    return error.reason, error.message, error.path


async def _bound(
    backend: Backend, call: Call, reference: Object | None
) -> tuple[tokens.Reference | None, tokens.Reference | None, tokens.Reference | None]:
    """What the token is bound to, as (pod, secret, node). A pod's token says its node too."""
    if not reference:
        return None, None, None
    kind, name = reference.get("kind") or "", reference.get("name") or ""
    gvk = Gvk.of(reference)
    gvr = _BINDABLE.get(kind) if not gvk.group else None
    if gvr is None:
        raise bad_request(f"cannot bind token to object of type {gvk.api_version}, Kind={kind}")
    bound = await _found(backend, gvr, "" if kind == "Node" else call.namespace, name)
    uid = bound["metadata"]["uid"]
    node: tokens.Reference | None = None
    if kind == "Pod":
        spec = bound["spec"]
        if spec.get("serviceAccountName") != call.name:
            raise bad_request(
                f'cannot bind token for serviceaccount "{call.name}" to pod running with different serviceaccount name.'
            )
        if spec.get("nodeName"):
            found = backend.storage.find(NODES, "", spec["nodeName"])
            node = tokens.Reference(spec["nodeName"], found["metadata"]["uid"] if found is not None else "")
    if reference.get("uid") and reference["uid"] != uid:
        why = (
            f"the UID in the bound object reference ({reference['uid']}) does not match the UID in record. "
            "The object might have been deleted and then recreated"
        )
        raise conflict(gvk.group, kind, name, why)
    found_reference = tokens.Reference(name, uid)
    if kind == "Pod":
        return found_reference, None, node
    if kind == "Secret":
        return None, found_reference, None
    return None, None, found_reference


async def _found(backend: Backend, gvr: Gvr, namespace: str, name: str) -> Object:
    await backend.storage.catch_up()
    obj = backend.storage.find(gvr, namespace, name)
    if obj is None:
        raise not_found(gvr.group, gvr.resource, name)
    return obj

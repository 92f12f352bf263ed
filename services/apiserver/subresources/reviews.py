"""Questions that are answered and not kept: may somebody do something, who am I, whose token is this.

The SubjectAccessReview family, SelfSubjectRulesReview (``kubectl auth can-i --list``), SelfSubjectReview
(``kubectl auth whoami``) and TokenReview. A review comes back as it was sent, with a status.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from cybernetes.core.api import fielderror
from cybernetes.core.api.fielderror import FieldError
from cybernetes.core.auth import rbac, tokens
from cybernetes.core.auth.attributes import Attributes
from cybernetes.core.auth.user import User, authenticated
from cybernetes.core.clock import format_time
from cybernetes.core.errors import Cause, bad_request, invalid
from cybernetes.core.labels import FieldSelector, SelectorError
from cybernetes.core.objects import Object
from cybernetes.services.apiserver import body
from cybernetes.services.apiserver.authentication import Authentication
from cybernetes.services.apiserver.backend import Backend
from cybernetes.services.apiserver.call import Call, Document

Handler = Callable[[Backend, Call], Awaitable[Document]]


async def review_access(backend: Backend, call: Call) -> Document:
    """SubjectAccessReview and LocalSubjectAccessReview: about anybody."""
    review = body.read(call, call.resource)
    spec = review.get("spec") or {}
    errors = _spec_errors(spec)
    if not spec.get("user") and not spec.get("groups"):
        detail = "at least one of user or group must be specified"
        errors.append(fielderror.invalid_value("spec.user", spec.get("user") or "", detail))
    if call.resource.is_namespaced:
        resource = spec.get("resourceAttributes") or {}
        if spec.get("nonResourceAttributes"):
            errors.append(
                fielderror.invalid_value("spec.nonResourceAttributes", None, "disallowed on this kind of request")
            )
        elif resource.get("namespace") != call.namespace:
            raise bad_request(f"spec.resourceAttributes.namespace must match namespace: {call.namespace}")
    _refuse(call, errors)
    extra = {key: tuple(values) for key, values in (spec.get("extra") or {}).items()}
    user = User(spec.get("user") or "", spec.get("uid") or "", tuple(spec.get("groups") or ()), extra)
    return _decided(backend, review, user, spec)


async def review_own_access(backend: Backend, call: Call) -> Document:
    """SelfSubjectAccessReview: about whoever asks."""
    review = body.read(call, call.resource)
    spec = review.get("spec") or {}
    _refuse(call, _spec_errors(spec))
    return _decided(backend, review, call.user, spec)


def rules_reviewer(authorizer: rbac.Authorizer) -> Handler:
    """SelfSubjectRulesReview: everything that whoever asks may do in a namespace."""

    async def review_rules(backend: Backend, call: Call) -> Document:
        review = body.read(call, call.resource)
        namespace = (review.get("spec") or {}).get("namespace") or ""
        if not namespace:
            raise bad_request("no namespace on request")
        review["status"] = rbac.review(authorizer, call.user, namespace)
        return _answered(review)

    return review_rules


async def review_self(backend: Backend, call: Call) -> Document:
    """SelfSubjectReview: who the server takes the asker for."""
    review = body.read(call, call.resource)
    review["metadata"] = {**(review.get("metadata") or {}), "creationTimestamp": format_time(backend.clock.now())}
    review["status"] = {"userInfo": call.user.as_dict()}
    return _answered(review)


def token_reviewer(authentication: Authentication, service_accounts: tokens.Authenticator | None) -> Handler:
    """TokenReview: whose token it is, for those whom it was made for."""

    async def review_token(backend: Backend, call: Call) -> Document:
        review = body.read(call, call.resource)
        spec = review.get("spec") or {}
        token = spec.get("token") or ""
        if not token:
            raise bad_request("token is required for TokenReview in authentication")
        wanted = spec.get("audiences") or None
        status: Object = {}
        answer = None
        try:
            if service_accounts is not None:
                answer = service_accounts.authenticate(token, wanted)
        except tokens.InvalidToken as error:
            status["error"] = f"[invalid bearer token, {error}]"
        if answer is not None:
            status = {
                "authenticated": True,
                "user": authenticated(answer.user).as_dict(),
                "audiences": list(answer.audiences),
            }
        elif "error" not in status:
            user = authentication.of_token(token)
            if user is not None:
                own = list(service_accounts.audiences) if service_accounts is not None else []
                status = {"authenticated": True, "user": user.as_dict()}
                if own:
                    status["audiences"] = own
            else:
                status["error"] = "[invalid bearer token]"
        review["status"] = status
        return _answered(review)

    return review_token


def _decided(backend: Backend, review: Object, user: User, spec: Object) -> Document:
    resource = spec.get("resourceAttributes")
    if resource is not None:
        attributes = Attributes(
            resource.get("verb") or "",
            resource.get("group") or "",
            resource.get("version") or "*",
            resource.get("resource") or "",
            resource.get("subresource") or "",
            resource.get("namespace") or "",
            resource.get("name") or "",
            "",
            _field_requirements(resource.get("fieldSelector") or {}),
        )
    else:
        other = spec["nonResourceAttributes"]
        attributes = Attributes(other.get("verb") or "", path=other.get("path") or "")
    decision = backend.authorize(user, attributes)
    status: Object = {"allowed": decision.allowed}
    if decision.reason:
        status["reason"] = decision.reason
    review["status"] = status
    return _answered(review)


def _field_requirements(selector: Object) -> tuple[tuple[str, str, str], ...]:
    """Requirements that cannot be read are left out: the question then is the wider one."""
    found: list[tuple[str, str, str]] = []
    for each in selector.get("requirements") or ():
        values = list(each.get("values") or ())
        operator = {"In": "=", "NotIn": "!="}.get(each.get("operator") or "")
        if operator and len(values) == 1:
            found.append((each.get("key") or "", operator, values[0]))
    if not found and selector.get("rawSelector"):
        try:
            parsed = FieldSelector.parse(selector["rawSelector"])
        except SelectorError:
            return ()
        found = [(each.path, each.operator, each.value) for each in parsed.requirements]
    return tuple(found)


def _spec_errors(spec: Object) -> list[FieldError]:
    has_resource, has_other = "resourceAttributes" in spec, "nonResourceAttributes" in spec
    if has_resource and has_other:
        detail = "cannot be specified in combination with resourceAttributes"
        return [fielderror.invalid_value("spec.nonResourceAttributes", spec["nonResourceAttributes"], detail)]
    if not has_resource and not has_other:
        detail = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        return [fielderror.invalid_value("spec.resourceAttributes", None, detail)]
    return []


def _refuse(call: Call, errors: list[FieldError]) -> None:
    if errors:
        causes = [Cause(error.reason, error.message, error.path) for error in errors]
        raise invalid(call.resource.gvr.group, call.resource.kind, "", causes)


def _answered(review: Object) -> Document:
    review.setdefault("metadata", {})
    return Document(review, 201)

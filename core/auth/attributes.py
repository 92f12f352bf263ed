"""What a request wants to do, what was decided, and how a refusal reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from cybernetes.core.auth.user import User, is_master
from cybernetes.core.errors import ApiError, forbidden, quoted


class Attributes(NamedTuple):
    """A request as authorizers see it. ``path`` is empty for requests about resources; otherwise only it and ``verb``
    count.

    ``field_selector`` has the requirements of the request's field selector, (path, "=" or "!=", value), for lists and
    watches: an agent of a node may list pods only with ``spec.nodeName`` bound to it.
    """

    verb: str
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    field_selector: tuple[tuple[str, str, str], ...] = ()

    @property
    def is_resource(self) -> bool:
        return not self.path

    @property
    def combined(self) -> str:
        """``pods`` or ``pods/log``: how RBAC rules name it."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


class Decision(NamedTuple):
    """An authorizer that does not allow has no opinion.

    The next is asked. ``reason`` is for the refusal or the audit log.
    """

    allowed: bool
    reason: str = ""


Authorize = Callable[[User, Attributes], Decision]

NO_OPINION = Decision(False)


def chain(authorizers: Sequence[Authorize]) -> Authorize:
    """One that allows what any of them allows, asked in order; system:masters may do everything."""
    steps = tuple(authorizers)

    def authorize(user: User, attributes: Attributes) -> Decision:
        if is_master(user):
            return Decision(True)
        reasons: list[str] = []
        for step in steps:
            decision = step(user, attributes)
            if decision.allowed:
                return decision
            if decision.reason:
                reasons.append(decision.reason)
        return Decision(False, "\n".join(reasons))

    return authorize


def refusal_text(user: User, attributes: Attributes) -> str:
    """``User "x" cannot list resource "pods" in API group "" in the namespace "default"``."""
    who = f"User {quoted(user.name)} cannot {attributes.verb}"
    if not attributes.is_resource:
        text = f"{who} path {quoted(attributes.path)}"
    else:
        what = f"{who} resource {quoted(attributes.combined)} in API group {quoted(attributes.group)}"
        if attributes.namespace:
            text = f"{what} in the namespace {quoted(attributes.namespace)}"
        else:
            text = f"{what} at the cluster scope"
    # Nothing that a browser could take for markup.
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def refusal(user: User, attributes: Attributes, reason: str = "") -> ApiError:
    """The 403 for a request that no authorizer allowed."""
    text = refusal_text(user, attributes)
    why = f"{text}: {reason}" if reason else text
    return forbidden(attributes.group, attributes.resource, attributes.name, why)

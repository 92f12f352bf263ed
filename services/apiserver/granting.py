"""Writes of roles and bindings: nobody grants what they do not hold (upstream: registry/rbac/*/policybased)."""

from __future__ import annotations

from collections.abc import Mapping

from cybernetes.core.auth import escalation, rbac
from cybernetes.core.auth.attributes import Authorize
from cybernetes.core.objects import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES, Gvr, Object
from cybernetes.services.apiserver.backend import Backend, Hooks
from cybernetes.services.apiserver.call import Call


def hooks(authorizer: rbac.Authorizer, authorize: Authorize) -> Mapping[Gvr, Hooks]:
    """For the four kinds. They raise ApiError 403, or 404 for a binding to a role that does not exist."""

    async def create(backend: Backend, call: Call, obj: Object) -> None:
        gvr = call.resource.gvr
        escalation.check_write(authorizer, authorize, call.user, gvr, call.namespace, obj, None)

    async def update(backend: Backend, call: Call, new: Object, old: Object) -> None:
        gvr = call.resource.gvr
        escalation.check_write(authorizer, authorize, call.user, gvr, call.namespace, new, old)

    return dict.fromkeys((ROLES, CLUSTER_ROLES, ROLE_BINDINGS, CLUSTER_ROLE_BINDINGS), Hooks(create, update))

"""The identity behind a request, and the names that Kubernetes gives to its own."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

# Groups and users with a meaning of their own (apiserver, ``authentication/user``).
MASTERS = "system:masters"
NODES = "system:nodes"
MONITORING = "system:monitoring"
AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"
SERVICE_ACCOUNTS = "system:serviceaccounts"
ANONYMOUS_NAME = "system:anonymous"
API_SERVER_NAME = "system:apiserver"
KUBE_PROXY_NAME = "system:kube-proxy"
CONTROLLER_MANAGER_NAME = "system:kube-controller-manager"
SCHEDULER_NAME = "system:kube-scheduler"
NODE_PREFIX = "system:node:"
SERVICE_ACCOUNT_PREFIX = "system:serviceaccount:"

# Keys of ``extra`` that say which credential was used and where it is bound.
CREDENTIAL_ID = "authentication.kubernetes.io/credential-id"
POD_NAME = "authentication.kubernetes.io/pod-name"
POD_UID = "authentication.kubernetes.io/pod-uid"
NODE_NAME = "authentication.kubernetes.io/node-name"
NODE_UID = "authentication.kubernetes.io/node-uid"

_NO_EXTRA: Mapping[str, tuple[str, ...]] = MappingProxyType({})


class User(NamedTuple):
    """Immutable. ``groups`` are in the order in which the authenticator gave them."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = _NO_EXTRA

    def with_groups(self, *groups: str) -> User:
        """The same user, in these groups too."""
        missing = tuple(group for group in groups if group not in self.groups)
        return self._replace(groups=self.groups + missing) if missing else self

    def as_dict(self) -> dict[str, object]:
        """``authentication.k8s.io/v1.UserInfo``, as reviews and audit events carry it."""
        result: dict[str, object] = {"username": self.name}
        if self.uid:
            result["uid"] = self.uid
        if self.groups:
            result["groups"] = list(self.groups)
        if self.extra:
            result["extra"] = {key: list(values) for key, values in self.extra.items()}
        return result


ANONYMOUS = User(ANONYMOUS_NAME, groups=(UNAUTHENTICATED,))


def authenticated(user: User) -> User:
    """Every authenticated user is also in system:authenticated, unless it is anonymous or marked as such."""
    if user.name == ANONYMOUS_NAME or UNAUTHENTICATED in user.groups:
        return user
    return user.with_groups(AUTHENTICATED)


def service_account_name(namespace: str, name: str) -> str:
    """The user name of a ServiceAccount."""
    return f"{SERVICE_ACCOUNT_PREFIX}{namespace}:{name}"


def split_service_account(user_name: str) -> tuple[str, str] | None:
    """(namespace, name) of a ServiceAccount's user name, or None when it is not one."""
    if not user_name.startswith(SERVICE_ACCOUNT_PREFIX):
        return None
    namespace, separator, name = user_name[len(SERVICE_ACCOUNT_PREFIX) :].partition(":")
    if not separator or not namespace or not name or ":" in name:
        return None
    return namespace, name


def service_account_groups(namespace: str) -> tuple[str, ...]:
    return (SERVICE_ACCOUNTS, f"{SERVICE_ACCOUNTS}:{namespace}")


def node_of(user: User) -> str | None:
    """The node that this user is the agent of: its name and group must both say so. "" when the name is empty."""
    if NODES not in user.groups or not user.name.startswith(NODE_PREFIX):
        return None
    return user.name[len(NODE_PREFIX) :]


def is_master(user: User) -> bool:
    """Members of system:masters may do everything, whatever RBAC says."""
    return MASTERS in user.groups

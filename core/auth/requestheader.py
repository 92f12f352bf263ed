"""Users that a front proxy vouches for: its certificate proves who it is, its headers say for whom it asks.

    X-Remote-User: jane   X-Remote-Group: dev   X-Remote-Group: ops   X-Remote-Extra-Scopes%2fa: view

The API server reads such headers (request-header authentication), and writes them when it is the proxy itself, in front
of extension API servers (documentation "Configure the Aggregation Layer").
"""

from __future__ import annotations

import string
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from cybernetes.core.auth.user import User

#: What a header's name may hold (RFC 9110 5.6.2), but for the percent sign that escapes the rest.
_PLAIN = frozenset((string.ascii_letters + string.digits + "!#$&'*+-.^_`|~").encode())


@dataclass(frozen=True, slots=True)
class HeaderNames:
    """Which headers are read, in lower case; of several the first that is there counts (kubeadm's are the defaults)."""

    user: Sequence[str] = ("x-remote-user",)
    uid: Sequence[str] = ("x-remote-uid",)
    groups: Sequence[str] = ("x-remote-group",)
    extra_prefixes: Sequence[str] = ("x-remote-extra-",)

    def is_ours(self, name: str) -> bool:
        """Whether a header (in lower case) says who a user is. Such are never passed on."""
        return name in (*self.user, *self.uid, *self.groups) or name.startswith(tuple(self.extra_prefixes))


def read(names: HeaderNames, headers: Iterable[str], values_of: Callable[[str], Sequence[str]]) -> User | None:
    """The user whom headers name, None when they name none. ``headers`` are the names that came, in lower case."""

    def first(candidates: Sequence[str]) -> str:
        return next((value for name in candidates for value in values_of(name)[:1] if value), "")

    user = first(names.user)
    if not user:
        return None
    groups = tuple(value for name in names.groups for value in values_of(name) if value)
    extra: dict[str, tuple[str, ...]] = {}
    for prefix in names.extra_prefixes:
        for name in headers:
            if name.startswith(prefix):
                key = unquote(name[len(prefix) :]).lower()
                extra[key] = (*extra.get(key, ()), *values_of(name))
    uid = first(names.uid)
    return User(user, uid, groups, extra) if extra else User(user, uid, groups)


def write(user: User) -> list[tuple[str, str]]:
    """The headers that name ``user`` to an extension API server."""
    headers = [("X-Remote-User", user.name)]
    if user.uid:
        headers.append(("X-Remote-Uid", user.uid))
    headers += [("X-Remote-Group", group) for group in user.groups]
    headers += [(f"X-Remote-Extra-{_escaped(key)}", value) for key, values in user.extra.items() for value in values]
    return headers


def _escaped(key: str) -> str:
    return "".join(chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in key.encode())

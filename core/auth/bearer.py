"""Bearer tokens that are not ServiceAccounts': a static file, and the bootstrap tokens by which nodes join.

Functions of what was read elsewhere. They answer with a user or None; why a token was not taken is for nobody to learn
from the answer, so the comparison of secrets takes the same time whatever they hold.

Sources: documentation "Authenticating" (static token file) and "Authenticating with Bootstrap Tokens".
"""

from __future__ import annotations

import base64
import binascii
import csv
import hmac
import re
from collections.abc import Callable, Mapping
from typing import Any

from cybernetes.core.auth.user import User
from cybernetes.core.clock import parse_time
from cybernetes.core.objects import Object

BOOTSTRAP_SECRET_PREFIX = "bootstrap-token-"
BOOTSTRAP_SECRET_TYPE = "bootstrap.kubernetes.io/token"
BOOTSTRAP_USER_PREFIX = "system:bootstrap:"
BOOTSTRAP_GROUP = "system:bootstrappers"

_BOOTSTRAP_TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})")
_BOOTSTRAP_GROUP = re.compile(r"system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]")


def read_token_file(text: str) -> dict[str, User]:
    """Token -> user, from lines of ``token,user,uid[,"group1,group2"]``. Raises ValueError with the line's number.

    Lines with an empty token are passed over; of two with the same token the last counts.
    """
    users: dict[str, User] = {}
    for number, record in enumerate(csv.reader(text.splitlines()), 1):
        if not record:
            continue
        if len(record) < 3:
            columns = f"3 columns (token, user name, user uid), found {len(record)}"
            raise ValueError(f"token file line {number} must have at least {columns}")
        token, name, uid = record[:3]
        if token:
            users[token] = User(name, uid, tuple(record[3].split(",")) if len(record) > 3 else ())
    return users


def bootstrap_secret_name(token: str) -> str | None:
    """The Secret in kube-system that would hold this bootstrap token; None when it is not one."""
    match = _BOOTSTRAP_TOKEN.fullmatch(token)
    return BOOTSTRAP_SECRET_PREFIX + match.group(1) if match else None


def bootstrap_user(token: str, lookup_secret: Callable[[str], Object | None], now: float) -> User | None:
    """Whose a bootstrap token is. ``lookup_secret`` gets a name in kube-system."""
    match = _BOOTSTRAP_TOKEN.fullmatch(token)
    if match is None:
        return None
    token_id, token_secret = match.groups()
    secret = lookup_secret(BOOTSTRAP_SECRET_PREFIX + token_id)
    if secret is None or "deletionTimestamp" in secret["metadata"] or secret.get("type") != BOOTSTRAP_SECRET_TYPE:
        return None
    data = secret.get("data") or {}
    if not hmac.compare_digest(_value(data, "token-secret"), token_secret.encode()):
        return None
    if _value(data, "token-id") != token_id.encode() or _value(data, "usage-bootstrap-authentication") != b"true":
        return None
    if has_expired(secret, now):
        return None
    groups = {BOOTSTRAP_GROUP}
    extra = _value(data, "auth-extra-groups").decode("utf-8", "replace")
    for group in extra.split(",") if extra else ():
        if not _BOOTSTRAP_GROUP.fullmatch(group):
            return None
        groups.add(group)
    return User(BOOTSTRAP_USER_PREFIX + token_id, groups=tuple(sorted(groups)))


def has_expired(secret: Mapping[str, Any], now: float) -> bool:
    """Whether a bootstrap token's Secret is past its ``expiration``; one that cannot be read counts as past."""
    text = _value(secret.get("data") or {}, "expiration").decode("utf-8", "replace")
    if not text:
        return False
    try:
        return parse_time(text) <= now
    except ValueError:
        return True


def _value(data: Mapping[str, str], key: str) -> bytes:
    try:
        return base64.b64decode(data.get(key, ""), validate=True)
    except (binascii.Error, ValueError):
        return b""

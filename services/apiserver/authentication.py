"""Who asks: whom a front proxy names, the client's certificate, then a bearer token, else nobody in particular.

A certificate or a token that somebody presents and nobody accepts is a 401, never anonymous: a client with a wrong one
should learn so. A stranger's certificate does no harm beside a good token.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import logging
from collections.abc import Mapping
from urllib.parse import unquote

from cybernetes.core.auth import bearer, tokens
from cybernetes.core.auth import user as users
from cybernetes.core.auth.attributes import Attributes, Authorize, refusal
from cybernetes.core.auth.user import ANONYMOUS, User
from cybernetes.core.clock import Clock
from cybernetes.core.errors import bad_request, unauthorized
from cybernetes.core.objects import SECRETS, Object
from cybernetes.services.apiserver.http1 import HttpRequest
from cybernetes.services.apiserver.peers import Peers
from cybernetes.services.apiserver.server import Connection
from cybernetes.services.apiserver.storage import Storage

log = logging.getLogger(__name__)

_PREFIX = "impersonate-"
#: How a browser, which cannot set headers for a WebSocket, presents a token: as one of the protocols that it offers.
TOKEN_PROTOCOL = "base64url.bearer.authorization.k8s.io."


class Authentication:
    """The authenticators of one server. ``static`` is the content of a token file."""

    def __init__(
        self,
        storage: Storage,
        service_accounts: tokens.Authenticator | None,
        static: Mapping[str, User],
        clock: Clock,
        *,
        allows_anonymous: bool = True,
    ) -> None:
        self._storage = storage
        self._service_accounts = service_accounts
        self._static = [(token.encode(), users.authenticated(user)) for token, user in static.items()]
        self._clock = clock
        self.peers = Peers(clock)
        self._allows_anonymous = allows_anonymous

    def of(self, connection: Connection, request: HttpRequest) -> User:
        """The user behind a request. Raises ApiError 401."""
        found, is_stranger = self.peers.user_of(connection, request)
        if found is not None:
            return found
        header = request.headers.get("authorization")
        if header:
            scheme, _, token = header.partition(" ")
            token = token.strip()
            if scheme.lower() == "bearer" and token:
                user = self.of_token(token)
                if user is None:
                    raise unauthorized()
                return user
        protocols = request.headers.get("sec-websocket-protocol")
        if protocols and TOKEN_PROTOCOL in protocols:
            user = self._of_protocols(protocols)
            if user is None:
                raise unauthorized()
            return user
        if is_stranger or not self._allows_anonymous:
            raise unauthorized()
        return ANONYMOUS

    def of_token(self, token: str) -> User | None:
        """Whose bearer token this is; None when nobody knows it."""
        encoded = token.encode()
        found = None
        for known, user in self._static:
            if hmac.compare_digest(known, encoded):
                found = user
        if found is not None:
            return found
        if self._service_accounts is not None:
            try:
                answer = self._service_accounts.authenticate(token)
            except tokens.InvalidToken as error:
                log.info("a token was not accepted: %s", error)
                return None
            if answer is not None:
                found = answer.user
        if found is None and bearer.bootstrap_secret_name(token):
            found = bearer.bootstrap_user(token, self._bootstrap_secret, self._clock.now())
        return users.authenticated(found) if found is not None else None

    def _bootstrap_secret(self, name: str) -> Object | None:
        return self._storage.find(SECRETS, "kube-system", name)

    def _of_protocols(self, protocols: str) -> User | None:
        for protocol in protocols.split(","):
            encoded = protocol.strip().removeprefix(TOKEN_PROTOCOL)
            if encoded != protocol.strip():
                try:
                    token = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
                except (binascii.Error, ValueError):
                    return None
                return self.of_token(token)
        return None


def impersonated(user: User, request: HttpRequest, authorize: Authorize) -> User:
    """Who the request is to be treated as, if its Impersonate- headers ask for somebody else.

    Each part of the other identity needs the permission ``impersonate`` of its own. Raises ApiError 400, 403.
    """
    headers = request.headers
    wanted = headers.get(_PREFIX + "user", "")
    groups = request.all(_PREFIX + "group")
    uid = headers.get(_PREFIX + "uid", "")
    extra = {
        unquote(name.removeprefix(_PREFIX + "extra-")): tuple(request.all(name))
        for name in headers
        if name.startswith(_PREFIX + "extra-")
    }
    if not wanted:
        if groups or uid or extra:
            raise bad_request(
                "requested [{}] without impersonating a user".format(
                    " ".join(
                        [*(f"{{Group {group}}}" for group in groups), *(f"{{UID {value}}}" for value in [uid] if value)]
                    )
                )
            )
        return user

    def check(attributes: Attributes) -> None:
        decision = authorize(user, attributes)
        if not decision.allowed:
            raise refusal(user, attributes, decision.reason)

    account = users.split_service_account(wanted)
    if account is not None:
        check(Attributes("impersonate", "", "v1", "serviceaccounts", "", account[0], account[1]))
        if not groups:
            groups = list(users.service_account_groups(account[0]))
    else:
        check(Attributes("impersonate", "", "v1", "users", "", "", wanted))
    for group in request.all(_PREFIX + "group"):
        check(Attributes("impersonate", "", "v1", "groups", "", "", group))
    for key, values in extra.items():
        for value in values:
            check(Attributes("impersonate", "authentication.k8s.io", "v1", "userextras", key, "", value))
    if uid:
        check(Attributes("impersonate", "authentication.k8s.io", "v1", "uids", "", "", uid))
    other = User(wanted, uid, tuple(groups), extra) if extra else User(wanted, uid, tuple(groups))
    if wanted == users.ANONYMOUS_NAME:
        return other.with_groups(users.UNAUTHENTICATED)
    return users.authenticated(other)

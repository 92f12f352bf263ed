"""Secrets of type service-account-token: filled with a token that lives as long as they, and deleted with the account.

Nobody makes such Secrets any more but people and old tools (kubelets ask for bound tokens). One that names no account
that exists is deleted; before that the server is asked, as the account may be newer than the view.

Keys are ``secret/namespace/name`` and ``unlink/namespace/account/uid/secret`` for a Secret that is gone and may still
be listed in its account. Upstream: pkg/controller/serviceaccount/tokens_controller.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cybernetes.core.controllers.interface import Delete, Get, Steps, Update, View, Watch
from cybernetes.core.errors import ApiError, is_not_found
from cybernetes.core.objects import SECRETS, SERVICE_ACCOUNTS, Object, annotations_of, split_key, uid_of

TYPE = "kubernetes.io/service-account-token"
ACCOUNT_NAME = "kubernetes.io/service-account.name"
ACCOUNT_UID = "kubernetes.io/service-account.uid"

_SECRET, _UNLINK = "secret/", "unlink/"


class ServiceAccountTokens:
    """``issue`` makes the token of (account, secret name); ``root_ca`` is PEM. It acts with the manager's rights."""

    name = "serviceaccount-token-controller"
    service_account = ""
    workers = 5

    def __init__(self, issue: Callable[[Object, str], str], root_ca: str) -> None:
        self._issue = issue
        self._root_ca = base64.b64encode(root_ca.encode()).decode()
        self.watches = (Watch(SECRETS, _keys_of_secret), Watch(SERVICE_ACCOUNTS, _keys_of_account))

    def reconcile(self, key: str, view: View, now: float) -> Steps:
        if key.startswith(_UNLINK):
            yield from _unlink(*key.removeprefix(_UNLINK).split("/"))
            return
        namespace, name = split_key(key.removeprefix(_SECRET))
        secret = view.get(SECRETS, namespace, name)
        if secret is None or not _is_token(secret):
            return
        wanted = annotations_of(secret)
        account = view.get(SERVICE_ACCOUNTS, namespace, wanted[ACCOUNT_NAME])
        if account is None or not _is_of(account, wanted):
            account = yield from _read(Get(SERVICE_ACCOUNTS, wanted[ACCOUNT_NAME], namespace))
        if account is None or not _is_of(account, wanted):
            yield Delete(SECRETS, name, namespace, uid_of(secret))
        elif self._missing(secret):
            yield from self._fill(secret, account)

    def _missing(self, secret: Object) -> dict[str, str]:
        data = secret.get("data") or {}
        missing = {}
        if self._root_ca and data.get("ca.crt") != self._root_ca:
            missing["ca.crt"] = self._root_ca
        if not data.get("namespace"):
            missing["namespace"] = base64.b64encode(secret["metadata"]["namespace"].encode()).decode()
        if not data.get("token"):
            missing["token"] = ""
        return missing

    def _fill(self, seen: Object, account: Object) -> Steps:
        metadata = seen["metadata"]
        secret = yield from _read(Get(SECRETS, metadata["name"], metadata["namespace"]))
        if secret is None or secret["metadata"]["resourceVersion"] != metadata["resourceVersion"]:
            return  # the view will tell
        missing = self._missing(secret)
        if "token" in missing:
            token = self._issue(account, metadata["name"])
            missing["token"] = base64.b64encode(token.encode()).decode()
        if not missing:
            return
        secret["data"] = {**(secret.get("data") or {}), **missing}
        annotations = {ACCOUNT_NAME: account["metadata"]["name"], ACCOUNT_UID: uid_of(account)}
        secret["metadata"]["annotations"] = {**annotations_of(secret), **annotations}
        yield Update(SECRETS, secret)


def _unlink(namespace: str, name: str, uid: str, secret: str) -> Steps:
    """Take a Secret that is gone off the list of its account."""
    account = yield from _read(Get(SERVICE_ACCOUNTS, name, namespace))
    if account is None or (uid and uid_of(account) != uid):
        return
    listed = account.get("secrets") or ()
    kept = [one for one in listed if one.get("name") != secret]
    if len(kept) < len(listed):
        account["secrets"] = kept
        yield Update(SERVICE_ACCOUNTS, account)


def _read(action: Get) -> Any:
    try:
        return (yield action)
    except ApiError as error:
        if is_not_found(error):
            return None
        raise


def _is_token(secret: Object) -> bool:
    return secret.get("type") == TYPE and bool(annotations_of(secret).get(ACCOUNT_NAME))


def _is_of(account: Object, annotations: Mapping[str, str]) -> bool:
    return annotations.get(ACCOUNT_UID, "") in ("", uid_of(account))


def _keys_of_secret(old: Object | None, new: Object | None, view: View) -> Iterable[str]:
    if new is not None:
        metadata = new["metadata"]
        return (f"{_SECRET}{metadata['namespace']}/{metadata['name']}",) if _is_token(new) else ()
    if old is None or not _is_token(old):
        return ()
    metadata, annotations = old["metadata"], annotations_of(old)
    account = view.get(SERVICE_ACCOUNTS, metadata["namespace"], annotations[ACCOUNT_NAME])
    if account is None or all(one.get("name") != metadata["name"] for one in account.get("secrets") or ()):
        return ()
    uid = annotations.get(ACCOUNT_UID, "")
    return (f"{_UNLINK}{metadata['namespace']}/{annotations[ACCOUNT_NAME]}/{uid}/{metadata['name']}",)


def _keys_of_account(old: Object | None, new: Object | None, view: View) -> Iterable[str]:
    """An account that comes or goes: the Secrets that name it."""
    if old is not None and new is not None:
        return ()
    account = new if new is not None else old
    assert account is not None
    metadata = account["metadata"]
    return [
        f"{_SECRET}{metadata['namespace']}/{secret['metadata']['name']}"
        for secret in view.list(SECRETS, metadata["namespace"])
        if _is_token(secret) and annotations_of(secret)[ACCOUNT_NAME] == metadata["name"]
    ]

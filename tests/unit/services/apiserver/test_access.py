"""Who asks, and what they may: certificates, tokens, impersonation, RBAC."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from multidict import CIMultiDict

from cybernetes.core.auth.certificates import Authority
from cybernetes.core.auth.user import User
from cybernetes.core.clock import Random, SystemClock
from cybernetes.core.errors import ApiError
from cybernetes.core.objects import CLUSTER_ROLE_BINDINGS, ROLE_BINDINGS, ROLES
from cybernetes.core.store.memory import MemoryStore
from cybernetes.services.apiserver.apiserver import ApiServer, Config, Listener
from cybernetes.services.apiserver.peers import FrontProxy

STATIC = {"jane-token": User("jane", "u1", ("dev",))}

PODS_PATH = "/api/v1/namespaces/default/pods"
WHOAMI = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


class Secure:
    """A server with TLS, and who asks it: contexts with certificates of some authority."""

    def __init__(self, certificates: Any, session: aiohttp.ClientSession, port: int) -> None:
        self.certificates = certificates
        self.session = session
        self.base = f"https://127.0.0.1:{port}"

    def of(self, authority: Authority | None, name: str = "", groups: tuple[str, ...] = ()) -> ssl.SSLContext:
        folder = self.certificates.directory
        context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
        if authority is not None:
            pair = authority.issue_client(name, groups)
            (folder / "client.crt").write_bytes(pair.certificate)
            (folder / "client.key").write_bytes(pair.key)
            context.load_cert_chain(folder / "client.crt", folder / "client.key")
        return context

    async def whoami(self, context: ssl.SSLContext, headers: Any = None) -> tuple[int, dict[str, Any]]:
        async with self.session.post(self.base + WHOAMI, json={}, ssl=context, headers=headers) as response:
            body = await response.json()
            return response.status, body["status"]["userInfo"] if response.status == 201 else body


@pytest.fixture
async def secure(certificates: Any) -> AsyncIterator[Secure]:
    front = Authority.create("front-proxy-ca", SystemClock(), Random(9))
    path = certificates.directory / "front.crt"
    path.write_bytes(front.certificate)
    server = ApiServer(
        MemoryStore(),
        SystemClock(),
        Random(1),
        listeners=[Listener("127.0.0.1", 0, certificates.server)],
        config=Config(static_tokens=STATIC, front_proxy=FrontProxy(path, ("front-proxy-client",))),
    )
    await server.start()
    async with aiohttp.ClientSession() as session:
        found = Secure(certificates, session, server.ports[0])
        found.front = front  # type: ignore[attr-defined]
        yield found
    await server.stop()


async def test_a_certificate_names_user_and_groups(secure) -> None:
    code, info = await secure.whoami(secure.of(secure.certificates.authority, "admin", ("system:masters",)))
    assert (code, info["username"]) == (201, "admin")
    assert info["groups"] == ["system:masters", "system:authenticated"]
    assert info["extra"]["authentication.kubernetes.io/credential-id"][0].startswith("X509SHA256=")
    anonymous = secure.of(None)
    async with secure.session.get(secure.base + PODS_PATH, ssl=anonymous) as response:
        assert response.status == 403
        assert (await response.json())["message"] == (
            'pods is forbidden: User "system:anonymous" cannot list resource "pods" in API group "" '
            'in the namespace "default"'
        )
    async with secure.session.get(secure.base + "/healthz", ssl=anonymous) as response:
        assert await response.text() == "ok"


async def test_a_stranger_s_certificate_is_401_and_no_harm_beside_a_token(secure) -> None:
    stranger = secure.of(Authority.create("test-ca", SystemClock(), Random(5)), "admin", ("system:masters",))
    code, body = await secure.whoami(stranger)
    assert (code, body["message"]) == (401, "Unauthorized")
    async with secure.session.get(secure.base + "/healthz", ssl=stranger) as response:
        assert response.status == 401
    code, info = await secure.whoami(stranger, {"Authorization": "Bearer jane-token"})
    assert (code, info["username"]) == (201, "jane")


async def test_a_front_proxy_speaks_for_users(secure) -> None:
    named = [("X-Remote-User", "jane"), ("X-Remote-Group", "dev"), ("X-Remote-Group", "ops"), ("X-Remote-Uid", "u7")]
    named += [("X-Remote-Extra-Scopes%2fA", "view"), ("X-Remote-Extra-Scopes%2fA", "edit")]
    proxy = secure.of(secure.front, "front-proxy-client")
    code, info = await secure.whoami(proxy, CIMultiDict(named))
    assert code == 201
    assert info == {
        "username": "jane",
        "uid": "u7",
        "groups": ["dev", "ops", "system:authenticated"],
        "extra": {"scopes/a": ["view", "edit"]},
    }
    assert (await secure.whoami(proxy))[0] == 401
    assert (await secure.whoami(secure.of(secure.front, "somebody-else"), CIMultiDict(named)))[0] == 401
    user = secure.of(secure.certificates.authority, "front-proxy-client")
    assert (await secure.whoami(user, CIMultiDict(named)))[1]["username"] == "front-proxy-client"
    assert (await secure.whoami(secure.of(None), CIMultiDict(named)))[0] == 403


async def test_anonymous_sees_health_version_and_nothing_else(cluster) -> None:
    for path in ("/healthz", "/livez", "/readyz", "/version"):
        assert (await cluster.get(path, token="")).code == 200, path
    for path in ("/api", "/apis", "/metrics", "/openapi/v2", "/", PODS_PATH):
        assert (await cluster.get(path, token="")).code == 403, path
    assert (await cluster.get("/", token="")).json()["message"] == (
        'forbidden: User "system:anonymous" cannot get path "/"'
    )


async def test_whoever_is_known_may_discover(cluster) -> None:
    for path in ("/api", "/apis", "/api/v1", "/apis/apps", "/apis/apps/v1", "/openapi/v3"):
        assert (await cluster.get(path, token="jane-token")).code == 200, path


@pytest.mark.parametrize("token", ["wrong", "a.b.c", "admin-toke", "admin-tokenx"])
async def test_a_wrong_token_is_never_anonymous(cluster, token: str) -> None:
    answer = await cluster.get("/version", token=token)
    assert answer.code == 401
    assert answer.json()["message"] == "Unauthorized" and answer.json()["reason"] == "Unauthorized"


async def test_roles_take_effect_at_once(cluster) -> None:
    client = cluster.direct()
    refused = await cluster.get(f"{PODS_PATH}/p", token="jane-token")
    assert refused.json()["message"] == (
        'pods "p" is forbidden: User "jane" cannot get resource "pods" in API group "" in the namespace "default"'
    )
    role = {
        "metadata": {"name": "r", "namespace": "default"},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
    }
    await client.create(ROLES, role)
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "dev"}
    await client.create(
        ROLE_BINDINGS, {"metadata": {"name": "b", "namespace": "default"}, "roleRef": reference, "subjects": [subject]}
    )
    assert (await cluster.get(f"{PODS_PATH}/p", token="jane-token")).code == 404
    assert (await cluster.get(PODS_PATH, token="jane-token")).code == 403, "not listing"
    jane = cluster.direct(User("jane", groups=("dev",)))
    from cybernetes.core.objects import PODS

    with pytest.raises(ApiError) as caught:
        await jane.get(PODS, "p", "default")
    assert caught.value.code == 404
    with pytest.raises(ApiError) as caught:
        await jane.get(PODS, "p", "kube-system")
    assert caught.value.code == 403
    await client.delete(ROLE_BINDINGS, "b", "default")
    assert (await cluster.get(f"{PODS_PATH}/p", token="jane-token")).code == 403


async def test_who_may_not_know_does_not_learn_what_exists(cluster) -> None:
    answer = await cluster.get("/api/v1/namespaces/default/things", token="jane-token")
    assert answer.code == 403


async def test_impersonation(cluster) -> None:
    headers = {"Impersonate-User": "jane", "Impersonate-Group": "dev", "Impersonate-Extra-Acme.com%2Fproject": "x"}
    info = (await cluster.post(WHOAMI, {}, headers=headers)).json()["status"]["userInfo"]
    assert info["username"] == "jane" and info["groups"] == ["dev", "system:authenticated"]
    assert info["extra"] == {"acme.com/project": ["x"]}
    account = {"Impersonate-User": "system:serviceaccount:default:x"}
    info = (await cluster.post(WHOAMI, {}, headers=account)).json()["status"]["userInfo"]
    assert info["groups"] == ["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"]
    refused = await cluster.get(PODS_PATH, token="jane-token", headers={"Impersonate-User": "admin"})
    assert refused.code == 403
    assert 'User "jane" cannot impersonate resource "users"' in refused.json()["message"]
    alone = await cluster.get(PODS_PATH, headers={"Impersonate-Group": "dev"})
    assert alone.code == 400


async def test_impersonating_a_group_takes_a_permission_of_its_own(cluster) -> None:
    client = cluster.direct()
    from cybernetes.core.objects import CLUSTER_ROLES

    rules = [{"apiGroups": [""], "resources": ["users"], "verbs": ["impersonate"]}]
    await client.create(CLUSTER_ROLES, {"metadata": {"name": "imp"}, "rules": rules})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "imp"}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "jane"}
    await client.create(
        CLUSTER_ROLE_BINDINGS, {"metadata": {"name": "imp"}, "roleRef": reference, "subjects": [subject]}
    )
    user = {"Impersonate-User": "bob"}
    assert (await cluster.post(WHOAMI, {}, token="jane-token", headers=user)).code == 201
    masters = {**user, "Impersonate-Group": "system:masters"}
    assert (await cluster.post(WHOAMI, {}, token="jane-token", headers=masters)).code == 403


async def test_nobody_grants_what_they_do_not_hold(cluster) -> None:
    client = cluster.direct()
    from cybernetes.core.objects import CLUSTER_ROLES

    rules = [{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "verbs": ["create"]}]
    await client.create(CLUSTER_ROLES, {"metadata": {"name": "roles"}, "rules": rules})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "roles"}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "jane"}
    await client.create(
        CLUSTER_ROLE_BINDINGS, {"metadata": {"name": "roles"}, "roleRef": reference, "subjects": [subject]}
    )
    role = {"metadata": {"name": "r"}, "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]}
    answer = await cluster.post("/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles", role, token="jane-token")
    assert answer.code == 403
    assert "is attempting to grant RBAC permissions not currently held" in answer.json()["message"]


async def test_a_browser_brings_its_token_as_a_protocol(cluster) -> None:
    import base64

    encoded = base64.urlsafe_b64encode(b"admin-token").decode().rstrip("=")
    headers = {"Sec-WebSocket-Protocol": f"v4.channel.k8s.io, base64url.bearer.authorization.k8s.io.{encoded}"}
    assert (await cluster.get(PODS_PATH, token="", headers=headers)).code == 200
    headers = {"Sec-WebSocket-Protocol": "base64url.bearer.authorization.k8s.io.d3Jvbmc"}
    assert (await cluster.get(PODS_PATH, token="", headers=headers)).code == 401

"""Who may talk to a kubelet: over real TLS, with the real API server behind it for everybody else."""

import ssl

import aiohttp
import pytest

from cybernetes.core.auth.certificates import Authority
from cybernetes.core.auth.user import User
from cybernetes.core.clock import Random, SystemClock
from cybernetes.core.objects import Gvr
from cybernetes.core.store.memory import MemoryStore
from cybernetes.services.apiserver.apiserver import ApiServer, Config
from cybernetes.services.common.directclient import DirectClient
from cybernetes.services.kubelet.server.auth import Authorizer, Caller, caller_of, subresources
from cybernetes.services.kubelet.server.server import KubeletServer

RBAC = "rbac.authorization.k8s.io"


class Tls:
    """An authority, and files of what it issued."""

    def __init__(self, folder, seed=1):
        self.folder = folder
        self.authority = Authority.create("ca", SystemClock(), Random(seed))
        if not (folder / "ca.crt").exists():
            (folder / "ca.crt").write_bytes(self.authority.certificate)

    def write(self, name, pair):
        (self.folder / f"{name}.crt").write_bytes(pair.certificate)
        (self.folder / f"{name}.key").write_bytes(pair.key)
        return self.folder / f"{name}.crt", self.folder / f"{name}.key"

    def server(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        pair = self.authority.issue_server("n1", ["localhost"], ["127.0.0.1"])
        context.load_cert_chain(*self.write("server", pair))
        context.load_verify_locations(self.folder / "ca.crt")
        context.verify_mode = ssl.CERT_OPTIONAL
        return context

    def client(self, user="", groups=()):
        context = ssl.create_default_context(cafile=str(self.folder / "ca.crt"))
        if user:
            context.load_cert_chain(*self.write("client", self.authority.issue_client(user, groups)))
        return context


@pytest.fixture
def tls(tmp_path):
    return Tls(tmp_path)


@pytest.fixture
async def api():
    users = {"jane-token": User("jane", "u1", ("dev",)), "nobody-token": User("nobody", "u2", ())}
    server = ApiServer(MemoryStore(), SystemClock(), Random(2), config=Config(static_tokens=users))
    await server.start()
    client = DirectClient(server, User("admin", "", ("system:masters",)), "test")
    rule = {"apiGroups": [""], "resources": ["nodes/stats", "nodes/healthz"], "verbs": ["get"]}
    await client.create(Gvr(RBAC, "v1", "clusterroles"), {"metadata": {"name": "stats"}, "rules": [rule]})
    binding = {
        "metadata": {"name": "stats"},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "stats"},
        "subjects": [{"kind": "User", "name": "jane", "apiGroup": RBAC}],
    }
    await client.create(Gvr(RBAC, "v1", "clusterrolebindings"), binding)
    yield client
    await server.stop()


@pytest.fixture
async def ask(node, tls, api):
    clock = SystemClock()
    server = KubeletServer(node, Authorizer(clock, "n1", api), clock, address="127.0.0.1", port=0, tls=tls.server())
    await server.start()

    async def get(path, *, user="", groups=(), token=""):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with aiohttp.ClientSession() as session:
            url = f"https://127.0.0.1:{server.port}{path}"
            async with session.get(url, ssl=tls.client(user, groups), headers=headers) as answer:
                return answer.status, await answer.text()

    yield get
    await server.stop()


async def test_the_api_server_may_do_everything(ask):
    for path in ("/pods", "/healthz", "/stats/summary", "/containerLogs/ns/p/c"):
        assert (await ask(path, user="kube-apiserver-kubelet-client"))[0] == 200
    assert (await ask("/pods", user="admin", groups=["system:masters"]))[0] == 200


async def test_nobody_may_do_nothing(ask):
    for path in ("/pods", "/healthz", "/containerLogs/ns/p/c", "/exec/ns/p/c?command=sh&output=1"):
        assert await ask(path) == (401, "Unauthorized\n")
    assert (await ask("/pods", token="no such token"))[0] == 401


async def test_a_user_may_do_what_the_api_server_says(ask):
    for credentials in ({"token": "jane-token"}, {"user": "jane"}):
        assert (await ask("/stats/summary", **credentials))[0] == 200
        assert (await ask("/healthz", **credentials))[0] == 200
        status, text = await ask("/pods", **credentials)
        assert status == 403
        assert text == "Forbidden (user=jane, verb=get, resource=nodes, subresource(s)=[pods proxy])\n"
        assert (await ask("/exec/ns/p/c?command=sh&output=1", **credentials))[0] == 403
    assert (await ask("/stats/summary", token="nobody-token"))[0] == 403


async def test_a_certificate_of_another_authority_is_refused(ask, tls, tmp_path):
    tls.authority = Tls(tmp_path, seed=9).authority  # of the same name, with another key
    with pytest.raises((aiohttp.ClientError, ssl.SSLError)):
        await ask("/pods", user="kube-apiserver-kubelet-client")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/pods", ("pods", "proxy")),
        ("/stats/summary", ("stats",)),
        ("/metrics/resource", ("metrics",)),
        ("/logs/", ("log",)),
        ("/exec/ns/p/c", ("proxy",)),
        ("/containerLogs/ns/p/c", ("proxy",)),
        ("/healthz", ("healthz", "proxy")),
        ("/statsx", ("proxy",)),
    ],
)
def test_paths_have_names_in_rbac(path, expected):
    assert subresources(path) == expected


def test_a_certificate_s_name_and_groups():
    subject = ((("organizationName", "g1"),), (("organizationName", "g2"),), (("commonName", "jane"),))
    assert caller_of({"subject": subject}) == Caller("jane", ("g1", "g2"))
    assert caller_of({"subject": ((("organizationName", "g1"),),)}) is None
    assert caller_of(None) is None and caller_of({}) is None

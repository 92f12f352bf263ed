"""A node gets its certificate with a bootstrap token, and exchanges it before it ends: against the real controllers."""

import asyncio
import base64

import pytest
from kubeletworld import ADMIN, AtOnce, LoopClock

from cybernetes.core.auth.certificates import Authority, subject_of_request
from cybernetes.core.auth.user import User
from cybernetes.core.clock import Random
from cybernetes.core.controllers.interface import Settings
from cybernetes.core.objects import CERTIFICATE_SIGNING_REQUESTS, CLUSTER_ROLE_BINDINGS
from cybernetes.core.store.memory import MemoryStore
from cybernetes.services.apiserver.apiserver import ApiServer
from cybernetes.services.common.directclient import DirectClient
from cybernetes.services.controllers.manager import ControllerManager
from cybernetes.services.kubelet.certificates import (
    CertificateRefused,
    ClientCertificate,
    request_client_certificate,
    validity,
)

pytestmark = pytest.mark.looptime

BOOTSTRAP = User("system:bootstrap:abcdef", "", ("system:bootstrappers", "system:authenticated"))
NODE = User("system:node:n1", "", ("system:nodes", "system:authenticated"))
ACCOUNTS = ("system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated")
APPROVER = "system:certificates.k8s.io:certificatesigningrequests:"


def binding(name, role, group):
    subject = {"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": group}
    role_ref = {"kind": "ClusterRole", "apiGroup": "rbac.authorization.k8s.io", "name": role}
    return {"metadata": {"name": name}, "subjects": [subject], "roleRef": role_ref}


@pytest.fixture
async def cluster():
    """(API server, its administrator, its authority): a cluster as kubeadm sets it up, where nodes are approved."""
    asyncio.get_running_loop().set_default_executor(AtOnce())
    clock, random = LoopClock(), Random(7)
    authority = Authority.create("kubernetes", clock, random)
    server = ApiServer(MemoryStore(), clock, random)
    await server.start()
    admin = DirectClient(server, ADMIN, "test")
    for name, role, group in (
        ("bootstrap", "system:node-bootstrapper", "system:bootstrappers"),
        ("approve", f"{APPROVER}nodeclient", "system:bootstrappers"),
        ("strangers", "system:node-bootstrapper", "strangers"),
        ("renew", f"{APPROVER}selfnodeclient", "system:nodes"),
    ):
        await admin.create(CLUSTER_ROLE_BINDINGS, binding(name, role, group))
    manager = ControllerManager(
        DirectClient(server, User("system:kube-controller-manager", "", ("system:authenticated",)), "test"),
        clock,
        random,
        settings=Settings(signer_certificate=authority.certificate, signer_key=authority.pair.key),
        client_of=lambda name: DirectClient(
            server, User(f"system:serviceaccount:kube-system:{name}", "", ACCOUNTS), "test"
        ),
    )
    await manager.start()
    yield server, admin, authority
    await manager.stop()
    await server.stop()


async def test_a_node_gets_its_certificate_with_a_bootstrap_token(cluster):
    server, admin, _ = cluster
    pair = await request_client_certificate(DirectClient(server, BOOTSTRAP, "test"), Random(1), "n1")
    begin, end = validity(pair.certificate)
    assert end - begin > 3600 and b"PRIVATE KEY" in pair.key
    [request] = (await admin.list(CERTIFICATE_SIGNING_REQUESTS)).items
    assert request["spec"]["username"] == BOOTSTRAP.name
    assert request["spec"]["signerName"] == "kubernetes.io/kube-apiserver-client-kubelet"


async def test_a_certificate_is_exchanged_in_the_last_third_of_its_life(cluster):
    server, _, authority = cluster
    first = authority.issue_client(NODE.name, ("system:nodes",), lifetime_s=600)
    clock, exchanged = LoopClock(), []
    client = DirectClient(server, NODE, "test")
    certificate = ClientCertificate(client, clock, Random(2), "n1", first.certificate, exchanged.append)
    begin, end = validity(first.certificate)
    assert 0.7 <= (certificate.exchange_at() - begin) / (end - begin) <= 0.9
    await certificate.start()
    await asyncio.sleep(begin + 0.69 * (end - begin) - clock.now())
    assert not exchanged
    await asyncio.sleep(begin + 0.95 * (end - begin) - clock.now())
    await certificate.stop()
    [second] = exchanged
    assert second.key != first.key and validity(second.certificate)[1] > end


async def test_a_request_that_is_denied_is_told(cluster):
    server, admin, _ = cluster
    stranger = DirectClient(server, User("stranger", "", ("strangers", "system:authenticated")), "test")
    waiting = asyncio.create_task(request_client_certificate(stranger, Random(3), "n2"))
    while not (found := (await admin.list(CERTIFICATE_SIGNING_REQUESTS)).items):
        await asyncio.sleep(0.1)
    assert subject_of_request(base64.b64decode(found[0]["spec"]["request"]))[0] == "system:node:n2"
    denied = {"type": "Denied", "status": "True", "reason": "ByHand", "message": "not one of ours"}
    name = found[0]["metadata"]["name"]
    await admin.patch(CERTIFICATE_SIGNING_REQUESTS, name, {"status": {"conditions": [denied]}}, subresource="approval")
    with pytest.raises(CertificateRefused, match="denied: not one of ours"):
        await waiting

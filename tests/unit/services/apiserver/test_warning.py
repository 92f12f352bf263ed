"""What clients are warned about, when, and in how many words."""

from __future__ import annotations

from typing import Any

from cybernetes.core.auth.user import User
from cybernetes.core.objects import CERTIFICATE_SIGNING_REQUESTS
from cybernetes.services.apiserver import warning

PODS = "/api/v1/namespaces/default/pods"
ENDPOINTS = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"


def said(answer: Any) -> list[str]:
    return [value.removeprefix('299 - "').removesuffix('"') for value in answer.headers.getall("Warning", [])]


def test_each_text_once_and_quoted() -> None:
    assert warning.headers(['a "b" \\', "a", "", "a", "line\nend"]) == (
        b'Warning: 299 - "a \\"b\\" \\\\"\r\nWarning: 299 - "a"\r\n'
    )
    assert warning.headers(["é"]) == 'Warning: 299 - "é"\r\n'.encode()


def test_all_of_them_have_a_bound() -> None:
    long = [str(number) * 500 for number in range(10)]
    lines = warning.headers(long[:8]).splitlines()
    assert [len(line) for line in lines] == [len('Warning: 299 - ""') + 500] * 8
    lines = warning.headers([*long, "short"]).splitlines()
    assert [len(line) - len('Warning: 299 - ""') for line in lines] == [256] * 10 + [5]
    lines = warning.headers(f"{number:300}" for number in range(30)).splitlines()
    assert len(lines) == 16


async def test_deprecated_kinds_on_every_request(cluster) -> None:
    path = "/api/v1/namespaces/default/endpoints"
    assert said(await cluster.get(path)) == [ENDPOINTS]
    made = await cluster.post(path, {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "e"}})
    assert (made.code, said(made)) == (201, [ENDPOINTS])
    assert said(await cluster.get("/api/v1/componentstatuses")) == ["v1 ComponentStatus is deprecated in v1.19+"]
    assert said(await cluster.get(PODS)) == []


async def test_pods_are_warned_about_once(cluster, make_pod) -> None:
    pod = make_pod("a")
    pod["spec"]["containers"][0]["env"] = [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]
    assert "hides previous definition" in said(await cluster.post(PODS, pod))[0]
    assert said(await cluster.patch(f"{PODS}/a", {"metadata": {"labels": {"x": "y"}}})) == []
    status = {"status": {"podIPs": [{"ip": "fd00:0::1"}], "podIP": "fd00:0::1"}}
    answer = await cluster.patch(f"{PODS}/a/status", status)
    assert "should be in RFC 5952 canonical format" in said(answer)[0]


async def test_workloads_when_their_generation_changes(cluster) -> None:
    path = "/apis/apps/v1/namespaces/default/deployments"
    env = [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]
    template = {
        "metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "image": "i", "env": env}]},
    }
    deployment = {"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}}
    assert said(await cluster.post(path, deployment))
    assert said(await cluster.patch(f"{path}/d", {"metadata": {"labels": {"x": "y"}}})) == []
    assert said(await cluster.patch(f"{path}/d", {"spec": {"replicas": 3}}))


async def test_who_asks_for_a_certificate_is_written_into_the_request(cluster) -> None:
    import base64

    from cybernetes.core.auth.certificates import new_request
    from cybernetes.core.clock import Random

    user = User("jane", "u1", ("dev", "system:masters"), {"scopes": ("a", "b")})
    request = base64.b64encode(new_request("jane", (), Random(1)).certificate).decode()
    spec = {
        "request": request,
        "signerName": "kubernetes.io/kube-apiserver-client",
        "usages": ["client auth"],
        "username": "eve",
        "groups": ["other"],
    }
    made = await cluster.direct(user).create(CERTIFICATE_SIGNING_REQUESTS, {"metadata": {"name": "c"}, "spec": spec})
    assert made["spec"]["username"] == "jane"
    assert made["spec"]["uid"] == "u1"
    assert made["spec"]["groups"] == ["dev", "system:masters"]
    assert made["spec"]["extra"] == {"scopes": ["a", "b"]}

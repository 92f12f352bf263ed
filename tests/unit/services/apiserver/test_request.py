from __future__ import annotations

import pytest

from cybernetes.core.errors import ApiError
from cybernetes.services.apiserver.request import is_true, parse_info, parse_query, split_target


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("GET", "/api/v1/namespaces/z/pods/x/log", "get /v1 z pods/log x"),
        ("GET", "/api/v1/namespaces/z/pods", "list /v1 z pods "),
        ("GET", "/api/v1/namespaces/z/pods?watch=true", "watch /v1 z pods "),
        ("GET", "/api/v1/namespaces/z/pods?watch=false", "list /v1 z pods "),
        ("GET", "/api/v1/namespaces/z/pods?watch", "watch /v1 z pods "),
        ("HEAD", "/api/v1/nodes/n", "get /v1  nodes n"),
        ("GET", "/apis/apps/v1/deployments", "list apps/v1  deployments "),
        ("POST", "/apis/apps/v1/namespaces/z/deployments", "create apps/v1 z deployments "),
        ("PUT", "/apis/apps/v1/namespaces/z/deployments/d/scale", "update apps/v1 z deployments/scale d"),
        ("PATCH", "/api/v1/namespaces/z", "patch /v1 z namespaces z"),
        ("DELETE", "/api/v1/namespaces/z/pods", "deletecollection /v1 z pods "),
        ("DELETE", "/api/v1/namespaces/z/pods/x", "delete /v1 z pods x"),
        ("PUT", "/api/v1/namespaces/z/finalize", "update /v1 z namespaces/finalize z"),
        ("GET", "/api/v1/namespaces/z/status", "get /v1 z namespaces/status z"),
        ("GET", "/api/v1/namespaces", "list /v1  namespaces "),
        ("GET", "/api/v1/watch/pods", "watch /v1  pods "),
        ("GET", "/api/v1/watch/namespaces/z/pods/x", "watch /v1 z pods x"),
        ("GET", "/api/v1/pods?fieldSelector=metadata.name%3Dx", "list /v1  pods x"),
        ("GET", "/api/v1/pods?fieldSelector=metadata.name%3D%3Dx,a=b", "list /v1  pods x"),
        ("GET", "/api/v1/pods?fieldSelector=metadata.name!%3Dx", "list /v1  pods "),
        ("GET", "/api/v1/pods?fieldSelector=metadata.name%3Da/b", "list /v1  pods "),
        ("OPTIONS", "/api/v1/pods", " /v1  pods "),
        ("GET", "/api/v1/namespaces/z/services/s:80/proxy/a/b", "get /v1 z services/proxy s:80"),
    ],
)
def test_resources(method: str, target: str, expected: str) -> None:
    path, raw = split_target(target)
    info = parse_info(method, path, parse_query(raw))
    assert info.is_resource
    kind = f"{info.resource}/{info.subresource}" if info.subresource else info.resource
    assert f"{info.verb} {info.group}/{info.version} {info.namespace} {kind} {info.name}" == expected


@pytest.mark.parametrize(
    "path", ["/", "/healthz", "/api", "/api/v1", "/apis", "/apis/apps", "/apis/apps/v1", "/version/x"]
)
def test_everything_else_is_a_path(path: str) -> None:
    info = parse_info("GET", path, {})
    assert (info.is_resource, info.verb, info.path) == (False, "get", path)


def test_what_follows_the_subresource_is_kept() -> None:
    assert parse_info("GET", "/api/v1/nodes/n/proxy/metrics/cadvisor", {}).rest == ("metrics", "cadvisor")


def test_targets() -> None:
    assert split_target("/a%20b?x=%20") == ("/a b", "x=%20")
    assert split_target("https://host:1/a/b?c") == ("/a/b", "c")
    assert split_target("*") == ("/*", "")


def test_queries() -> None:
    query = parse_query("a=1&a=2&b&c=%2C")
    assert query == {"a": ["1", "2"], "b": [""], "c": [","]}
    assert is_true(query, "b") and is_true(query, "a") and not is_true(query, "d")
    assert is_true({}, "d", default=True)
    assert not is_true({"a": ["False"]}, "a") and not is_true({"a": ["0"]}, "a")
    with pytest.raises(ApiError) as caught:
        parse_query("&".join("a=1" for _ in range(2000)))
    assert caught.value.code == 400

import pytest

from cybernetes.core.api import discovery
from cybernetes.core.api.registry import Registry, builtin, builtin_resources
from cybernetes.core.api.resource import Resource, Subresource
from cybernetes.core.objects import Gvk, Gvr


def resource(listed, name):
    return next(item for item in listed["resources"] if item["name"] == name)


def crontab(version):
    gvr = Gvr("stable.example.com", version, "crontabs")
    status = Subresource("status", ("get", "patch", "update"), Gvk(gvr.group, version, "CronTab"))
    return Resource(
        gvr, "CronTab", "crontab", True, "", short_names=("ct",), subresources={"status": status}, is_custom=True
    )


def test_api_versions():
    assert discovery.api_versions("10.0.0.1:6443") == {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": "10.0.0.1:6443"}],
    }


def test_groups_come_in_the_order_of_their_priority():
    names = [group["name"] for group in discovery.group_list(builtin())["groups"]]
    assert names[:6] == [
        "apiregistration.k8s.io",
        "apps",
        "events.k8s.io",
        "authentication.k8s.io",
        "authorization.k8s.io",
        "autoscaling",
    ]
    assert names[-1] == "flowcontrol.apiserver.k8s.io"


def test_a_group():
    assert discovery.group(builtin(), "autoscaling") == {
        "kind": "APIGroup",
        "apiVersion": "v1",
        "name": "autoscaling",
        "versions": [
            {"groupVersion": "autoscaling/v2", "version": "v2"},
            {"groupVersion": "autoscaling/v1", "version": "v1"},
        ],
        "preferredVersion": {"groupVersion": "autoscaling/v2", "version": "v2"},
    }
    assert discovery.group(builtin(), "nope") is None
    assert discovery.group(builtin(), "") is None


def test_resources_of_the_core_group():
    listed = discovery.resource_list(builtin(), "", "v1")
    assert {key: value for key, value in listed.items() if key != "resources"} == {
        "kind": "APIResourceList",
        "groupVersion": "v1",
    }
    names = [item["name"] for item in listed["resources"]]
    assert names == sorted(names)
    assert resource(listed, "pods") == {
        "name": "pods",
        "singularName": "pod",
        "namespaced": True,
        "kind": "Pod",
        "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
        "shortNames": ["po"],
        "categories": ["all"],
        "storageVersionHash": "xPOwRZ+Yhw8=",
    }
    assert resource(listed, "pods/eviction") == {
        "name": "pods/eviction",
        "singularName": "",
        "namespaced": True,
        "group": "policy",
        "version": "v1",
        "kind": "Eviction",
        "verbs": ["create"],
    }
    assert "storageVersionHash" not in resource(listed, "bindings")
    assert discovery.resource_list(builtin(), "", "v2") is None


@pytest.mark.parametrize(
    ("group", "version", "name", "expected"),
    [
        ("", "v1", "configmaps", "qFsyl6wFWjQ="),
        ("", "v1", "events", "r2yiGXH7wu8="),
        ("events.k8s.io", "v1", "events", "r2yiGXH7wu8="),
        ("autoscaling", "v1", "horizontalpodautoscalers", "qwQve8ut294="),
        ("autoscaling", "v2", "horizontalpodautoscalers", "qwQve8ut294="),
    ],
)
def test_storage_version_hashes_are_upstreams(group, version, name, expected):
    assert resource(discovery.resource_list(builtin(), group, version), name)["storageVersionHash"] == expected


def test_aggregated_discovery():
    core = discovery.aggregated(builtin(), "/api")
    assert (core["apiVersion"], core["metadata"]) == ("apidiscovery.k8s.io/v2", {})
    assert [item["metadata"] for item in core["items"]] == [{}]
    version = core["items"][0]["versions"][0]
    assert (version["version"], version["freshness"]) == ("v1", "Current")
    assert next(item for item in version["resources"] if item["resource"] == "services") == {
        "resource": "services",
        "responseKind": {"group": "", "version": "", "kind": "Service"},
        "scope": "Namespaced",
        "singularResource": "service",
        "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
        "shortNames": ["svc"],
        "categories": ["all"],
        "subresources": [
            {
                "subresource": "proxy",
                "responseKind": {"group": "", "version": "", "kind": "ServiceProxyOptions"},
                "verbs": ["create", "delete", "get", "patch", "update"],
            },
            {
                "subresource": "status",
                "responseKind": {"group": "", "version": "", "kind": "Service"},
                "verbs": ["get", "patch", "update"],
            },
        ],
    }
    apps = next(
        item for item in discovery.aggregated(builtin(), "/apis")["items"] if item["metadata"]["name"] == "apps"
    )
    deployments = next(item for item in apps["versions"][0]["resources"] if item["resource"] == "deployments")
    assert deployments["subresources"][0]["responseKind"] == {"group": "autoscaling", "version": "v1", "kind": "Scale"}
    assert discovery.aggregated(builtin(), "/apis", "v2beta1")["apiVersion"] == "apidiscovery.k8s.io/v2beta1"


def test_custom_resources_follow_by_name_with_their_best_version_first():
    registry = Registry(builtin_resources())
    for version in ("v1alpha1", "v1", "v1beta1", "v2"):
        registry.add(crontab(version))
    groups = discovery.group_list(registry)["groups"]
    assert groups[-1]["name"] == "stable.example.com"
    assert groups[-1]["preferredVersion"]["version"] == "v2"
    listed = discovery.resource_list(registry, "stable.example.com", "v1")
    assert [item["name"] for item in listed["resources"]] == ["crontabs", "crontabs/status"]


def test_version_priority():
    best_first = "v10 v2 v1 v11beta2 v10beta3 v3beta1 v12alpha1 v11alpha2 foo1 foo10".split()
    assert sorted(set(best_first), key=discovery.version_priority) == best_first

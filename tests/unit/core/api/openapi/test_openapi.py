import re

import kubernetes
import pytest

from cybernetes.core.api import openapi
from cybernetes.core.api.registry import Registry, builtin, builtin_resources
from cybernetes.core.api.resource import Resource
from cybernetes.core.objects import Gvr


@pytest.fixture(scope="module")
def v2():
    return openapi.v2(builtin())


@pytest.fixture(scope="module")
def v3():
    return {name: openapi.v3(builtin(), name) for name in openapi.v3_paths(builtin())}


def operations(document):
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                yield path, method, operation, item.get("parameters", [])


def references(node):
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref" and isinstance(value, str):
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_every_reference_leads_somewhere(v2, v3):
    for reference in references(v2):
        assert reference.removeprefix("#/definitions/") in v2["definitions"]
    for document in v3.values():
        for reference in references(document):
            assert reference.removeprefix("#/components/schemas/") in document["components"]["schemas"]


def test_generated_clients_find_their_operations(v2):
    """The official Python client is generated from upstream's document.

    Every operation of ours is one of its methods.
    """
    unknown = []
    count = 0
    for path, method, operation, _ in operations(v2):
        tag = operation["tags"][0]
        word = re.sub(r"_v(\d)", r"V\1", tag[:1].upper() + tag[1:])
        api = getattr(kubernetes.client, f"{word}Api", None)
        if "x-kubernetes-action" not in operation or "/watch/" in path or method in ("head", "options"):
            continue
        name = operation["operationId"].replace(word, "", 1)
        snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
        count += 1
        if not hasattr(api, snake):
            unknown.append((operation["operationId"], snake))
    assert unknown == []
    assert count > 500


def test_both_documents_have_the_same_operations(v2, v3):
    second = {(path, method): operation["operationId"] for path, method, operation, _ in operations(v2)}
    third = {
        (path, method): operation["operationId"]
        for document in v3.values()
        for path, method, operation, _ in operations(document)
    }
    assert second == third
    assert len(set(second.values())) == len(second)


def test_what_kubectl_looks_for(v3):
    """Server-side validation and dry run are offered when the kind's patch has these parameters."""
    for document in v3.values():
        for _, method, operation, _ in operations(document):
            if method == "patch" and operation["x-kubernetes-action"] == "patch":
                names = {parameter["name"] for parameter in operation["parameters"]}
                assert {"fieldValidation", "dryRun", "fieldManager", "force"} <= names


def test_an_item(v2, v3):
    item = v2["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]
    assert set(item) == {"delete", "get", "parameters", "patch", "put"}
    assert [parameter["name"] for parameter in item["parameters"]] == ["name", "namespace", "pretty"]
    get = item["get"]
    assert get["operationId"] == "readCoreV1NamespacedPod"
    assert get["x-kubernetes-action"] == "get"
    assert get["x-kubernetes-group-version-kind"] == {"group": "", "version": "v1", "kind": "Pod"}
    assert get["responses"]["200"]["schema"] == {"$ref": "#/definitions/io.k8s.api.core.v1.Pod"}
    assert item["put"]["parameters"][0] == {
        "name": "body", "in": "body", "required": True, "schema": {"$ref": "#/definitions/io.k8s.api.core.v1.Pod"},
    }  # fmt: skip
    patch = v3["apis/apps/v1"]["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
    assert "application/strategic-merge-patch+json" in patch["requestBody"]["content"]
    assert patch["requestBody"]["required"] is True
    answer = {"schema": {"$ref": "#/components/schemas/io.k8s.api.apps.v1.Deployment"}}
    assert patch["responses"]["200"]["content"]["application/json"] == answer


def test_definitions(v2, v3):
    ports = v2["definitions"]["io.k8s.api.core.v1.Container"]["properties"]["ports"]
    assert ports["x-kubernetes-list-map-keys"] == ["containerPort", "protocol"]
    assert ports["x-kubernetes-patch-merge-key"] == "containerPort"
    assert ports["x-kubernetes-patch-strategy"] == "merge"
    assert ports["items"] == {"$ref": "#/definitions/io.k8s.api.core.v1.ContainerPort"}
    assert "List of ports to expose" in ports["description"]
    schemas = v3["apis/apps/v1"]["components"]["schemas"]
    spec = schemas["io.k8s.api.apps.v1.DeploymentSpec"]
    strategy = spec["properties"]["strategy"]
    assert strategy["allOf"] == [{"$ref": "#/components/schemas/io.k8s.api.apps.v1.DeploymentStrategy"}]
    assert (strategy["default"], strategy["x-kubernetes-patch-strategy"]) == ({}, "retainKeys")
    assert "default" not in spec["properties"]["replicas"]
    assert schemas["io.k8s.api.core.v1.ContainerPort"]["properties"]["protocol"]["default"] == "TCP"
    intstr = schemas["io.k8s.apimachinery.pkg.util.intstr.IntOrString"]
    assert intstr["oneOf"] == [{"type": "integer"}, {"type": "string"}]
    deployment = schemas["io.k8s.api.apps.v1.Deployment"]
    assert deployment["x-kubernetes-group-version-kind"] == [{"group": "apps", "version": "v1", "kind": "Deployment"}]


def test_the_index_names_every_document_with_its_hash():
    index = openapi.v3_index(builtin())["paths"]
    assert list(index)[:4] == [".well-known/openid-configuration", "api", "api/v1", "apis"]
    assert re.fullmatch(r"/openapi/v3/apis/apps/v1\?hash=[0-9A-F]{128}", index["apis/apps/v1"]["serverRelativeURL"])
    hashes = [entry["serverRelativeURL"].partition("hash=")[2] for entry in index.values()]
    assert len(set(hashes)) == len(hashes)


@pytest.mark.parametrize("name", ["apis/nope/v1", "api/v2", "", "apis/apps/v1/", "nope", "apis/nope"])
def test_unknown_documents(name):
    assert openapi.v3(builtin(), name) is None


def crontabs():
    return Resource(Gvr("stable.example.com", "v1", "crontabs"), "CronTab", "crontab", True, "", is_custom=True)


def define(resource, dialect):
    assert dialect in ("v2", "v3")
    return {f"com.example.stable.v1.{kind}": {"type": "object"} for kind in ("CronTab", "CronTabList")}


def test_custom_resources():
    registry = Registry(builtin_resources())
    registry.add(crontabs())
    document = openapi.v3(registry, "apis/stable.example.com/v1", define)
    item = document["paths"]["/apis/stable.example.com/v1/namespaces/{namespace}/crontabs/{name}"]
    assert item["get"]["operationId"] == "readStableExampleComV1NamespacedCronTab"
    assert item["get"]["tags"] == ["stableExampleCom_v1"]
    assert "application/strategic-merge-patch+json" not in item["patch"]["requestBody"]["content"]
    schemas = document["components"]["schemas"]
    assert "com.example.stable.v1.CronTab" in schemas
    mentioned = set(re.findall(r"#/components/schemas/([^']+)", repr(document)))
    assert openapi.META + "Time" in mentioned and mentioned <= schemas.keys()


def test_what_has_not_changed_keeps_its_hash():
    registry = Registry(builtin_resources())
    first = openapi.v3_index(registry)["paths"]
    registry.add(crontabs())
    second = openapi.v3_index(registry)["paths"]
    assert "apis/stable.example.com/v1" in second
    assert second["api/v1"] == first["api/v1"]

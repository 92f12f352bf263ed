"""What people get wrong, and what they are told: Kubernetes' words, and nothing half done."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from realcluster import Cluster, eventually

pytestmark = pytest.mark.xdist_group("bad-input")


def refused(cluster: Cluster, document: Any, *options: str) -> str:
    text = document if isinstance(document, str) else json.dumps(document)
    finished = cluster.kubectl("create", "-f", "-", *options, stdin=text, check=False)
    assert finished.code == 1, finished
    return finished.err


def deployment(**spec: Any) -> dict[str, Any]:
    template = {
        "metadata": {"labels": {"app": "x"}},
        "spec": {"containers": [{"name": "c", "image": "x"}]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "bad"},
        "spec": {"selector": {"matchLabels": {"app": "x"}}, "template": template, **spec},
    }


def post(cluster: Cluster, path: str, body: str, content_type: str = "application/json") -> tuple[int, dict[str, Any]]:
    """A raw request, past kubectl's own checks."""
    import http.client
    import ssl
    import tempfile
    from base64 import b64decode
    from urllib.parse import urlsplit

    import yaml

    config = yaml.safe_load(cluster.kubeconfig.read_text())
    server = urlsplit(config["clusters"][0]["cluster"]["server"])
    user = config["users"][0]["user"]
    authority = b64decode(config["clusters"][0]["cluster"]["certificate-authority-data"]).decode()
    context = ssl.create_default_context(cadata=authority)
    with tempfile.NamedTemporaryFile() as pair:
        pair.write(b64decode(user["client-certificate-data"]) + b64decode(user["client-key-data"]))
        pair.flush()
        context.load_cert_chain(pair.name)
    assert server.hostname is not None
    connection = http.client.HTTPSConnection(server.hostname, server.port, context=context, timeout=30)
    try:
        connection.request("POST", path, body, {"Content-Type": content_type})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_malformed_yaml_and_json(simulated: Cluster) -> None:
    assert "error parsing" in refused(simulated, "apiVersion: v1\nkind: [unclosed\n")
    code, status = post(simulated, "/api/v1/namespaces/default/configmaps", '{"apiVersion": "v1", "kind":')
    assert (code, status["reason"]) == (400, "BadRequest")
    code, status = post(simulated, "/api/v1/namespaces/default/configmaps", "a: [b", "application/yaml")
    assert (code, status["reason"]) == (400, "BadRequest")


def test_unknown_and_duplicate_fields(simulated: Cluster) -> None:
    path = "/apis/apps/v1/namespaces/default/deployments"
    body = json.dumps(deployment(replica=3))
    body = body.replace('"name": "bad"', '"name": "bad", "name": "bad"')
    code, status = post(simulated, f"{path}?fieldValidation=Strict", body)
    assert code == 400
    assert status["message"] == (
        'Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: '
        'duplicate field "metadata.name", unknown field "spec.replica"'
    )
    assert simulated.kubectl("get", "deployment", "bad", check=False).code == 1
    warned = simulated.kubectl("create", "--validate=warn", "-f", "-", stdin=json.dumps(deployment(replica=3)))
    assert 'Warning: unknown field "spec.replica"' in warned.err
    simulated.kubectl("delete", "deployment", "bad")
    ignored = simulated.kubectl("create", "--validate=ignore", "-f", "-", stdin=json.dumps(deployment(replica=3)))
    assert "Warning" not in ignored.err
    assert "replica" not in simulated.get("deployment", "bad")["spec"]
    simulated.kubectl("delete", "deployment", "bad")


def test_wrong_type_has_its_path(simulated: Cluster) -> None:
    code, status = post(
        simulated, "/apis/apps/v1/namespaces/default/deployments", json.dumps(deployment(replicas="three"))
    )
    assert code == 400
    assert status["message"] == (
        'Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal string into Go struct '
        "field DeploymentSpec.spec.replicas of type int32"
    )


def test_invalid_name(simulated: Cluster) -> None:
    text = refused(simulated, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "Not_Valid"}})
    assert (
        'The ConfigMap "Not_Valid" is invalid: metadata.name: Invalid value: "Not_Valid": a lowercase RFC 1123' in text
    )


def test_every_fault_of_a_pod_is_named(simulated: Cluster) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "bad"},
        "spec": {
            "restartPolicy": "Sometimes",
            "containers": [
                {"name": "c", "image": "x", "ports": [{"containerPort": 99999}]},
                {"name": "c", "image": "x", "volumeMounts": [{"name": "none", "mountPath": "/x"}]},
            ],
        },
    }
    text = refused(simulated, pod)
    for expected in (
        "spec.containers[0].ports[0].containerPort: Invalid value: 99999: must be between 1 and 65535, inclusive",
        'spec.containers[1].name: Duplicate value: "c"',
        'spec.containers[1].volumeMounts[0].name: Not found: "none"',
        'spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"',
    ):
        assert expected in text, text


def test_too_large(simulated: Cluster) -> None:
    big = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "big"}, "data": {"a": "x" * (3 << 20)}}
    code, status = post(simulated, "/api/v1/namespaces/default/configmaps", json.dumps(big))
    assert (code, status["reason"]) == (413, "RequestEntityTooLarge")
    assert simulated.kubectl("get", "configmap", "big", check=False).code == 1


def test_missing_permission(simulated: Cluster) -> None:
    finished = simulated.kubectl("get", "secrets", "--as=jane", check=False)
    expected = (
        'secrets is forbidden: User "jane" cannot list resource "secrets" in API group "" in the namespace "default"'
    )
    assert finished.code == 1 and expected in finished.err


def test_taken_node_port(simulated: Cluster) -> None:
    def service(name: str) -> dict[str, Any]:
        ports = [{"port": 80, "nodePort": 30123}]
        spec = {"type": "NodePort", "ports": ports, "selector": {"a": "b"}}
        return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}

    simulated.kubectl("create", "-f", "-", stdin=json.dumps(service("first")))
    assert "spec.ports[0].nodePort: Invalid value: 30123: provided port is already allocated" in refused(
        simulated, service("second")
    )
    assert simulated.kubectl("get", "service", "second", check=False).code == 1


def test_immutable_selector(simulated: Cluster) -> None:
    simulated.kubectl("create", "-f", "-", stdin=json.dumps(deployment()))
    patch = '{"spec":{"selector":{"matchLabels":{"app":"y"}},"template":{"metadata":{"labels":{"app":"y"}}}}}'
    finished = simulated.kubectl("patch", "deployment", "bad", "-p", patch, check=False)
    assert finished.code == 1 and "field is immutable" in finished.err
    simulated.kubectl("delete", "deployment", "bad")


def test_data_directory_in_use(simulated: Cluster) -> None:
    finished = simulated.up("--runtime", "simulated", check=False)
    assert finished.code == 1
    assert "is in use by process" in finished.err and "cybernetes down --data-dir" in finished.err


def test_taken_port(new_cluster: Callable[[], Cluster]) -> None:
    cluster = new_cluster()
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        finished = cluster.cybernetes("up", "--detach", "--runtime", "simulated", "--port", str(port), check=False)
    assert finished.code == 1
    assert f"127.0.0.1 port {port} is taken by another program" in finished.err
    eventually(lambda: not cluster.processes())


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--runtime", "podman"), "invalid choice: 'podman'"),
        (("--pod-cidr", "10.0.0.0/99"), "--pod-cidr: '10.0.0.0/99' does not appear to be an IPv4 or IPv6 network"),
        (("--without", "etcd"), "--without: there is no component 'etcd'"),
        (("--port", "70000"), "--port: 70000 is not a port"),
        (("--simulation", "/nowhere.yaml"), "--simulation: there is no file /nowhere.yaml"),
        (("--storage", "mysql://x"), "a store is"),
    ],
)
def test_wrong_usage(new_cluster: Callable[[], Cluster], options: tuple[str, ...], expected: str) -> None:
    finished = new_cluster().cybernetes("up", *options, check=False)
    assert finished.code == 2 and expected in finished.err, finished


def test_process_runtime_says_that_it_has_no_images() -> None:
    from cybernetes.services.kubelet.runtimes.interface import ContainerConfig, RuntimeFailure
    from cybernetes.services.kubelet.runtimes.process import specs

    with pytest.raises(RuntimeFailure) as failure:
        specs.container_spec(
            ContainerConfig(name="c", attempt=0, image="nginx"),
            folder=Path("/x"),
            log_path=Path("/x/log"),
            hidden=Path("/x"),
            sandbox_pid=1,
            host_network=False,
            host_ipc=False,
            host_pid=False,
            shares_pid_namespace=False,
            cgroup_files=[],
        )
    assert failure.value.reason == "ErrImagePull" and "--runtime docker" in str(failure.value)

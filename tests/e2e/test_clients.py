"""Client libraries that nobody adapted: kubernetes, kr8s, and an operator written with kopf."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import threading
import uuid
from pathlib import Path
from typing import Any

import pytest

from realcluster import Cluster, eventually

pytestmark = pytest.mark.xdist_group("clients")


@pytest.fixture
def core_api(simulated: Cluster) -> Any:
    from kubernetes import client, config

    config.load_kube_config(str(simulated.kubeconfig))
    return client.CoreV1Api()


def test_kubernetes_client_create_read_patch_delete(core_api: Any) -> None:
    from kubernetes import client

    name = f"cm-{uuid.uuid4().hex[:8]}"
    body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name, labels={"by": "client"}), data={"a": "1"})
    created = core_api.create_namespaced_config_map("default", body)
    assert created.metadata.uid and created.metadata.resource_version
    core_api.patch_namespaced_config_map(name, "default", {"data": {"b": "2"}})
    assert core_api.read_namespaced_config_map(name, "default").data == {"a": "1", "b": "2"}
    created.data = {"lost": "update"}
    with pytest.raises(client.ApiException) as conflict:
        core_api.replace_namespaced_config_map(name, "default", created)
    assert conflict.value.status == 409 and "the object has been modified" in conflict.value.body
    listed = core_api.list_namespaced_config_map("default", label_selector="by=client")
    assert [item.metadata.name for item in listed.items] == [name]
    core_api.delete_namespaced_config_map(name, "default")
    with pytest.raises(client.ApiException) as missing:
        core_api.read_namespaced_config_map(name, "default")
    assert missing.value.status == 404


def test_kubernetes_client_watch_resumes(core_api: Any) -> None:
    from kubernetes import client, watch

    namespace = f"watched-{uuid.uuid4().hex[:8]}"
    core_api.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=namespace)))
    start = core_api.list_namespaced_secret(namespace).metadata.resource_version
    for number in range(3):
        body = client.V1Secret(metadata=client.V1ObjectMeta(name=f"s{number}"), string_data={"n": str(number)})
        core_api.create_namespaced_secret(namespace, body)
    core_api.delete_namespaced_secret("s1", namespace)
    seen = []
    stream = watch.Watch()
    for event in stream.stream(core_api.list_namespaced_secret, namespace, resource_version=start, timeout_seconds=10):
        seen.append((event["type"], event["object"].metadata.name))
        if len(seen) == 4:
            stream.stop()
    assert seen == [("ADDED", "s0"), ("ADDED", "s1"), ("ADDED", "s2"), ("DELETED", "s1")]


def test_kubernetes_client_pages(core_api: Any) -> None:
    from kubernetes import client

    namespace = f"paged-{uuid.uuid4().hex[:8]}"
    core_api.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=namespace)))
    names = [f"cm-{number:02}" for number in range(7)]
    for name in names:
        body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name, labels={"paged": "yes"}))
        core_api.create_namespaced_config_map(namespace, body)
    found: list[str] = []
    token = None
    while True:
        page = core_api.list_namespaced_config_map(namespace, limit=3, _continue=token, label_selector="paged=yes")
        found += [item.metadata.name for item in page.items]
        token = page.metadata._continue
        if not token:
            break
    assert found == names


async def test_kr8s(simulated: Cluster) -> None:
    import kr8s.asyncio
    from kr8s.asyncio.objects import Deployment, Pod

    api = await kr8s.asyncio.api(kubeconfig=str(simulated.kubeconfig))
    deployment = await Deployment(
        {
            "metadata": {"name": "by-kr8s", "namespace": "default"},
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": {"app": "by-kr8s"}},
                "template": {
                    "metadata": {"labels": {"app": "by-kr8s"}},
                    "spec": {"containers": [{"name": "c", "image": "nginx"}]},
                },
            },
        },
        api=api,
    )
    await deployment.create()
    await deployment.wait("condition=Available", timeout=30)
    pods = [pod async for pod in api.get("pods", namespace="default", label_selector="app=by-kr8s")]
    assert len(pods) == 2 and all(isinstance(pod, Pod) for pod in pods)
    await deployment.scale(3)
    await deployment.patch({"metadata": {"annotations": {"note": "patched"}}})
    await deployment.refresh()
    assert deployment.replicas == 3 and deployment.annotations["note"] == "patched"

    is_watching = asyncio.Event()

    async def until_deleted() -> None:
        async for kind, _ in api.watch("deployments", namespace="default", field_selector="metadata.name=by-kr8s"):
            is_watching.set()  # what exists comes first
            if kind == "DELETED":
                return

    watching = asyncio.create_task(until_deleted())
    await asyncio.wait_for(is_watching.wait(), 30)
    await deployment.delete()
    await asyncio.wait_for(watching, 30)


OPERATOR = '''
import kopf


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_):
    settings.posting.enabled = False


@kopf.on.create("", "v1", "configmaps", labels={"shout": kopf.PRESENT})
@kopf.on.update("", "v1", "configmaps", labels={"shout": kopf.PRESENT})
def shout(body, patch, **_):
    """Keep an upper-case copy of every value."""
    loud = {key: value.upper() for key, value in body.get("data", {}).items() if not key.startswith("loud-")}
    patch.setdefault("data", {}).update({f"loud-{key}": value for key, value in loud.items()})
'''


def test_kopf_operator_reconciles(simulated: Cluster, tmp_path: Path) -> None:
    simulated.kubectl("create", "namespace", "kopf")
    program = tmp_path / "operator.py"
    program.write_text(textwrap.dedent(OPERATOR))
    operator = subprocess.Popen(
        [sys.executable, "-m", "kopf", "run", str(program), "--namespace", "kopf", "--standalone"],
        env=simulated.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    output: list[str] = []
    assert operator.stdout is not None
    reader = threading.Thread(target=lambda: output.extend(operator.stdout), daemon=True)  # type: ignore[arg-type]
    reader.start()
    try:
        simulated.kubectl("create", "configmap", "words", "-n", "kopf", "--from-literal=a=hello")
        simulated.kubectl("label", "configmap", "words", "-n", "kopf", "shout=yes")

        def data() -> dict[str, str]:
            found: dict[str, str] = simulated.get("configmap", "words", "-n", "kopf")["data"]
            return found

        eventually(lambda: data().get("loud-a") == "HELLO", timeout_s=60)
        simulated.kubectl("patch", "configmap", "words", "-n", "kopf", "--type=merge", "-p", '{"data":{"a":"bye"}}')
        eventually(lambda: data().get("loud-a") == "BYE", timeout_s=60)
    except AssertionError as error:
        raise AssertionError("".join(output)) from error
    finally:
        operator.terminate()
        operator.wait(timeout=30)
    # It leaves: the finalizer that it may have set goes with it, so nothing hangs.
    simulated.kubectl("delete", "configmap", "words", "-n", "kopf", "--wait=false")

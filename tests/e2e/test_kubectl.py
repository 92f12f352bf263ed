"""The real kubectl on three simulated nodes: what people type in their first hour."""

from __future__ import annotations

import json
import signal
import subprocess
import textwrap
from pathlib import Path

import pytest

from realcluster import KUBECTL, Cluster, eventually

pytestmark = pytest.mark.xdist_group("simulated")

GUESTBOOK = """
apiVersion: v1
kind: ReplicationController
metadata: {name: guestbook, labels: {app: guestbook}}
spec:
  replicas: 3
  selector: {app: guestbook}
  template:
    metadata: {labels: {app: guestbook}}
    spec:
      containers:
      - name: guestbook
        image: registry.k8s.io/guestbook:v3
        ports: [{name: http-server, containerPort: 3000}]
---
apiVersion: v1
kind: Service
metadata: {name: guestbook, labels: {app: guestbook}}
spec:
  ports: [{port: 3000, targetPort: http-server}]
  selector: {app: guestbook}
---
apiVersion: v1
kind: ReplicationController
metadata: {name: redis-replica, labels: {app: redis, role: replica}}
spec:
  replicas: 2
  selector: {app: redis, role: replica}
  template:
    metadata: {labels: {app: redis, role: replica}}
    spec:
      containers: [{name: replica, image: redis, ports: [{name: redis, containerPort: 6379}]}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: redis-master}
spec:
  selector: {matchLabels: {app: redis, role: master}}
  template:
    metadata: {labels: {app: redis, role: master}}
    spec:
      containers: [{name: master, image: redis, ports: [{name: redis, containerPort: 6379}]}]
"""


@pytest.fixture(scope="module")
def guestbook(simulated: Cluster) -> Cluster:
    simulated.kubectl("create", "namespace", "guestbook")
    simulated.kubectl("apply", "-n", "guestbook", "-f", "-", stdin=GUESTBOOK)
    simulated.kubectl("wait", "-n", "guestbook", "--for=condition=Ready", "pod", "--all", "--timeout=30s")
    return simulated


def pods_of(cluster: Cluster, selector: str, namespace: str = "guestbook") -> list[str]:
    found = cluster.get("pods", "-n", namespace, "-l", selector)["items"]
    return [pod["metadata"]["name"] for pod in found if "deletionTimestamp" not in pod["metadata"]]


def test_everything_runs_and_is_selected(guestbook: Cluster) -> None:
    selector = "app in (guestbook, redis),role!=replica"
    table = guestbook.kubectl("get", "pods", "-n", "guestbook", "-l", selector, "-o", "wide").out.splitlines()
    assert table[0].split() == "NAME READY STATUS RESTARTS AGE IP NODE NOMINATED NODE READINESS GATES".split()
    assert len(table) == 1 + 3 + 1
    assert all(" 1/1 " in line and " Running " in line for line in table[1:])
    nodes = {pod["spec"]["nodeName"] for pod in guestbook.get("pods", "-n", "guestbook")["items"]}
    assert nodes == {"node-1", "node-2", "node-3"}


def test_services_find_their_pods(guestbook: Cluster) -> None:
    slices = guestbook.get("endpointslices", "-n", "guestbook", "-l", "kubernetes.io/service-name=guestbook")["items"]
    addresses = {address for item in slices for endpoint in item["endpoints"] for address in endpoint["addresses"]}
    ips = {pod["status"]["podIP"] for pod in guestbook.get("pods", "-n", "guestbook", "-l", "app=guestbook")["items"]}
    assert addresses == ips
    assert {port["port"] for item in slices for port in item["ports"]} == {3000}


def test_describe(guestbook: Cluster) -> None:
    text = guestbook.kubectl("describe", "rc", "guestbook", "-n", "guestbook").out
    assert "Replicas:     3 current / 3 desired" in text
    assert "SuccessfulCreate" in text and "replication-controller" in text
    name = pods_of(guestbook, "app=guestbook")[0]
    text = guestbook.kubectl("describe", "pod", name, "-n", "guestbook").out
    for expected in ("Controlled By:  ReplicationController/guestbook", "Successfully assigned guestbook/", "Ready"):
        assert expected in text, text


def test_scale_a_replication_controller(guestbook: Cluster) -> None:
    guestbook.kubectl("scale", "rc", "guestbook", "-n", "guestbook", "--replicas=5")
    eventually(lambda: len(pods_of(guestbook, "app=guestbook")) == 5)
    guestbook.kubectl("scale", "rc", "guestbook", "-n", "guestbook", "--replicas=3", "--current-replicas=5")
    eventually(lambda: len(pods_of(guestbook, "app=guestbook")) == 3)
    refused = guestbook.kubectl(
        "scale", "rc", "guestbook", "-n", "guestbook", "--replicas=9", "--current-replicas=7", check=False
    )
    assert refused.code == 1 and "Expected replicas to be 7, was 3" in refused.err


def test_label_annotate_patch(guestbook: Cluster) -> None:
    name = pods_of(guestbook, "app=guestbook")[0]
    guestbook.kubectl("label", "pod", name, "-n", "guestbook", "tier=front")
    guestbook.kubectl("annotate", "pod", name, "-n", "guestbook", "example.com/note=first")
    pod = guestbook.get("pod", name, "-n", "guestbook")
    assert pod["metadata"]["labels"]["tier"] == "front"
    assert pod["metadata"]["annotations"]["example.com/note"] == "first"
    refused = guestbook.kubectl("label", "pod", name, "-n", "guestbook", "tier=back", check=False)
    assert "already has a value (front), and --overwrite is false" in refused.err
    patches = [
        ("strategic", '{"spec":{"template":{"spec":{"containers":[{"name":"guestbook","image":"guestbook:v4"}]}}}}'),
        ("merge", '{"metadata":{"annotations":{"merged":"yes"}}}'),
        ("json", '[{"op":"add","path":"/metadata/annotations/patched","value":"yes"}]'),
    ]
    for kind, patch in patches:
        guestbook.kubectl("patch", "rc", "guestbook", "-n", "guestbook", f"--type={kind}", "-p", patch)
    rc = guestbook.get("rc", "guestbook", "-n", "guestbook")
    container = rc["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "guestbook:v4"
    assert container["ports"] == [{"containerPort": 3000, "name": "http-server", "protocol": "TCP"}]
    assert rc["metadata"]["annotations"]["merged"] == rc["metadata"]["annotations"]["patched"] == "yes"


def test_orphaned_pods_stay_and_are_adopted_again(guestbook: Cluster) -> None:
    guestbook.kubectl("delete", "rc", "redis-replica", "-n", "guestbook", "--cascade=orphan")
    names = pods_of(guestbook, "role=replica")
    assert len(names) == 2
    pod = guestbook.get("pod", names[0], "-n", "guestbook")
    eventually(lambda: not guestbook.get("pod", names[0], "-n", "guestbook")["metadata"].get("ownerReferences"))
    assert "deletionTimestamp" not in pod["metadata"]
    guestbook.kubectl("apply", "-n", "guestbook", "-f", "-", stdin=GUESTBOOK)
    owned = eventually(lambda: guestbook.get("pod", names[0], "-n", "guestbook")["metadata"].get("ownerReferences"))
    assert owned[0]["name"] == "redis-replica"
    assert sorted(pods_of(guestbook, "role=replica")) == sorted(names)


def test_rollout_history_and_undo(simulated: Cluster) -> None:
    kubectl = simulated.kubectl
    kubectl("create", "deployment", "web", "--image=nginx:1", "--replicas=3")
    kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    kubectl("set", "image", "deployment/web", "nginx=nginx:2")
    kubectl("annotate", "deployment/web", "kubernetes.io/change-cause=second image")
    assert "successfully rolled out" in kubectl("rollout", "status", "deployment/web", "--timeout=30s").out
    history = kubectl("rollout", "history", "deployment/web").out.splitlines()
    assert history[1].split() == ["REVISION", "CHANGE-CAUSE"]
    assert [line.split()[0] for line in history[2:] if line] == ["1", "2"]
    kubectl("rollout", "undo", "deployment/web")
    kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    deployment = simulated.get("deployment", "web")
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == "nginx:1"
    assert deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"
    kubectl("rollout", "pause", "deployment/web")
    kubectl("set", "image", "deployment/web", "nginx=nginx:3")
    assert len(simulated.get("rs", "-l", "app=web")["items"]) == 2
    kubectl("rollout", "resume", "deployment/web")
    kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    kubectl("delete", "deployment", "web", "--cascade=foreground", "--timeout=30s")
    assert simulated.get("rs", "-l", "app=web")["items"] == []


def test_expose_and_run(simulated: Cluster) -> None:
    simulated.kubectl("create", "deployment", "shop", "--image=nginx", "--port=80")
    assert "service/shop exposed" in simulated.kubectl("expose", "deployment", "shop", "--type=NodePort").out
    service = simulated.get("service", "shop")
    assert service["spec"]["clusterIP"].startswith("10.96.")
    assert 30000 <= service["spec"]["ports"][0]["nodePort"] <= 32767
    simulated.kubectl("run", "one", "--image=busybox", "--", "sleep", "1000")
    assert "condition met" in simulated.kubectl("wait", "--for=condition=Ready", "pod/one", "--timeout=30s").out
    assert simulated.get("pod", "one")["spec"]["containers"][0]["args"] == ["sleep", "1000"]


def test_logs_exec_port_forward(simulated: Cluster) -> None:
    simulated.kubectl("run", "talker", "--image=busybox")
    simulated.kubectl("wait", "--for=condition=Ready", "pod/talker", "--timeout=30s")
    assert simulated.kubectl("logs", "talker").out
    assert simulated.kubectl("exec", "talker", "--", "echo", "hello").out == "hello\n"
    follower = simulated.start("logs", "-f", "talker")
    assert follower.stdout is not None and follower.stdout.readline()
    follower.send_signal(signal.SIGINT)
    follower.communicate(timeout=10)
    missing = simulated.kubectl("logs", "talker", "-c", "none", check=False)
    assert "container none is not valid for pod talker" in missing.err


def test_top(simulated: Cluster) -> None:
    lines = simulated.kubectl("top", "nodes").out.splitlines()
    assert lines[0].split() == ["NAME", "CPU(cores)", "CPU(%)", "MEMORY(bytes)", "MEMORY(%)"]
    assert {line.split()[0] for line in lines[1:]} == {"node-1", "node-2", "node-3"}
    refused = simulated.kubectl("top", "pod", "nobody", check=False)
    assert refused.code == 1 and 'pods.metrics.k8s.io "nobody" not found' in refused.err


def test_explain_api_resources_can_i(simulated: Cluster) -> None:
    text = simulated.kubectl("explain", "deployment.spec.strategy.rollingUpdate").out
    assert "maxSurge" in text and "VERSION:    v1" in text
    listed = simulated.kubectl("api-resources", "-o", "name").out.split()
    assert {"pods", "deployments.apps", "cronjobs.batch", "endpointslices.discovery.k8s.io"} <= set(listed)
    assert simulated.kubectl("auth", "can-i", "create", "pods").out == "yes\n"
    refused = simulated.kubectl(
        "auth", "can-i", "create", "pods", "--as=system:serviceaccount:default:default", check=False
    )
    assert refused.out.startswith("no") and refused.code == 1
    assert "kubernetes-admin" in simulated.kubectl("auth", "whoami").out


def test_edit_through_an_editor(simulated: Cluster, tmp_path: Path) -> None:
    simulated.kubectl("create", "configmap", "settings", "--from-literal=color=red")
    editor = tmp_path / "editor.sh"
    editor.write_text("#!/bin/sh\nsed -i 's/color: red/color: blue/' \"$1\"\n")
    editor.chmod(0o755)
    environment = {**simulated.environment, "KUBE_EDITOR": str(editor)}
    subprocess.run([KUBECTL, "edit", "configmap", "settings"], env=environment, check=True, timeout=30)
    assert simulated.get("configmap", "settings")["data"] == {"color": "blue"}


def test_diff_and_apply_again(simulated: Cluster) -> None:
    manifest = textwrap.dedent(
        """
        apiVersion: v1
        kind: ConfigMap
        metadata: {name: applied}
        data: {a: "1", b: "2"}
        """
    )
    assert "configmap/applied created" in simulated.kubectl("apply", "-f", "-", stdin=manifest).out
    assert "configmap/applied unchanged" in simulated.kubectl("apply", "-f", "-", stdin=manifest).out
    changed = manifest.replace('b: "2"', 'c: "3"')
    assert "configmap/applied configured" in simulated.kubectl("apply", "-f", "-", stdin=changed).out
    assert simulated.get("configmap", "applied")["data"] == {"a": "1", "c": "3"}


def test_namespace_deletion_takes_everything_with_it(simulated: Cluster) -> None:
    simulated.kubectl("create", "namespace", "doomed")
    simulated.kubectl("create", "deployment", "d", "-n", "doomed", "--image=nginx", "--replicas=2")
    simulated.kubectl("create", "configmap", "c", "-n", "doomed", "--from-literal=a=b")
    simulated.kubectl("delete", "namespace", "doomed", "--timeout=60s")
    assert simulated.kubectl("get", "namespace", "doomed", check=False).code == 1
    refused = simulated.kubectl("create", "configmap", "c", "-n", "doomed", check=False)
    assert 'namespaces "doomed" not found' in refused.err


def test_unschedulable_pod_says_why(simulated: Cluster) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "huge"},
        "spec": {"containers": [{"name": "c", "image": "x", "resources": {"requests": {"cpu": "1000"}}}]},
    }
    simulated.kubectl("apply", "-f", "-", stdin=json.dumps(pod))

    def message() -> str:
        for condition in simulated.get("pod", "huge")["status"].get("conditions", ()):
            if condition["type"] == "PodScheduled" and condition["status"] == "False":
                return str(condition["message"])
        return ""

    assert eventually(message).startswith("0/3 nodes are available: 3 Insufficient cpu.")
    events = eventually(
        lambda: simulated.get("events", "--field-selector", "reason=FailedScheduling,involvedObject.name=huge")["items"]
    )
    assert "3 Insufficient cpu" in events[0]["message"]


MANIFESTS = Path(__file__).resolve().parents[2].parent / "shared" / "manifests"


@pytest.mark.skipif(not MANIFESTS.exists(), reason="needs kubernetes/examples' manifests in ../shared/manifests")
@pytest.mark.parametrize("example", ["guestbook-go", "guestbook"])
def test_published_examples_run(simulated: Cluster, example: str) -> None:
    namespace = f"published-{example}"
    simulated.kubectl("create", "namespace", namespace)
    simulated.kubectl("apply", "-n", namespace, "-f", str(MANIFESTS / example))
    simulated.kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod", "--all", "--timeout=60s")
    phases = {pod["status"]["phase"] for pod in simulated.get("pods", "-n", namespace)["items"]}
    assert phases == {"Running"}

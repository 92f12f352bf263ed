"""What pods use, as kubectl top shows it, and an autoscaler that follows it: annotations give simulated pods a load."""

from __future__ import annotations

import json

from realcluster import Cluster, eventually

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: loaded}
spec:
  replicas: 1
  selector: {matchLabels: {app: loaded}}
  template:
    metadata:
      labels: {app: loaded}
      annotations: {cybernetes.io/cpu-usage: 90m, cybernetes.io/memory-usage: 64Mi}
    spec:
      containers: [{name: c, image: x, resources: {requests: {cpu: 100m}}}]
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: loaded}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: loaded}
  minReplicas: 1
  maxReplicas: 3
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]
"""


def test_a_load_is_seen_and_followed(simulated: Cluster) -> None:
    cluster = simulated
    cluster.kubectl("apply", "-f", "-", stdin=WEB)
    cluster.kubectl("rollout", "status", "deployment/loaded")

    def pods() -> list[list[str]]:
        answer = cluster.kubectl("top", "pods", "-l", "app=loaded", "--no-headers", check=False)
        return [line.split() for line in answer.out.splitlines()] if answer.code == 0 else []

    used = eventually(pods)
    assert used[0][2] == "64Mi"
    assert 85 <= int(used[0][1].removesuffix("m")) <= 95
    nodes = cluster.kubectl("top", "nodes", "--no-headers").out.splitlines()
    assert {line.split()[0] for line in nodes} == {"node-1", "node-2", "node-3"}
    listed = json.loads(cluster.kubectl("get", "--raw", "/apis/metrics.k8s.io/v1beta1/nodes").out)
    assert listed["kind"] == "NodeMetricsList"

    def has_grown() -> bool:
        return cluster.get("hpa", "loaded")["status"].get("desiredReplicas") == 3

    eventually(has_grown, 90)
    events = cluster.kubectl("get", "events", "--field-selector", "involvedObject.name=loaded").out
    assert "cpu resource utilization (percentage of request) above target" in events


def test_who_may_view_may_see_what_is_used(simulated: Cluster) -> None:
    cluster = simulated
    cluster.kubectl("create", "rolebinding", "viewer", "--clusterrole=view", "--user=vera")
    may = ("auth", "can-i", "list", "pods.metrics.k8s.io", "--as=vera")
    eventually(lambda: cluster.kubectl(*may, check=False).out.strip() == "yes")

"""The order of a write: what admission adds counts for what is prepared and for names."""

from __future__ import annotations

from cybernetes.core.objects import LIMIT_RANGES, PODS


async def test_a_pod_s_class_follows_from_the_limits_of_its_namespace(cluster, make_pod) -> None:
    client = cluster.direct()
    limits = [{"type": "Container", "default": {"cpu": "1", "memory": "1Gi"}}]
    await client.create(LIMIT_RANGES, {"metadata": {"name": "l"}, "spec": {"limits": limits}}, "default")
    pod = await client.create(PODS, make_pod("a"), "default")
    assert pod["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "1", "memory": "1Gi"}
    assert pod["status"]["qosClass"] == "Guaranteed"


async def test_a_refused_pod_is_called_by_what_its_name_is_made_from(cluster, make_pod) -> None:
    pod = make_pod("", generateName="web-")
    del pod["metadata"]["name"]
    pod["spec"]["serviceAccountName"] = "none"
    answer = await cluster.post("/api/v1/namespaces/default/pods", pod)
    assert answer.json()["message"].startswith(
        'pods "web-" is forbidden: error looking up service account default/none'
    )

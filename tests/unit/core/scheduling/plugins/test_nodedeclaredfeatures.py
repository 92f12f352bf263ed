from typing import Any

import pytest
from builders import ask, cluster, node, pod

RESTARTING = [{"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [1]}}]


@pytest.mark.parametrize(
    ("spec", "feature"),
    [
        ({"containers": [{"name": "c", "restartPolicyRules": RESTARTING}]}, "RestartAllContainersOnContainerExits"),
        ({"hostNetwork": True, "hostUsers": False}, "UserNamespacesHostNetworkSupport"),
        ({"hostNetwork": True}, ""),
    ],
)
def test_a_node_must_say_that_it_can(spec: dict[str, Any], feature: str) -> None:
    able, other = node("able"), node("other")
    able["status"]["declaredFeatures"] = ["Other", feature]
    wanted = pod()
    wanted["spec"] |= spec
    verdict = ask(cluster([able, other]), wanted)
    assert verdict.refused == ({"other": ("node(s) didn't match Pod's required features",)} if feature else {})

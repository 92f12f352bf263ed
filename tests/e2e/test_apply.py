"""Server-side apply with the real kubectl: managers, conflicts, force, shared fields, abandoned fields, migration."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from realcluster import Cluster

pytestmark = pytest.mark.xdist_group("simulated")


def deployment(name: str, replicas: int | None = 1, image: str = "nginx:1", **metadata: Any) -> str:
    spec: dict[str, Any] = {
        "selector": {"matchLabels": {"app": name}},
        "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": "web", "image": image, "ports": [{"containerPort": 80}]}]},
        },
    }
    if replicas is not None:
        spec["replicas"] = replicas
    return yaml.safe_dump(
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, **metadata}, "spec": spec}
    )


def managed(cluster: Cluster, *what: str) -> dict[tuple[str, str, str], Any]:
    """(manager, operation, subresource) -> the fields, of one object."""
    shown = yaml.safe_load(cluster.kubectl("get", *what, "-o", "yaml", "--show-managed-fields").out)
    return {
        (entry["manager"], entry["operation"], entry.get("subresource", "")): entry["fieldsV1"]
        for entry in shown["metadata"]["managedFields"]
    }


def revision(cluster: Cluster, *what: str) -> str:
    return str(cluster.get(*what)["metadata"]["resourceVersion"])


def test_apply_owns_what_it_says_and_no_more(simulated: Cluster) -> None:
    config = deployment("owned", labels={"tier": "front"})
    created = simulated.kubectl("apply", "--server-side", "-f", "-", stdin=config)
    assert created.out == "deployment.apps/owned serverside-applied\n"
    assert "managedFields" not in simulated.kubectl("get", "deployment", "owned", "-o", "yaml").out
    fields = managed(simulated, "deployment", "owned")
    assert fields["kubectl", "Apply", ""] == {
        "f:metadata": {"f:labels": {"f:tier": {}}},
        "f:spec": {
            "f:replicas": {},
            "f:selector": {},
            "f:template": {
                "f:metadata": {"f:labels": {"f:app": {}}},
                "f:spec": {
                    "f:containers": {
                        'k:{"name":"web"}': {
                            ".": {},
                            "f:image": {},
                            "f:name": {},
                            "f:ports": {'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}},
                        }
                    }
                },
            },
        },
    }
    # The controllers are known too, by what they have written.
    simulated.kubectl("rollout", "status", "deployment/owned", "--timeout=60s")
    controller = managed(simulated, "deployment", "owned")["kube-controller-manager", "Update", "status"]
    assert "f:readyReplicas" in controller["f:status"]


def test_an_apply_that_changes_nothing_changes_nothing(simulated: Cluster) -> None:
    config = yaml.safe_dump(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "still"}, "data": {"a": "1", "b": "2"}}
    )
    simulated.kubectl("apply", "--server-side", "-f", "-", stdin=config)
    before = simulated.kubectl("get", "configmap", "still", "-o", "yaml", "--show-managed-fields").out
    simulated.kubectl("apply", "--server-side", "-f", "-", stdin=config)
    assert simulated.kubectl("get", "configmap", "still", "-o", "yaml", "--show-managed-fields").out == before


def test_conflicts_force_and_shared_fields(simulated: Cluster) -> None:
    simulated.kubectl("apply", "--server-side", "-f", "-", stdin=deployment("contested"))
    simulated.kubectl("scale", "deployment", "contested", "--replicas=3")
    assert "f:replicas" in managed(simulated, "deployment", "contested")["kubectl", "Update", "scale"]["f:spec"]

    other = deployment("contested", replicas=2)
    refused = simulated.kubectl("apply", "--server-side", "--field-manager=robot", "-f", "-", stdin=other, check=False)
    assert refused.code == 1
    assert (
        'Apply failed with 1 conflict: conflict with "kubectl" with subresource "scale" using apps/v1: .spec.replicas'
        in refused.err
    )
    assert "Please review the fields above--they currently have other managers." in refused.err

    # Who does not say how many has no conflict; who says the same number shares it.
    simulated.kubectl(
        "apply", "--server-side", "--field-manager=robot", "-f", "-", stdin=deployment("contested", replicas=None)
    )
    simulated.kubectl(
        "apply", "--server-side", "--field-manager=robot", "-f", "-", stdin=deployment("contested", replicas=3)
    )
    fields = managed(simulated, "deployment", "contested")
    assert "f:replicas" in fields["robot", "Apply", ""]["f:spec"]
    assert "f:replicas" in fields["kubectl", "Update", "scale"]["f:spec"]

    forced = simulated.kubectl(
        "apply", "--server-side", "--force-conflicts", "--field-manager=robot", "-f", "-", stdin=other
    )
    assert forced.out == "deployment.apps/contested serverside-applied\n"
    fields = managed(simulated, "deployment", "contested")
    assert ("kubectl", "Update", "scale") not in fields, "it owned nothing else"
    assert simulated.get("deployment", "contested")["spec"]["replicas"] == 2


def test_abandoned_fields_go_unless_somebody_else_wants_them(simulated: Cluster) -> None:
    def config(**data: str) -> str:
        return yaml.safe_dump({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "left"}, "data": data})

    simulated.kubectl("apply", "--server-side", "-f", "-", stdin=config(mine="1", ours="2"))
    simulated.kubectl("apply", "--server-side", "--field-manager=robot", "-f", "-", stdin=config(ours="2", its="3"))
    simulated.kubectl("apply", "--server-side", "-f", "-", stdin=config(new="4"))
    assert simulated.get("configmap", "left")["data"] == {"ours": "2", "its": "3", "new": "4"}
    fields = managed(simulated, "configmap", "left")
    assert fields["kubectl", "Apply", ""] == {"f:data": {"f:new": {}}}
    assert fields["robot", "Apply", ""] == {"f:data": {"f:its": {}, "f:ours": {}}}


def test_diff_on_the_server_changes_nothing(simulated: Cluster) -> None:
    simulated.kubectl("apply", "--server-side", "-f", "-", stdin=deployment("same"))
    simulated.kubectl("rollout", "status", "deployment/same", "--timeout=60s")
    assert simulated.kubectl("diff", "--server-side", "-f", "-", stdin=deployment("same")).out == ""
    before = revision(simulated, "deployment", "same")
    shown = simulated.kubectl(
        "diff", "--server-side", "-f", "-", stdin=deployment("same", image="nginx:2"), check=False
    )
    assert shown.code == 1
    assert "-      - image: nginx:1" in shown.out and "+      - image: nginx:2" in shown.out
    tried = simulated.kubectl(
        "apply", "--server-side", "--dry-run=server", "-f", "-", stdin=deployment("same", image="nginx:3")
    )
    assert tried.out == "deployment.apps/same serverside-applied (server dry run)\n"
    assert revision(simulated, "deployment", "same") == before


def test_from_client_side_apply_and_back(simulated: Cluster) -> None:
    config = deployment("moved", labels={"old": "1"})
    simulated.kubectl("apply", "-f", "-", stdin=config)
    assert ("kubectl-client-side-apply", "Update", "") in managed(simulated, "deployment", "moved")
    last = simulated.kubectl("apply", "view-last-applied", "deployment/moved").out
    assert yaml.safe_load(last)["metadata"]["labels"] == {"old": "1"}

    # What client-side apply managed becomes kubectl's own: the label that it gives up goes.
    simulated.kubectl("apply", "--server-side", "-f", "-", stdin=deployment("moved", replicas=2, labels={"new": "1"}))
    fields = managed(simulated, "deployment", "moved")
    assert ("kubectl-client-side-apply", "Update", "") not in fields
    assert fields["kubectl", "Apply", ""]["f:metadata"] == {"f:labels": {"f:new": {}}}
    found = simulated.get("deployment", "moved")
    assert found["metadata"]["labels"] == {"new": "1"} and found["spec"]["replicas"] == 2
    # The annotation has followed, so that client-side apply can go on from there.
    last = simulated.kubectl("apply", "view-last-applied", "deployment/moved").out
    assert yaml.safe_load(last)["metadata"]["labels"] == {"new": "1"}
    simulated.kubectl("apply", "-f", "-", stdin=deployment("moved", replicas=2))
    assert "labels" not in simulated.get("deployment", "moved")["metadata"]


def test_what_does_not_fit_is_refused(simulated: Cluster) -> None:
    wrong = deployment("wrong").replace("replicas: 1", "replicaz: 1")
    refused = simulated.kubectl("apply", "--server-side", "-f", "-", stdin=wrong, check=False)
    assert refused.code == 1
    assert ".spec.replicaz: field not declared in schema" in refused.err
    twice = deployment("wrong").replace("- containerPort: 80", "- containerPort: 80\n        - containerPort: 80")
    refused = simulated.kubectl("apply", "--server-side", "-f", "-", stdin=twice, check=False)
    assert 'duplicate entries for key [containerPort=80,protocol="TCP"]' in refused.err
    assert simulated.kubectl("get", "deployment", "wrong", check=False).code == 1


def test_every_kind_of_write_names_its_manager(simulated: Cluster) -> None:
    simulated.kubectl("create", "configmap", "written", "--from-literal=a=1")
    simulated.kubectl("label", "configmap", "written", "x=y")
    simulated.kubectl("patch", "configmap", "written", "-p", '{"data":{"b":"2"}}', "--field-manager=patcher")
    changed = simulated.kubectl("get", "configmap", "written", "-o", "yaml").out.replace('b: "2"', 'b: "3"')
    simulated.kubectl("replace", "-f", "-", stdin=changed)
    fields = managed(simulated, "configmap", "written")
    assert fields == {
        ("kubectl-create", "Update", ""): {"f:data": {".": {}, "f:a": {}}},
        ("kubectl-label", "Update", ""): {"f:metadata": {"f:labels": {".": {}, "f:x": {}}}},
        ("kubectl-replace", "Update", ""): {"f:data": {"f:b": {}}},
    }, "the patcher has lost its only field"

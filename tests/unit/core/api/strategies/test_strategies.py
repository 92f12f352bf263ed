"""What a write may not touch, and what counts as a change."""

import samples
from apiobjects import changed, context, made, read, resource_of

from cybernetes.core.api import strategies
from cybernetes.core.objects import clone


def updated(new, old):
    found = read(new)
    if "generation" in old["metadata"]:
        found["metadata"]["generation"] = old["metadata"]["generation"]
    resource_of(old).strategy.prepare_update(found, old, context())
    return found


def with_status(new, old):
    found = read(new)
    resource_of(old).strategy.prepare_status(found, old, context())
    return found


def test_a_new_object_has_no_status_and_the_first_generation():
    deployment = made(changed(samples.DEPLOYMENT, {"status": {"replicas": 5}}))
    assert deployment["status"] == {}
    assert deployment["metadata"]["generation"] == 1


def test_an_update_keeps_the_status_and_counts_changes():
    stored = changed(made(samples.DEPLOYMENT), {"status": {"replicas": 5}})
    same = updated(changed(stored, {"status": {"replicas": 9}, "metadata.labels": {"a": "b"}}), stored)
    assert same["status"] == {"replicas": 5}
    assert same["metadata"]["generation"] == 1
    more = updated(changed(stored, {"spec.replicas": 3}), stored)
    assert more["metadata"]["generation"] == 2
    noted = updated(changed(stored, {"metadata.annotations": {"a": "b"}}), stored)
    assert noted["metadata"]["generation"] == 2  # annotations of a Deployment reach its ReplicaSets


def test_a_status_update_changes_the_status_alone():
    stored = made(samples.DEPLOYMENT)
    found = with_status(changed(stored, {"spec.replicas": 9, "status": {"replicas": 9}}), stored)
    assert found["spec"]["replicas"] == 1
    assert found["status"] == {"replicas": 9}


def test_a_pod_starts_pending_with_its_class():
    pod = made(changed(samples.POD, {"status": {"phase": "Running"}}))
    assert pod["status"] == {"phase": "Pending", "qosClass": "BestEffort"}
    amounts = {"limits": {"cpu": "1", "memory": "1Gi"}}
    assert made(changed(samples.POD, {"spec.containers.0.resources": amounts}))["status"]["qosClass"] == "Guaranteed"
    less = {"requests": {"cpu": "1"}}
    assert made(changed(samples.POD, {"spec.containers.0.resources": less}))["status"]["qosClass"] == "Burstable"


def test_a_gated_pod_says_why_it_is_not_scheduled():
    pod = made(changed(samples.POD, {"spec.schedulingGates": [{"name": "g"}]}))
    (condition,) = pod["status"]["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == (
        "PodScheduled",
        "False",
        "SchedulingGated",
    )


def test_a_namespace_is_active_and_waits_for_its_content():
    namespace = made(samples.NAMESPACE)
    assert namespace["spec"]["finalizers"] == ["kubernetes"]
    assert namespace["status"] == {"phase": "Active"}
    other = updated(changed(namespace, {"spec.finalizers": []}), namespace)
    assert other["spec"]["finalizers"] == ["kubernetes"]


def test_a_job_selects_its_own_pods():
    job = made(samples.JOB)
    assert job["spec"]["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": "u-1"}}
    labels = {
        "batch.kubernetes.io/controller-uid": "u-1",
        "batch.kubernetes.io/job-name": "x",
        "controller-uid": "u-1",
        "job-name": "x",
    }
    assert job["spec"]["template"]["metadata"]["labels"] == labels
    assert job["metadata"]["labels"] == labels


def test_a_service_keeps_what_was_allocated_for_it():
    stored = made(
        changed(
            samples.SERVICE,
            {
                "spec.type": "NodePort",
                "spec.clusterIP": "10.0.0.1",
                "spec.clusterIPs": ["10.0.0.1"],
                "spec.ports.0.nodePort": 30001,
            },
        )
    )
    again = updated(changed(samples.SERVICE, {"spec.type": "NodePort"}), stored)
    assert again["spec"]["clusterIPs"] == ["10.0.0.1"]
    assert again["spec"]["ports"][0]["nodePort"] == 30001
    plain = updated(changed(clone(stored), {"spec.type": "ClusterIP", "spec.externalTrafficPolicy": "Cluster"}), stored)
    assert "nodePort" not in plain["spec"]["ports"][0]
    assert "externalTrafficPolicy" not in plain["spec"]
    named = changed(clone(stored), {"spec.type": "ExternalName", "spec.externalName": "a.example.com"})
    named = updated(named, stored)
    assert "clusterIP" not in named["spec"]
    assert "clusterIPs" not in named["spec"]


def test_a_source_and_its_reference_say_the_same():
    source = {"apiGroup": None, "kind": "PersistentVolumeClaim", "name": "other"}
    claim = made(changed(samples.CLAIM, {"spec.dataSource": source}))
    assert claim["spec"]["dataSourceRef"] == source
    assert made(changed(samples.CLAIM, {"spec.dataSourceRef": source}))["spec"]["dataSource"] == source


def test_a_daemon_set_counts_its_templates_in_an_annotation():
    stored = made(samples.DAEMON_SET)
    key = "deprecated.daemonset.template.generation"
    assert stored["metadata"]["annotations"][key] == "1"
    other = updated(changed(stored, {"spec.template.spec.containers.0.image": "b"}), stored)
    assert other["metadata"]["annotations"][key] == "2"
    assert updated(clone(stored), stored)["metadata"]["annotations"][key] == "1"


def test_a_definition_notes_the_versions_it_has_stored():
    stored = made(samples.DEFINITION)
    assert stored["status"]["storedVersions"] == ["v1"]
    second = {**stored["spec"]["versions"][0], "name": "v2"}
    first = {**stored["spec"]["versions"][0], "storage": False}
    other = updated(changed(stored, {"spec.versions": [first, second]}), stored)
    assert other["status"]["storedVersions"] == ["v1", "v2"]


def test_a_local_api_service_is_available_at_once():
    service = made(changed(samples.API_SERVICE, {"spec.service": None}))
    (condition,) = service["status"]["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == ("Available", "True", "Local")


def test_an_event_is_kept_as_it_comes():
    event = samples.kind("v1", "Event", involvedObject={"namespace": "ns"}, count=3)
    assert made(event)["count"] == 3


def test_partial_subresources_restore_the_rest():
    pod = made(samples.POD)
    part = strategies.PARTS[("", "pods", "resize")]
    new = changed(
        pod,
        {
            "spec.containers.0.image": "other",
            "spec.containers.0.resources": {"requests": {"cpu": "1"}},
            "spec.nodeName": "n",
        },
    )
    part.prepare(new, pod, context())
    assert new["spec"]["containers"][0]["image"] == pod["spec"]["containers"][0]["image"]
    assert new["spec"]["containers"][0]["resources"] == {"requests": {"cpu": "1"}}
    assert "nodeName" not in new["spec"]


def test_who_asks_is_noted_in_a_signing_request():
    spec = {"request": "eA==", "signerName": "a.b/c", "usages": ["client auth"], "username": "somebody else"}
    request = made(samples.kind("certificates.k8s.io/v1", "CertificateSigningRequest", spec=spec))
    assert request["spec"]["username"] == "somebody"

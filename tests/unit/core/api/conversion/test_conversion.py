import orjson
import pytest
import samples
from apiobjects import made

from cybernetes.core.api.conversion import STORED_AS
from cybernetes.core.objects import Gvr

EVENTS = STORED_AS[Gvr("events.k8s.io", "v1", "events")]
SCALERS = STORED_AS[Gvr("autoscaling", "v1", "horizontalpodautoscalers")]

EVENT = {
    "apiVersion": "events.k8s.io/v1",
    "kind": "Event",
    "metadata": {"name": "e"},
    "eventTime": "2024-01-01T00:00:00.000000Z",
    "regarding": {"kind": "Pod", "name": "p"},
    "note": "text",
    "reportingController": "c",
    "reportingInstance": "i",
    "deprecatedCount": 3,
}


def test_events_have_two_sets_of_names():
    kept = EVENTS.to_storage(EVENT)
    assert kept["apiVersion"] == "v1"
    assert kept["involvedObject"] == {"kind": "Pod", "name": "p"}
    assert (kept["message"], kept["reportingComponent"], kept["count"]) == ("text", "c", 3)
    assert EVENTS.from_storage(kept) == EVENT


def test_an_old_event_shows_no_empty_reporter():
    old = {"apiVersion": "v1", "kind": "Event", "metadata": {}, "reportingComponent": "", "reportingInstance": ""}
    shown = EVENTS.from_storage(old)
    assert "reportingController" not in shown
    assert "reportingInstance" not in shown


def test_conversion_leaves_its_argument_alone():
    before = orjson.dumps(EVENT)
    EVENTS.to_storage(EVENT)
    assert orjson.dumps(EVENT) == before


V1 = {
    "apiVersion": "autoscaling/v1",
    "kind": "HorizontalPodAutoscaler",
    "metadata": {"name": "h"},
    "spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}},
}


def test_an_old_autoscaler_looks_at_cpu():
    kept = SCALERS.to_storage(V1)
    assert kept["apiVersion"] == "autoscaling/v2"
    (metric,) = kept["spec"]["metrics"]
    assert metric == {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
    }
    shown = SCALERS.from_storage(kept)
    assert shown["spec"]["targetCPUUtilizationPercentage"] == 80


def test_what_an_old_client_cannot_say_travels_in_annotations():
    metric = {
        "type": "Pods",
        "pods": {"metric": {"name": "m"}, "target": {"type": "AverageValue", "averageValue": "5"}},
    }
    behavior = {"scaleDown": {"stabilizationWindowSeconds": 0, "policies": None}}
    kept = made(
        {**samples.AUTOSCALER, "spec": {**samples.AUTOSCALER["spec"], "metrics": [metric], "behavior": behavior}}
    )
    shown = SCALERS.from_storage(kept)
    annotations = shown["metadata"]["annotations"]
    assert set(annotations) == {
        "autoscaling.alpha.kubernetes.io/metrics",
        "autoscaling.alpha.kubernetes.io/behavior",
    }
    again = SCALERS.to_storage(shown)
    assert again["spec"]["metrics"] == [metric]
    assert again["spec"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 0
    assert not (again["metadata"].get("annotations") or {})


@pytest.mark.parametrize("text", ["{", "[]", "[5]", '["a"]', '[{"type":{}}]', '{"ScaleUp":5}', '{"scaleDown":[]}'])
@pytest.mark.parametrize("name", ["metrics", "current-metrics", "conditions", "behavior"])
def test_annotations_that_are_broken_are_dropped(name, text):
    annotations = {f"autoscaling.alpha.kubernetes.io/{name}": text}
    kept = SCALERS.to_storage({**V1, "metadata": {"name": "h", "annotations": annotations}})
    assert [metric["type"] for metric in kept["spec"]["metrics"]] == ["Resource"]
    assert "behavior" not in kept["spec"]
    assert kept["status"] == {"currentMetrics": None, "desiredReplicas": 0}


@pytest.mark.parametrize("source", [5, "x", [], {"metricName": 5}, {"targetAverageValue": "much"}])
def test_metrics_that_are_broken_are_dropped(source):
    text = orjson.dumps([{"type": "Pods", "pods": source}]).decode()
    kept = SCALERS.to_storage({**V1, "metadata": {"annotations": {"autoscaling.alpha.kubernetes.io/metrics": text}}})
    assert [metric["type"] for metric in kept["spec"]["metrics"]] == ["Resource"]


def test_an_annotation_may_name_what_is_not_known():
    annotations = {"autoscaling.alpha.kubernetes.io/metrics": '[null,{"type":"Pods","pods":null},{"type":"New","a":1}]'}
    kept = SCALERS.to_storage({**V1, "metadata": {"name": "h", "annotations": annotations}})
    assert [metric["type"] for metric in kept["spec"]["metrics"]] == ["", "Pods", "New"]


def test_zeros_go_and_come_back():
    series = {"count": 0, "lastObservedTime": "2024-01-01T00:00:00.000000Z"}
    kept = EVENTS.to_storage({**EVENT, "series": series})
    assert "count" not in kept["series"]
    assert EVENTS.from_storage(kept)["series"] == series
    scaler = SCALERS.to_storage({**V1, "status": {"currentReplicas": 0, "desiredReplicas": 0}})
    assert "currentReplicas" not in scaler["status"]
    assert SCALERS.from_storage(scaler)["status"] == {"currentReplicas": 0, "desiredReplicas": 0}

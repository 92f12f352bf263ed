"""What the Gateway API and the Prometheus operator publish: their definitions apply, and judge as they are meant to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from realcluster import Cluster, eventually

MANIFESTS = Path(__file__).resolve().parents[2].parent / "shared" / "manifests"
pytestmark = [
    pytest.mark.xdist_group("definitions"),
    pytest.mark.skipif(not MANIFESTS.exists(), reason="needs the published manifests in ../shared/manifests"),
]


def obj(kind: str, name: str, spec: Any, version: str = "gateway.networking.k8s.io/v1") -> str:
    return yaml.safe_dump({"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec})


def listener(name: str, port: int, protocol: str = "HTTP", **more: Any) -> dict[str, Any]:
    return {"name": name, "port": port, "protocol": protocol, **more}


@pytest.fixture(scope="module")
def defined(simulated: Cluster) -> Cluster:
    for folder in ("gateway-api", "prometheus-operator"):
        for path in sorted((MANIFESTS / folder).glob("*_*.yaml")):
            if "_vap_" not in path.name:
                simulated.kubectl("apply", "--server-side", "-f", str(path))
    simulated.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    return simulated


def test_all_are_served(defined: Cluster) -> None:
    names = {each["metadata"]["name"] for each in defined.get("crd")["items"]}
    assert len(names) == 20
    resources = defined.kubectl("api-resources", "-o", "name").out.split()
    assert names <= set(resources)


VALID = {
    "class": obj("GatewayClass", "class", {"controllerName": "example.com/controller"}),
    "gateway": obj(
        "Gateway", "gateway", {"gatewayClassName": "c", "listeners": [listener("a", 80), listener("b", 81)]}
    ),
    "route": obj(
        "HTTPRoute",
        "route",
        {"rules": [{"matches": [{"path": {"value": "/a"}}], "backendRefs": [{"name": "s", "port": 80}]}]},
    ),
    "rule": obj(
        "PrometheusRule",
        "rule",
        {"groups": [{"name": "g", "rules": [{"alert": "A", "expr": "up == 0", "for": "5m"}]}]},
        "monitoring.coreos.com/v1",
    ),
    "monitor": obj(
        "ServiceMonitor",
        "monitor",
        {"selector": {"matchLabels": {"a": "b"}}, "endpoints": [{"port": "web", "interval": "30s"}]},
        "monitoring.coreos.com/v1",
    ),
}


@pytest.mark.parametrize("name", VALID)
def test_what_is_right_is_taken(defined: Cluster, name: str) -> None:
    defined.kubectl("apply", "-f", "-", stdin=VALID[name])


def test_defaults_are_filled_in(defined: Cluster) -> None:
    defined.kubectl("apply", "-f", "-", stdin=VALID["route"])
    (rule,) = defined.get("httproute", "route")["spec"]["rules"]
    assert rule["matches"][0]["path"] == {"type": "PathPrefix", "value": "/a"}
    assert rule["backendRefs"][0] == {"group": "", "kind": "Service", "name": "s", "port": 80, "weight": 1}
    defined.kubectl("apply", "-f", "-", stdin=VALID["class"])
    (condition,) = defined.get("gatewayclass", "class")["status"]["conditions"]
    assert (condition["type"], condition["reason"]) == ("Accepted", "Pending")


INVALID = [
    (
        obj("Gateway", "x", {"gatewayClassName": "c", "listeners": [listener("a", 80), listener("a", 81)]}),
        "Listener name must be unique within the Gateway",
    ),
    (
        obj("Gateway", "x", {"gatewayClassName": "c", "listeners": [listener("a", 80), listener("b", 80)]}),
        "Combination of port, protocol and hostname must be unique for each listener",
    ),
    (
        obj("Gateway", "x", {"gatewayClassName": "c", "listeners": [listener("a", 80, tls={"mode": "Terminate"})]}),
        "tls must not be specified for protocols ['HTTP', 'TCP', 'UDP']",
    ),
    (
        obj("Gateway", "x", {"gatewayClassName": "c", "listeners": [listener("a", 70000)]}),
        "spec.listeners[0].port in body should be less than or equal to 65535",
    ),
    (
        obj("HTTPRoute", "x", {"rules": [{"matches": [{"path": {"type": "Exact", "value": "a"}}]}]}),
        "value must be an absolute path and start with '/' when type one of ['Exact', 'PathPrefix']",
    ),
    (
        obj("HTTPRoute", "x", {"rules": [{"filters": [{"type": "RequestRedirect"}]}]}),
        "filter.requestRedirect must be specified for RequestRedirect filter.type",
    ),
    (
        obj("GatewayClass", "x", {"controllerName": "nonsense"}),
        "spec.controllerName in body should match",
    ),
    (
        obj("ServiceMonitor", "x", {"endpoints": [{"interval": "often"}]}, "monitoring.coreos.com/v1"),
        "spec.endpoints[0].interval in body should match",
    ),
    (
        obj("PrometheusRule", "x", {"groups": [{"rules": []}]}, "monitoring.coreos.com/v1"),
        "spec.groups[0].name: Required value",
    ),
]


@pytest.mark.parametrize(("text", "why"), INVALID, ids=range(len(INVALID)))
def test_what_is_wrong_is_refused(defined: Cluster, text: str, why: str) -> None:
    refused = defined.kubectl("create", "--validate=ignore", "-f", "-", stdin=text, check=False)
    assert refused.code == 1 and why in refused.err, refused


def test_what_must_not_change(defined: Cluster) -> None:
    defined.kubectl("apply", "-f", "-", stdin=VALID["class"])
    changed = obj("GatewayClass", "class", {"controllerName": "example.com/other"})
    refused = defined.kubectl("apply", "-f", "-", stdin=changed, check=False)
    assert 'spec.controllerName: Invalid value: "example.com/other": field is immutable' in refused.err


def test_unknown_fields_are_told(defined: Cluster) -> None:
    text = obj("GatewayClass", "x", {"controllerName": "example.com/controller", "colour": "red"})
    refused = defined.kubectl("apply", "-f", "-", stdin=text, check=False)
    assert 'unknown field "spec.colour"' in refused.err
    warned = defined.kubectl("apply", "--validate=warn", "-f", "-", stdin=text)
    assert 'unknown field "spec.colour"' in warned.err


def test_explain(defined: Cluster) -> None:
    text = defined.kubectl("explain", "httproute.spec.rules.filters").out
    assert "KIND:       HTTPRoute" in text and "requestRedirect" in text and "<[]HTTPRouteFilter>" not in text
    assert "enum: RequestHeaderModifier" in text
    assert "alertmanagers" in defined.kubectl("explain", "prometheus.spec.alerting", "--recursive").out


def test_a_definition_is_published_within_a_second(defined: Cluster) -> None:
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}}
    names = {"plural": "quicks", "singular": "quick", "kind": "Quick", "listKind": "QuickList"}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "quicks.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]},
    }
    defined.kubectl("create", "-f", "-", stdin=json.dumps(definition))

    def is_published() -> bool:
        document = json.loads(defined.kubectl("get", "--raw", "/openapi/v3/apis/example.com/v1").out)
        return "com.example.v1.Quick" in document["components"]["schemas"]

    assert eventually(is_published)
    discovered = json.loads(defined.kubectl("get", "--raw", "/apis/example.com/v1").out)
    assert [each["name"] for each in discovered["resources"]] == ["quicks"]
    assert "size\t<integer>" in defined.kubectl("explain", "quick.spec").out

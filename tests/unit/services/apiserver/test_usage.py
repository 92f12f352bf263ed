"""metrics.k8s.io over HTTP, from kubelets that are our own HTTP servers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import orjson
import pytest

from cybernetes.core.clock import ManualClock
from cybernetes.core.objects import NODES, PODS, Object
from cybernetes.services.apiserver.exchange import Exchange
from cybernetes.services.apiserver.server import HttpServer
from cybernetes.services.apiserver.usage import scraper
from cybernetes.services.apiserver.usage.resources import POD_METRICS

PATH = "/apis/metrics.k8s.io/v1beta1"


class Kubelet:
    """Its pods use a tenth of a processor. Every look at it takes a second."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.looks = 0
        self.pods: list[str] = []
        self.fails = False
        self.http = HttpServer(self._serve, lambda error: str(error).encode(), clock)

    async def _serve(self, exchange: Exchange) -> None:
        assert exchange.request.target == "/stats/summary"
        self.looks += 1
        self.clock.advance(1.0)
        if self.fails:
            exchange.respond(500, b"", b"no")
            return
        used = int(self.clock.now() * 1e8)
        memory = {"workingSetBytes": 5 << 20}
        containers = [{"name": "c", "cpu": {"usageCoreNanoSeconds": used}, "memory": memory}]
        pods = [{"podRef": {"name": name, "namespace": "default"}, "containers": containers} for name in self.pods]
        node = {"nodeName": "n", "cpu": {"usageCoreNanoSeconds": used * 5}, "memory": {"workingSetBytes": 1 << 30}}
        exchange.respond(200, b"", orjson.dumps({"node": node, "pods": pods}))


@pytest.fixture
async def served(start, monkeypatch: pytest.MonkeyPatch, make_pod: Callable[..., Object]) -> AsyncIterator[tuple]:
    monkeypatch.setattr(scraper, "_FIRST_WINDOW_S", 0.0)
    cluster = await start(serves_usage=True)
    kubelet = Kubelet(cluster.clock)
    port = await kubelet.http.listen("127.0.0.1", 0, None)
    client = cluster.direct()
    await client.create(NODES, {"metadata": {"name": "n", "labels": {"disk": "fast"}}})
    status = {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
    }
    await client.patch(NODES, "n", {"status": status}, subresource="status")
    for name in ("p", "q", "pending"):
        made = make_pod(name, namespace="default", labels={"app": name})
        made["spec"]["nodeName"] = "n"
        await client.create(PODS, made)
        if name != "pending":
            await client.patch(PODS, name, {"status": {"phase": "Running"}}, "default", subresource="status")
    kubelet.pods = ["p", "q", "pending"]
    yield cluster, kubelet
    await kubelet.http.stop(1)


async def test_pods(served) -> None:
    cluster, kubelet = served
    answer = (await cluster.get(f"{PATH}/namespaces/default/pods")).json()
    assert (answer["kind"], answer["apiVersion"]) == ("PodMetricsList", "metrics.k8s.io/v1beta1")
    assert [each["metadata"]["name"] for each in answer["items"]] == ["p", "q"]
    assert answer["items"][0]["containers"] == [{"name": "c", "usage": {"cpu": "100000000n", "memory": "5120Ki"}}]
    assert answer["items"][0]["window"] == "1s"
    assert kubelet.looks == 2
    one = (await cluster.get(f"{PATH}/namespaces/default/pods/q")).json()
    assert one["kind"] == "PodMetrics" and one["metadata"]["name"] == "q"
    some = (await cluster.get(f"{PATH}/pods?labelSelector=app%3Dp")).json()
    assert [each["metadata"]["name"] for each in some["items"]] == ["p"]
    assert kubelet.looks == 2, "what is known is told"
    for name in ("pending", "nobody"):
        missing = await cluster.get(f"{PATH}/namespaces/default/pods/{name}")
        assert (missing.code, missing.json()["message"]) == (404, f'pods.metrics.k8s.io "{name}" not found')


async def test_components_of_the_process_read_it_too(served) -> None:
    cluster, _ = served
    page = await cluster.direct().list(POD_METRICS, "default", label_selector="app in (p,q)")
    assert [each["metadata"]["name"] for each in page.items] == ["p", "q"]


async def test_one_look_each_fifteen_seconds(served) -> None:
    cluster, kubelet = served
    await cluster.get(f"{PATH}/nodes")
    cluster.clock.advance(16)
    answer = (await cluster.get(f"{PATH}/nodes")).json()
    assert kubelet.looks == 3
    assert answer["items"][0]["window"] == "17s"
    cluster.clock.advance(200)
    answer = (await cluster.get(f"{PATH}/nodes/n")).json()
    assert kubelet.looks == 5, "what was seen long ago is no start of a rate"
    assert answer["usage"] == {"cpu": "500000000n", "memory": "1048576Ki"}
    assert answer["metadata"]["labels"]["disk"] == "fast"


async def test_a_kubelet_that_fails_is_left_out(served, caplog: pytest.LogCaptureFixture) -> None:
    cluster, kubelet = served
    kubelet.fails = True
    assert (await cluster.get(f"{PATH}/nodes")).json()["items"] == []
    assert "n does not say what is used: the kubelet answered 500: no" in caplog.text


async def test_a_table(served) -> None:
    cluster, _ = served
    headers = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    table = (await cluster.get(f"{PATH}/namespaces/default/pods", headers=headers)).json()
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "cpu", "memory", "Window"]
    assert [row["cells"] for row in table["rows"]] == [["p", "100m", "5Mi", "1s"], ["q", "100m", "5Mi", "1s"]]
    one = (await cluster.get(f"{PATH}/namespaces/default/pods/q", headers=headers)).json()
    assert [row["cells"][0] for row in one["rows"]] == ["q"]
    headers = {"Accept": "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"}
    bare = (await cluster.get(f"{PATH}/namespaces/default/pods", headers=headers)).json()
    assert [each["metadata"]["name"] for each in bare["items"]] == ["p", "q"]


async def test_it_is_announced_and_can_only_be_read(served) -> None:
    cluster, _ = served
    listed = (await cluster.get(PATH)).json()["resources"]
    assert [(each["name"], each["kind"], each["namespaced"], each["verbs"]) for each in listed] == [
        ("nodes", "NodeMetrics", False, ["get", "list"]),
        ("pods", "PodMetrics", True, ["get", "list"]),
    ]
    document = (await cluster.get("/openapi/v3/apis/metrics.k8s.io/v1beta1")).json()
    assert "io.k8s.metrics.v1beta1.PodMetrics" in document["components"]["schemas"]
    assert (await cluster.post(f"{PATH}/namespaces/default/pods", {})).code == 405
    assert (await cluster.get(f"{PATH}/pods?watch=true")).code == 405
    assert (await cluster.get(f"{PATH}/nodes", token="jane-token")).code == 403


async def test_without_it_there_is_no_such_group(cluster) -> None:
    assert (await cluster.get(f"{PATH}/nodes")).code == 404

"""get and list of PodMetrics and NodeMetrics: the pods and nodes that are asked for, with what their kubelets count."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from cybernetes.core import usage
from cybernetes.core.errors import not_found
from cybernetes.core.labels import FieldSelector
from cybernetes.core.objects import NODES, PODS, Object, name_of
from cybernetes.core.store.cached import Cached, Selection
from cybernetes.services.apiserver.backend import Backend
from cybernetes.services.apiserver.call import Call, Document
from cybernetes.services.apiserver.handlers.read import selection_of
from cybernetes.services.apiserver.usage.resources import GROUP, NODE_METRICS, POD_METRICS, VERSION
from cybernetes.services.apiserver.usage.scraper import Pair, Scraper

Handler = Callable[[Backend, Call], Awaitable[Document]]


def handlers(scraper: Scraper) -> dict[tuple[str, str, str], dict[str, Handler]]:
    """What ``Routes`` asks first."""

    async def of_pods(backend: Backend, call: Call, selection: Selection) -> list[Object]:
        await backend.storage.catch_up()
        pods = [
            pod
            for pod in _objects(backend.storage.cache_of(PODS).list(selection).records)
            if (pod.get("status") or {}).get("phase") == "Running"
        ]
        pairs = await scraper.pairs(backend, {pod["spec"].get("nodeName", "") for pod in pods} - {""})
        now = backend.clock.now()
        found = []
        for pod in pods:
            pair = pairs.get(pod["spec"].get("nodeName", ""))
            made = usage.pod_metrics(pod, *pair, now) if pair is not None else None
            if made is not None:
                found.append(made)
        return found

    async def of_nodes(backend: Backend, call: Call, selection: Selection) -> list[Object]:
        await backend.storage.catch_up()
        nodes = list(_objects(backend.storage.cache_of(NODES).list(selection).records))
        pairs = await scraper.pairs(backend, (name_of(node) for node in nodes))
        now = backend.clock.now()
        found = []
        for node in nodes:
            pair = pairs.get(name_of(node))
            made = usage.node_metrics(node, _pods_of(backend, node, pair), *pair, now) if pair is not None else None
            if made is not None:
                found.append(made)
        return found

    def lister(objects: Callable[[Backend, Call, Selection], Awaitable[list[Object]]], kind: str) -> Handler:
        async def list_(backend: Backend, call: Call) -> Document:
            head: dict[str, Any] = {"kind": kind, "apiVersion": f"{GROUP}/{VERSION}", "metadata": {}}
            items = await objects(backend, call, selection_of(call))
            return Document({**head, "items": items}, resource=call.resource)

        return list_

    def getter(objects: Callable[[Backend, Call, Selection], Awaitable[list[Object]]]) -> Handler:
        async def get(backend: Backend, call: Call) -> Document:
            found = await objects(backend, call, Selection(call.namespace, call.name))
            if not found:
                raise not_found(*call.group_resource, call.name)
            return Document(found[0], resource=call.resource)

        return get

    return {
        (*_pair(POD_METRICS), ""): {"get": getter(of_pods), "list": lister(of_pods, "PodMetricsList")},
        (*_pair(NODE_METRICS), ""): {"get": getter(of_nodes), "list": lister(of_nodes, "NodeMetricsList")},
    }


def _pair(gvr: Any) -> tuple[str, str]:
    return gvr.group, gvr.resource


def _objects(records: Sequence[Cached]) -> Iterable[Object]:
    return (record.object() for record in records)


def _pods_of(backend: Backend, node: Object, pair: Pair | None) -> Iterable[Object]:
    """The pods of a node whose kubelet speaks for several; for others nobody asks."""
    if pair is None or pair.newer.node_name == name_of(node):
        return ()
    fields = FieldSelector.parse(f"spec.nodeName={name_of(node)}")
    selection = Selection("", "", None, fields)
    return _objects(backend.storage.cache_of(PODS).list(selection).records)

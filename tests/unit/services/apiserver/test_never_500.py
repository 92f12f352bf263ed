"""Whatever is asked, the server's answer is never that it failed: random objects of every kind, random requests."""

from __future__ import annotations

import random
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from randomobjects import WORDS, Maker
from samples import SAMPLES

from cybernetes.core.api import schema
from cybernetes.core.api.registry import builtin
from cybernetes.core.api.resource import Resource
from cybernetes.core.objects import Gvk, clone

KINDS = [sample for sample in SAMPLES if builtin().by_kind(Gvk.of(sample)) is not None]
PATCHES = ("application/merge-patch+json", "application/strategic-merge-patch+json", "application/apply-patch+yaml")
ROUNDS = 4


def collection(resource: Resource) -> str:
    group, version, plural = resource.gvr
    place = f"apis/{group}/{version}" if group else f"api/{version}"
    return f"/{place}/namespaces/default/{plural}" if resource.is_namespaced else f"/{place}/{plural}"


@pytest.mark.parametrize("sample", KINDS, ids=lambda sample: f"{sample['apiVersion']}/{sample['kind']}")
async def test_objects_of_every_kind(cluster, sample: Any) -> None:
    resource = builtin().by_kind(Gvk.of(sample))
    type_ = schema.load().type(resource.type_name)
    source = random.Random(str(Gvk.of(sample)))
    path = collection(resource)
    name = sample["metadata"]["name"]
    await cluster.post(path, clone(sample))
    for round_ in range(ROUNDS):
        maker = Maker(source, fullness=source.choice([0.1, 0.4, 0.8]))
        changed = maker.changed(type_, clone(sample), 1 + round_ % 4)
        made = {**maker.object(type_), "apiVersion": sample["apiVersion"], "kind": sample["kind"]}
        spoiled, _ = maker.spoiled(type_, clone(sample))
        for obj in (changed, made, spoiled):
            body = orjson.dumps(obj)
            kind = source.choice(PATCHES)
            query = source.choice(["", "?dryRun=All", "?fieldValidation=Strict"])
            if kind.startswith("application/apply"):
                query = f"{query}{'&' if query else '?'}fieldManager=fuzz&force=true"
            answers = [
                await cluster.request("POST", path + query, raw=body),
                await cluster.request("PUT", f"{path}/{name}{query}", raw=body),
                await cluster.request("PATCH", f"{path}/{name}{query}", raw=body, headers={"Content-Type": kind}),
                await cluster.request("PUT", f"{path}/{name}/status", raw=body),
                await cluster.request("DELETE", f"{path}/{name}?dryRun=All", raw=body),
            ]
            for answer in answers:
                assert answer.code != 500 or b"the server failed" not in answer.body, (answer.body, body)


QUERIES = (
    "limit",
    "continue",
    "resourceVersion",
    "resourceVersionMatch",
    "labelSelector",
    "fieldSelector",
    "timeoutSeconds",
    "sendInitialEvents",
    "allowWatchBookmarks",
    "pretty",
    "dryRun",
    "fieldManager",
    "fieldValidation",
    "force",
    "gracePeriodSeconds",
    "propagationPolicy",
    "orphanDependents",
    "includeObject",
)
PLACES = (
    "api",
    "apis",
    "v1",
    "apps",
    "namespaces",
    "default",
    "pods",
    "deployments",
    "nodes",
    "status",
    "scale",
    "log",
)
ACCEPTED = (
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/json;as=Table;v=v1;g=meta.k8s.io",
    "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
    "application/json;as=Table;v=;g=",
    "*/*;q=x",
    ";;,,",
)


@pytest.mark.parametrize("seed", range(6))
async def test_requests_of_every_sort(cluster, seed: int) -> None:
    source = random.Random(seed)
    words = [
        *WORDS,
        "0",
        "-1",
        "1" * 30,
        "true",
        "All",
        "Exact",
        "NotOlderThan",
        "a=b",
        "metadata.name=x",
        "%00",
        "eyJ2Ijo",
    ]
    for _ in range(60):
        if source.random() < 0.5:
            place = "/" + "/".join(source.choice(PLACES) for _ in range(source.randrange(1, 8)))
        else:
            resource = source.choice(builtin().all())
            place = collection(resource)
            place += source.choice(["", "/x", f"/{quote(source.choice(words))}", "/x/status", "/x/scale", "/x/nothing"])
        pairs = [
            f"{source.choice(QUERIES)}={quote(source.choice(words), errors='replace')}"
            for _ in range(source.randrange(0, 4))
        ]
        target = f"{place}?{'&'.join(pairs)}"
        method = source.choice(["GET", "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
        body = source.choice(
            [b"", b"{}", b"[]", b"null", b"\xff", b'{"kind":1}', b"a: &a [*a]", b"k8s\x00\x0a\x02", b"1e999"]
        )
        kind = source.choice(
            [*PATCHES, "application/json", "application/json-patch+json", "application/yaml", "text/x", ""]
        )
        headers = {"Content-Type": kind, "Accept": source.choice(ACCEPTED)}
        answer = await cluster.request(method, target, raw=body, headers=headers)
        assert answer.code != 500 or b"the server failed" not in answer.body, (
            method,
            target,
            headers,
            body,
            answer.body,
        )

"""CustomResourceDefinitions for tests, and what a test waits for after making one."""

from __future__ import annotations

import asyncio
from typing import Any

from cybernetes.core.objects import Object

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
GROUP = "stable.example.com"


def version(name: str = "v1", schema: Object | None = None, *, storage: bool = True, **options: Any) -> Object:
    """One version of a definition. ``schema`` is that of the whole object, everything allowed when there is none."""
    schema = schema or {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {"name": name, "served": True, "storage": storage, "schema": {"openAPIV3Schema": schema}, **options}


def definition(
    plural: str = "crontabs",
    kind: str = "CronTab",
    *versions: Object,
    group: str = GROUP,
    scope: str = "Namespaced",
    names: Object | None = None,
    **spec: Any,
) -> Object:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": scope,
            "names": {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List"}
            | (names or {}),
            "versions": list(versions) or [version()],
            **spec,
        },
    }


def of_spec(spec: Object, **root: Any) -> Object:
    """A schema whose objects have a spec, and maybe other fields."""
    return {"type": "object", "properties": {"spec": spec, **root}}


def fields(**properties: Object) -> Object:
    return {"type": "object", "properties": properties}


def conditions(obj: Object) -> dict[str, tuple[str, str]]:
    """type -> (status, reason)."""
    found = obj.get("status", {}).get("conditions") or []
    return {each["type"]: (each["status"], each.get("reason", "")) for each in found}


async def serve(cluster: Any, made: Object) -> Object:
    """Create a definition and wait until it is established. Fails the test when it is refused."""
    created = await cluster.post(CRDS, made)
    assert created.code == 201, created.body
    return await established(cluster, made["metadata"]["name"])


async def established(cluster: Any, name: str) -> Object:
    for _ in range(200):
        found: Object = (await cluster.get(f"{CRDS}/{name}")).json()
        if conditions(found).get("Established", ("",))[0] == "True":
            return found
        await asyncio.sleep(0.005)
    raise AssertionError(f"{name} is not established: {found.get('status')}")


async def gone(cluster: Any, path: str) -> None:
    """Wait until nothing is at ``path``."""
    for _ in range(200):
        if (await cluster.get(path)).code == 404:
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"{path} is still there")

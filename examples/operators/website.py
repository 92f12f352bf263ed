"""An operator with kopf: a Website is a Deployment that is there, as large as it should be, and looked at once an hour.

Nothing in here knows of tests. It runs as any kopf operator: ``kopf run website.py``.
"""

from __future__ import annotations

from typing import Any

import kopf
from kr8s.asyncio.objects import Deployment

WEBSITES = ("example.com", "v1", "websites")


def deployment(name: str, namespace: str, spec: Any) -> dict[str, Any]:
    """What a Website stands for."""
    labels = {"website": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "replicas": spec["replicas"],
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "web", "image": spec["image"]}]},
            },
        },
    }


def register(registry: kopf.OperatorRegistry | None = None) -> kopf.OperatorRegistry:
    """The handlers, in ``registry`` or in kopf's own."""
    registry = registry or kopf.get_default_registry()

    @kopf.on.create(*WEBSITES, registry=registry, backoff=10)
    @kopf.on.resume(*WEBSITES, registry=registry, backoff=10)
    async def ensure(name: str, namespace: str, spec: kopf.Spec, **_: Any) -> None:
        wanted = deployment(name, namespace, spec)
        kopf.adopt(wanted)
        found = await Deployment(wanted)
        if not await found.exists():
            await found.create()

    @kopf.on.field(*WEBSITES, field="spec.replicas", registry=registry, backoff=10)
    async def scale(name: str, namespace: str, old: int | None, new: int, **_: Any) -> None:
        if old is not None:
            found = await Deployment.get(name, namespace=namespace)
            await found.scale(new)

    @kopf.timer(*WEBSITES, interval=3600, initial_delay=3600, registry=registry)
    async def look(patch: kopf.Patch, status: kopf.Status, **_: Any) -> None:
        patch.status["looks"] = status.get("looks", 0) + 1

    @kopf.on.delete(*WEBSITES, registry=registry)
    async def say_goodbye(logger: kopf.Logger, **_: Any) -> None:
        logger.info("its Deployment goes with it: it is owned")

    return registry


register()

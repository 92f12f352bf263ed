"""A small cluster that plugins can read, and a way to make the attributes of a write."""

import pytest

from cybernetes.core.admission import Attributes
from cybernetes.core.api.registry import builtin
from cybernetes.core.auth import User
from cybernetes.core.auth.attributes import Decision
from cybernetes.core.clock import ManualClock, Random
from cybernetes.core.objects import clone


class World:
    def __init__(self):
        self.clock = ManualClock()
        self.random = Random(1)
        self.allowed = set()
        self.objects = {}

    def put(self, gvr, obj):
        metadata = obj["metadata"]
        self.objects[gvr, metadata.get("namespace", ""), metadata["name"]] = obj
        return obj

    def get(self, gvr, namespace, name):
        return self.objects.get((gvr, namespace, name))

    def list(self, gvr, namespace=""):
        return [obj for (g, ns, _), obj in self.objects.items() if g == gvr and namespace in ("", ns)]

    def authorize(self, user, attributes):
        return Decision((attributes.verb, attributes.resource, attributes.name) in self.allowed)

    def write(
        self,
        gvr,
        obj,
        *,
        operation="CREATE",
        old=None,
        namespace="default",
        name="",
        subresource="",
        user=None,
        dry_run=False,
    ):
        if old is not None and operation == "CREATE":
            operation = "UPDATE"
        shown = obj or old or {"metadata": {}}
        return Attributes(
            operation=operation,
            resource=builtin().get(gvr),
            subresource=subresource,
            namespace=namespace,
            name=name or shown.get("metadata", {}).get("name", ""),
            obj=None if obj is None else clone(obj),
            old=old,
            user=user or User("jane"),
            dry_run=dry_run,
        )


@pytest.fixture
def world():
    return World()

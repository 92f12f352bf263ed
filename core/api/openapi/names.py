"""How OpenAPI names things: the words in operation ids, tags, and the definitions of types."""

from __future__ import annotations

from cybernetes.core.api.resource import Resource
from cybernetes.core.objects import Gvk

META = "io.k8s.apimachinery.pkg.apis.meta.v1."


def group_word(group: str) -> str:
    """``core`` -> Core, ``rbac.authorization.k8s.io`` -> RbacAuthorization."""
    short = group.removesuffix(".k8s.io") or "core"
    return "".join(part[:1].upper() + part[1:] for part in short.split("."))


def tag_of(group: str, version: str) -> str:
    word = group_word(group)
    return f"{word[:1].lower()}{word[1:]}_{version}"


def type_name_of(resource: Resource) -> str:
    """The name of the definition of its objects. Custom ones are named by their group, reversed."""
    if resource.type_name:
        return resource.type_name
    group = ".".join(reversed(resource.gvr.group.split(".")))
    return f"{group}.{resource.gvr.version}.{resource.kind}"


def type_name_of_kind(resource: Resource, kind: Gvk) -> str:
    """The definition of a subresource's kind: the resource's own, or a published one."""
    if kind == resource.gvk:
        return type_name_of(resource)
    package = {"": "core", "policy": "policy", "autoscaling": "autoscaling", "authentication.k8s.io": "authentication"}
    return f"io.k8s.api.{package[kind.group]}.{kind.version}.{kind.kind}"


def with_article(kind: str) -> str:
    """``a Pod``, ``an Event``."""
    return f"{'an' if kind[:1] in 'AEIOU' else 'a'} {kind}"

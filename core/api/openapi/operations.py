"""What may be done below each path, from the Registry: the middle form from which both OpenAPI documents are written.

A path has operations, one a method; an operation has parameters, a body, an answer and the two marks by which
Kubernetes' clients find their way: ``x-kubernetes-action`` and ``x-kubernetes-group-version-kind``. Generated clients
are named after the operation ids, so these follow upstream's to the letter (``listCoreV1NamespacedPod``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from cybernetes.core.api.openapi.names import (
    META,
    group_word,
    tag_of,
    type_name_of,
    type_name_of_kind,
    with_article,
)
from cybernetes.core.api.openapi.parameters import Parameter, body_parameters, connect_parameters, named
from cybernetes.core.api.registry import Registry
from cybernetes.core.api.resource import Resource, Subresource
from cybernetes.core.objects import Gvk

OBJECT_TYPES = ("application/json", "application/yaml")
STREAM_TYPES = (*OBJECT_TYPES, "application/json;stream=watch")
TEXT_TYPES = ("text/plain", *OBJECT_TYPES)
PATCH_TYPES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)

#: Deleting one of these answers with the object; all others answer with a Status.
_ANSWERS_WITH_OBJECT = {
    "": {
        "persistentvolumeclaims",
        "persistentvolumes",
        "pods",
        "podtemplates",
        "resourcequotas",
        "serviceaccounts",
        "services",
    },
    "resource.k8s.io": {"deviceclasses", "resourceclaims", "resourceclaimtemplates", "resourceslices"},
    "storage.k8s.io": {"csidrivers", "csinodes", "storageclasses", "volumeattachments", "volumeattributesclasses"},
}


class Operation(NamedTuple):
    """One method of one path. ``body`` and ``answer`` are type names; an empty answer is a plain string."""

    method: str
    id: str
    description: str
    tag: str
    action: str
    kind: Gvk | None
    parameters: tuple[Parameter, ...]
    body: str
    is_body_required: bool
    answer: str
    codes: tuple[int, ...]
    consumes: tuple[str, ...]
    produces: tuple[str, ...]


class Path(NamedTuple):
    path: str
    operations: tuple[Operation, ...]

    @property
    def common(self) -> tuple[Parameter, ...]:
        """The parameters of every operation, which are said once for the path."""
        sets = [frozenset(operation.parameters) for operation in self.operations]
        shared = frozenset.intersection(*sets)
        return tuple(sorted(shared, key=lambda each: (each.name, each.place)))


def paths(registry: Registry, group: str, version: str) -> list[Path]:
    """Every path of one group version, sorted."""
    word = group_word(group) + version[:1].upper() + version[1:]
    tag = tag_of(group, version)
    root = f"/apis/{group}/{version}" if group else f"/api/{version}"
    found = [document(f"{root}/", f"get{word}APIResources", "get available resources", tag, META + "APIResourceList")]
    for resource in registry.of(group, version):
        found += _Namer(resource, word, tag, root).paths()
    return sorted(found)


def document(path: str, operation_id: str, description: str, tag: str, answer: str) -> Path:
    """A path that only gives a document of the type ``answer``."""
    operation = Operation(
        "get", operation_id, description, tag, "", None, (), "", False, answer, (200,), OBJECT_TYPES, OBJECT_TYPES
    )
    return Path(path, (operation,))


class _Namer:
    """The paths of one resource."""

    def __init__(self, resource: Resource, word: str, tag: str, root: str) -> None:
        self.resource = resource
        self.word = word
        self.tag = tag
        self.scope = "Namespaced" if resource.is_namespaced else ""
        self.kind = resource.kind
        namespace = "namespaces/{namespace}/" if resource.is_namespaced else ""
        self.collection = f"{root}/{namespace}{resource.gvr.resource}"
        self.item = f"{self.collection}/{{name}}"
        self.everywhere = f"{root}/{resource.gvr.resource}"
        self.watch = f"{root}/watch/"
        self.root = root
        self.type_name = type_name_of(resource)

    def paths(self) -> Iterator[Path]:
        yield from self._present(self.collection, self._collection())
        yield from self._present(self.item, self._item())
        verbs = self.resource.verbs
        if self.resource.is_namespaced and "list" in verbs:
            yield Path(self.everywhere, (self._list("ForAllNamespaces", scope=""),))
        if "watch" in verbs:
            yield from self._watches()
        for part in self.resource.subresources.values():
            yield from self._part(part)

    @staticmethod
    def _present(path: str, operations: Iterable[Operation]) -> Iterator[Path]:
        found = tuple(operations)
        if found:
            yield Path(path, found)

    def _collection(self) -> Iterator[Operation]:
        verbs, noun = self.resource.verbs, with_article(self.kind)
        place = self._place(is_item=False)
        if "deletecollection" in verbs:
            yield self._operation(
                "delete",
                f"delete{self.word}Collection{self.scope}{self.kind}",
                f"delete collection of {self.kind}",
                "deletecollection",
                parameters=place + body_parameters("deletecollection"),
                body=META + "DeleteOptions",
                answer=META + "Status",
            )
        if "list" in verbs:
            yield self._list("", scope=self.scope, place=place)
        if "create" in verbs:
            yield self._operation(
                "post",
                f"create{self.word}{self.scope}{self.kind}",
                f"create {noun}",
                "post",
                parameters=place + body_parameters("create"),
                body=self.type_name,
                is_body_required=True,
                codes=(200, 201, 202),
            )

    def _item(self) -> Iterator[Operation]:
        verbs, noun = self.resource.verbs, with_article(self.kind)
        place = self._place(is_item=True)
        ending = f"{self.word}{self.scope}{self.kind}"
        if "delete" in verbs:
            has_object = self.resource.gvr.resource in _ANSWERS_WITH_OBJECT.get(self.resource.gvr.group, ())
            yield self._operation(
                "delete",
                f"delete{ending}",
                f"delete {noun}",
                "delete",
                parameters=place + body_parameters("delete"),
                body=META + "DeleteOptions",
                answer=self.type_name if has_object else META + "Status",
                codes=(200, 202),
            )
        if "get" in verbs:
            yield self._operation("get", f"read{ending}", f"read the specified {self.kind}", "get", parameters=place)
        if "patch" in verbs:
            description = f"partially update the specified {self.kind}"
            yield self._patch(f"patch{ending}", description, place, self.type_name, self.resource.gvk)
        if "update" in verbs:
            description = f"replace the specified {self.kind}"
            yield self._put(f"replace{ending}", description, place, self.type_name, self.resource.gvk)

    def _list(self, ending: str, *, scope: str, place: tuple[Parameter, ...] = ()) -> Operation:
        verb = "list or watch" if "watch" in self.resource.verbs else "list"
        return self._operation(
            "get",
            f"list{self.word}{scope}{self.kind}{ending}",
            f"{verb} objects of kind {self.kind}",
            "list",
            parameters=(place or named("pretty")) + body_parameters("list"),
            answer=f"{self.type_name.rpartition('.')[0]}.{self.resource.list_kind}",
            produces=STREAM_TYPES,
        )

    def _watches(self) -> Iterator[Path]:
        listed = (
            f"watch individual changes to a list of {self.kind}. deprecated: use the 'watch' parameter with a list "
            "operation instead."
        )
        single = (
            f"watch changes to an object of kind {self.kind}. deprecated: use the 'watch' parameter with a list "
            "operation instead, filtered to a single item with the 'fieldSelector' parameter."
        )
        ending = f"{self.word}{self.scope}{self.kind}"
        collection = self.watch + self.collection.removeprefix(f"{self.root}/")
        yield self._watch(collection, f"watch{ending}List", listed, "watchlist", self._place(is_item=False))
        yield self._watch(f"{collection}/{{name}}", f"watch{ending}", single, "watch", self._place(is_item=True))
        if self.resource.is_namespaced:
            everywhere = f"watch{self.word}{self.kind}ListForAllNamespaces"
            path = self.watch + self.resource.gvr.resource
            yield self._watch(path, everywhere, listed, "watchlist", named("pretty"))

    def _watch(self, path: str, id: str, description: str, action: str, place: tuple[Parameter, ...]) -> Path:
        operation = self._operation(
            "get",
            id,
            description,
            action,
            parameters=place + body_parameters("list"),
            answer=META + "WatchEvent",
            produces=STREAM_TYPES,
        )
        return Path(path, (operation,))

    def _part(self, part: Subresource) -> Iterator[Path]:
        path = f"{self.item}/{part.name}"
        if self.resource.gvr.resource == "namespaces":
            path = f"{self.root}/namespaces/{{name}}/{part.name}"
        kind = part.gvk
        if kind.kind.endswith("Options"):
            yield from self._connects(part, path)
            return
        place = self._place(is_item=True, kind=kind.kind)
        word = part.name[:1].upper() + part.name[1:]
        ending = f"{self.word}{self.scope}{self.kind}{word}"
        type_name = type_name_of_kind(self.resource, kind)
        operations = []
        if "get" in part.verbs:
            is_log = part.name == "log"
            operations.append(
                self._operation(
                    "get",
                    f"read{ending}",
                    f"read {part.name} of the specified {self.kind}",
                    "get",
                    parameters=place + (connect_parameters("PodLogOptions") if is_log else ()),
                    answer="" if is_log else type_name,
                    kind=kind,
                    produces=TEXT_TYPES if is_log else OBJECT_TYPES,
                )
            )
        if "patch" in part.verbs:
            description = f"partially update {part.name} of the specified {self.kind}"
            operations.append(self._patch(f"patch{ending}", description, place, type_name, kind))
        if "create" in part.verbs:
            operations.append(
                self._operation(
                    "post",
                    f"create{ending}",
                    f"create {part.name} of {with_article(self.kind)}",
                    "post",
                    parameters=place + body_parameters("create"),
                    body=type_name,
                    is_body_required=True,
                    answer=type_name,
                    kind=kind,
                    codes=(200, 201, 202),
                )
            )
        if "update" in part.verbs:
            description = f"replace {part.name} of the specified {self.kind}"
            operations.append(self._put(f"replace{ending}", description, place, type_name, kind))
        yield from self._present(path, operations)

    def _connects(self, part: Subresource, path: str) -> Iterator[Path]:
        is_proxy = part.name == "proxy"
        methods = ("delete", "get", "head", "options", "patch", "post", "put") if is_proxy else ("get", "post")
        word = part.name[:1].upper() + part.name[1:]
        place = tuple(each for each in self._place(is_item=True, kind=part.gvk.kind) if each.name != "pretty")
        place += connect_parameters(part.gvk.kind)
        for ending, below, more in (("", "", ()), ("WithPath", "/{path}", named("path"))):
            if below and not is_proxy:
                continue
            operations = [
                self._operation(
                    method,
                    f"connect{self.word}{method.capitalize()}{self.scope}{self.kind}{word}{ending}",
                    f"connect {method.upper()} requests to {part.name} of {self.kind}",
                    "connect",
                    parameters=place + more,
                    answer="",
                    kind=part.gvk,
                    produces=("*/*",),
                )
                for method in methods
            ]
            yield Path(path + below, tuple(operations))

    def _patch(self, id: str, description: str, place: tuple[Parameter, ...], type_name: str, kind: Gvk) -> Operation:
        types: tuple[str, ...] = PATCH_TYPES
        if self.resource.is_custom:
            types = tuple(each for each in types if "strategic" not in each)
        return self._operation(
            "patch",
            id,
            description,
            "patch",
            parameters=place + body_parameters("patch"),
            body=META + "Patch",
            is_body_required=True,
            answer=type_name,
            kind=kind,
            codes=(200, 201),
            consumes=types,
        )

    def _put(self, id: str, description: str, place: tuple[Parameter, ...], type_name: str, kind: Gvk) -> Operation:
        return self._operation(
            "put",
            id,
            description,
            "put",
            parameters=place + body_parameters("create"),
            body=type_name,
            is_body_required=True,
            answer=type_name,
            kind=kind,
            codes=(200, 201),
        )

    def _operation(
        self,
        method: str,
        id: str,
        description: str,
        action: str,
        *,
        parameters: tuple[Parameter, ...],
        body: str = "",
        is_body_required: bool = False,
        answer: str | None = None,
        kind: Gvk | None = None,
        codes: tuple[int, ...] = (200,),
        consumes: tuple[str, ...] = ("*/*",),
        produces: tuple[str, ...] = OBJECT_TYPES,
    ) -> Operation:
        return Operation(
            method,
            id,
            description,
            self.tag,
            action,
            kind or self.resource.gvk,
            tuple(sorted(parameters, key=lambda each: (each.name, each.place))),
            body,
            is_body_required,
            self.type_name if answer is None else answer,
            codes,
            consumes,
            produces,
        )

    def _place(self, *, is_item: bool, kind: str = "") -> tuple[Parameter, ...]:
        found = named("pretty")
        if self.resource.is_namespaced:
            found += named("namespace")
        if is_item:
            found += (Parameter("name", "path", "string", f"name of the {kind or self.kind}", True),)
        return found

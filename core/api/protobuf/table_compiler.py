"""Writes ``fields.txt``: the numbers of the fields of the API's protobuf messages, which are facts of the wire format.

    python -m cybernetes.core.api.protobuf.table_compiler PATH_TO_KUBERNETES > core/api/protobuf/fields.txt

Run by hand when the served version changes; the build needs neither it nor the source of Kubernetes. It reads the
``generated.proto`` files and keeps what can be reached from the resources that we serve.

One line a message, under a heading for its package:

    @io.k8s.api.core.v1
    Volume name:s volumeSource*:VolumeSource
    ConfigMap metadata:io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta data{:s binaryData{:b immutable:t

A field is its name, its number after ``=`` unless it is one more than the one before, marks, and its type after a
colon. Marks: ``[`` repeated, ``{`` a map from strings, ``*`` its fields stand in the parent's JSON object. Types: ``s``
string, ``b`` bytes, ``i`` integer, ``t`` truth value, ``d`` double, else a message, qualified unless of its package.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from cybernetes.core.api import schema
from cybernetes.core.api.registry import builtin

_FIELD = re.compile(
    r"^\s*(optional|repeated|required)?\s*(?:map<\s*string\s*,\s*([\w.]+)\s*>|([\w.]+))\s+(\w+)\s*=\s*(\d+)"
)
_SCALARS = {
    "string": "s",
    "bytes": "b",
    "int32": "i",
    "int64": "i",
    "uint32": "i",
    "uint64": "i",
    "bool": "t",
    "double": "d",
}
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
#: What is sent beside resources and their lists.
_EXTRA = (
    "io.k8s.apimachinery.pkg.runtime.Unknown",
    *(_META + name for name in ("DeleteOptions", "Status", "WatchEvent", "PartialObjectMetadata")),
    _META + "PartialObjectMetadataList",
    *(_META + name for name in ("APIVersions", "APIGroup", "APIGroupList", "APIResourceList")),
    *(f"io.k8s.api.apidiscovery.{version}.APIGroupDiscoveryList" for version in ("v2", "v2beta1")),
    "io.k8s.api.autoscaling.v1.Scale",
    "io.k8s.api.policy.v1.Eviction",
    "io.k8s.api.authentication.v1.TokenRequest",
    "io.k8s.api.core.v1.Binding",
)


class Field(NamedTuple):
    name: str
    number: int
    mark: str
    type: str


def read(root: Path) -> dict[str, list[Field]]:
    """Every message below ``root``, by its qualified name."""
    messages: dict[str, list[Field]] = {}
    for path in sorted(root.rglob("generated.proto")):
        text = path.read_text()
        match = re.search(r"^package k8s\.io\.([\w.]+);", text, re.MULTILINE)
        if match is None:
            continue
        package = "io.k8s." + match[1].replace("kube_aggregator", "kube-aggregator").replace(
            "apiextensions_apiserver", "apiextensions-apiserver"
        )
        current: list[Field] | None = None
        for line in text.splitlines():
            start = re.match(r"message (\w+) \{", line)
            if start:
                current = messages.setdefault(f"{package}.{start[1]}", [])
                continue
            found = _FIELD.match(line)
            if found and current is not None:
                label, values, type_, name, number = found.groups()
                mark = "{" if values else "[" if label == "repeated" else ""
                current.append(Field(name, int(number), mark, _type(values or type_, package)))
    return messages


def _type(name: str, package: str) -> str:
    if name in _SCALARS:
        return _SCALARS[name]
    name = name.lstrip(".")
    if "." not in name:
        return f"{package}.{name}"
    name = name.replace("k8s.io.", "io.k8s.", 1)
    return name.replace("kube_aggregator", "kube-aggregator").replace(
        "apiextensions_apiserver", "apiextensions-apiserver"
    )


def reachable(messages: dict[str, list[Field]], roots: list[str]) -> list[str]:
    found: dict[str, None] = {}
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name in found or name not in messages:
            continue
        found[name] = None
        waiting += [field.type for field in messages[name] if "." in field.type]
    return sorted(found)


def table(messages: dict[str, list[Field]], names: list[str]) -> str:
    """The text of ``fields.txt``."""
    known = schema.load()
    lines: list[str] = []
    package = ""
    for name in names:
        owner, _, short = name.rpartition(".")
        if owner != package:
            package = owner
            lines.append(f"@{package}")
        fields = known.type(name).fields if name in known else {}
        words = [short]
        number = 0
        for field in sorted(messages[name], key=lambda each: each.number):
            # An embedded struct: the schema has its fields in the place of one of its name.
            is_inline = (
                bool(fields)
                and "." in field.type
                and not field.mark
                and field.name.lower() not in map(str.lower, fields)
            )
            at = "" if field.number == number + 1 else f"={field.number}"
            number = field.number
            mark = "*" if is_inline else field.mark
            shown = _json_name(field.name, fields) if fields and not is_inline else field.name
            words.append(f"{shown}{at}{mark}:{field.type.removeprefix(package + '.')}")
        lines.append(" ".join(words))
    return "\n".join(lines) + "\n"


def _json_name(name: str, fields: Mapping[str, schema.Type]) -> str:
    """The name in JSON: nearly always the same. ``uID`` is uid, ``xKubernetesListType`` x-kubernetes-list-type."""
    if name in fields:
        return name
    kebab = re.sub(r"([A-Z])", lambda match: "-" + match[1].lower(), name)
    for candidate in (f"${name}", kebab, *(each for each in fields if each.lower() == name.lower())):
        if candidate in fields:
            return candidate
    raise ValueError(f"{name} is none of {sorted(fields)}")


def main(root: Path) -> str:
    messages = read(root / "staging" / "src" / "k8s.io")
    roots = list(_EXTRA)
    for resource in builtin().all():
        roots += [resource.type_name, resource.type_name + "List"]
    return table(messages, reachable(messages, roots))


if __name__ == "__main__":
    sys.stdout.write(main(Path(sys.argv[1])))

"""Compiles the published schemas of Kubernetes into the package data that ``schema`` loads.

Runs when cybernetes is built, never later: ``python core/api/schema_compiler.py TARGET_DIR``. It reads the definitions
of one version from the installed kubernetes-validate wheel (a build requirement of 111 MB that nobody should have to
install to run), keeps the types of the served group versions and what they refer to, adds what OpenAPI leaves out
(``schema_facts``) and writes two files:

``structure.json``          what the API server needs to start: 150 KB, parsed in about a millisecond.
``descriptions.json.z``     the texts of ``kubectl explain`` and OpenAPI, compressed; loaded when first asked for.

The form of structure.json, ``{"types": {name: type}}``. A type is ``{"f": fields, "r": required}``, with ``g`` for its
group, version, kinds and ``u`` for its unions, or ``{"k": kind}`` when it is no object. A field is a code, or
``[code, extras]``:

=====  ==========================      ======  =======================================================
code                                   extra
=====  ==========================      ======  =======================================================
s      string                          i       the items of a list or the values of a map: again a field
y      string, base64                  lt, mk  list type (atomic, set, map) and the keys of a map list
b      boolean                         mt      map type (atomic)
i, l   integer, 32 and 64 bits         pm, ps  patch merge key and patch strategy
d      number                          p       presence where it departs from the rule: ! * ? ~
a, m   list, map                       go      the name of its Go type where it does not follow
o      object without known fields
$name  that type
=====  ==========================      ======  =======================================================
"""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import zlib
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

#: The Kubernetes version whose types are compiled.
VERSION = "1.36.0"

#: Types of the group versions that are served. Whatever else they refer to comes along.
ROOTS = re.compile(
    r"io\.k8s\.(api\.[a-z]+\.v[12]"
    r"|apiextensions-apiserver\.pkg\.apis\.apiextensions\.v1"
    r"|kube-aggregator\.pkg\.apis\.apiregistration\.v1"
    r"|apimachinery\.pkg\.(apis\.meta\.v1|version))\.[A-Za-z]+"
)

#: What is written and read in a form of its own, though the published schema calls it a string or an object.
SPECIAL_KINDS = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": "quantity",
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": "int_or_string",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Time": "time",
    "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime": "micro_time",
    "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1": "any",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Patch": "any",
    "io.k8s.apimachinery.pkg.runtime.RawExtension": "any",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON": "any",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray": "any",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool": "any",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray": "any",
}

#: How schema_facts shortens the names of types.
PREFIXES = {
    "meta.v1": "io.k8s.apimachinery.pkg.apis.meta.v1",
    "apiextensions.v1": "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1",
    "apiregistration.v1": "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1",
}

EXTRAS = {
    "x-kubernetes-list-type": "lt",
    "x-kubernetes-list-map-keys": "mk",
    "x-kubernetes-map-type": "mt",
    "x-kubernetes-patch-merge-key": "pm",
    "x-kubernetes-patch-strategy": "ps",
}

Json = dict[str, Any]


def load_definitions() -> dict[str, Json]:
    """Every type of VERSION, from the installed wheel. Raises SystemExit with what to do when it is not there."""
    found = importlib.util.find_spec("kubernetes_validate")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("the schemas come from the kubernetes-validate package: pip install kubernetes-validate")
    folder = Path(next(iter(found.submodule_search_locations)))
    path = folder / "kubernetes-json-schema" / f"v{VERSION}-local" / "_definitions.json"
    if not path.exists():
        raise SystemExit(f"this kubernetes-validate has no schemas of {VERSION}: {path} is missing")
    document = json.loads(path.read_text())
    definitions: dict[str, Json] = document.get("$defs") or document["definitions"]
    return definitions


def load_facts() -> ModuleType:
    """``schema_facts``, which stands beside this file; the package is not importable while it is being built."""
    spec = importlib.util.spec_from_file_location("schema_facts", Path(__file__).with_name("schema_facts.py"))
    if spec is None or spec.loader is None:
        raise SystemExit("schema_facts.py is missing beside schema_compiler.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["schema_facts"] = module
    spec.loader.exec_module(module)
    return module


def referred(node: Any) -> Iterable[str]:
    """The names of all types that a definition mentions."""
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"].rpartition("/")[2]
        for value in node.values():
            yield from referred(value)
    elif isinstance(node, list):
        for value in node:
            yield from referred(value)


def reachable(definitions: dict[str, Json]) -> list[str]:
    """The roots and everything they refer to, sorted."""
    waiting = [name for name in definitions if ROOTS.fullmatch(name)]
    found = set(waiting)
    while waiting:
        for name in referred(definitions[waiting.pop()]):
            if name not in found:
                found.add(name)
                waiting.append(name)
    return sorted(found)


def plain_type(node: Json) -> str:
    """The JSON type without the null that optional fields allow."""
    declared = node.get("type", "object")
    if isinstance(declared, list):
        declared = next(item for item in declared if item != "null")
    return str(declared)


def compile_field(node: Json) -> Any:
    """A definition's property in the compact form."""
    extras: Json = {short: node[long] for long, short in EXTRAS.items() if long in node}
    if "$ref" in node:
        code = "$" + node["$ref"].rpartition("/")[2]
    else:
        kind = plain_type(node)
        if kind == "array":
            code = "a"
            extras["i"] = compile_field(node["items"])
        elif kind == "object" and "additionalProperties" in node:
            code = "m"
            extras["i"] = compile_field(node["additionalProperties"])
        elif kind == "object":
            code = "o"
        elif kind == "string":
            code = "y" if node.get("format") == "byte" else "s"
        elif kind == "integer":
            code = "i" if node.get("format") == "int32" else "l"
        elif kind == "number":
            code = "d"
        elif kind == "boolean":
            code = "b"
        else:
            raise SystemExit(f"a type that nobody expected: {node}")
    return [code, extras] if extras else code


def compile_type(name: str, definition: Json) -> Json:
    """One type in the compact form."""
    special = SPECIAL_KINDS.get(name)
    if special:
        return {"k": special}
    compiled: Json = {"f": {field: compile_field(node) for field, node in definition.get("properties", {}).items()}}
    if definition.get("required"):
        compiled["r"] = definition["required"]
    kinds = definition.get("x-kubernetes-group-version-kind")
    if kinds:
        compiled["g"] = [[item["group"], item["version"], item["kind"]] for item in kinds]
    if "x-kubernetes-unions" in definition:
        compiled["u"] = definition["x-kubernetes-unions"]
    if "x-kubernetes-map-type" in definition:
        compiled["mt"] = definition["x-kubernetes-map-type"]
    return compiled


def apply_facts(types: dict[str, Json], facts: Iterable[Any]) -> None:
    """Write marks and Go types into the fields. Raises SystemExit for a fact about a field that does not exist."""
    for fact in facts:
        prefix, _, short = fact.type_name.rpartition(".")
        name = f"{PREFIXES.get(prefix, 'io.k8s.api.' + prefix)}.{short}"
        fields = types.get(name, {}).get("f", {})
        if fact.field not in fields:
            raise SystemExit(f"schema_facts speaks of {fact.type_name}.{fact.field}, which {VERSION} does not have")
        field = fields[fact.field]
        code, extras = field if isinstance(field, list) else (field, {})
        if fact.mark:
            extras["p"] = fact.mark
        if fact.go_type:
            extras["go"] = fact.go_type
        fields[fact.field] = [code, extras]


def compile_descriptions(definitions: dict[str, Json], names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Type -> field -> text; the text of the type itself has the empty name."""
    result = {}
    for name in names:
        definition = definitions[name]
        texts = {"": definition.get("description", "")}
        for field, node in definition.get("properties", {}).items():
            texts[field] = node.get("description", "")
        result[name] = {field: text for field, text in texts.items() if text}
    return result


def main(target: Path) -> None:
    """Write both files into ``target``, which is made when it is missing."""
    definitions = load_definitions()
    names = reachable(definitions)
    types = {name: compile_type(name, definitions[name]) for name in names}
    apply_facts(types, load_facts().facts())
    target.mkdir(parents=True, exist_ok=True)
    structure = json.dumps({"version": VERSION, "types": types}, separators=(",", ":"))
    (target / "structure.json").write_text(structure)
    descriptions = json.dumps(compile_descriptions(definitions, names), separators=(",", ":"), ensure_ascii=False)
    (target / "descriptions.json.z").write_bytes(zlib.compress(descriptions.encode(), 9))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: schema_compiler.py TARGET_DIR")
    main(Path(sys.argv[1]))

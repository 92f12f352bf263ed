"""One version of a custom resource: what its definition says of it, in the form in which the generic path asks.

A ``Resource`` with a ``Custom`` is decoded, defaulted and converted by it; its strategy is made of the same parts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cybernetes.core.api import codec, jsonreader, walk
from cybernetes.core.api.custom import coercion, defaulting, structure
from cybernetes.core.api.custom.scaling import Scale
from cybernetes.core.api.custom.structure import Structural
from cybernetes.core.errors import ApiError, bad_request
from cybernetes.core.objects import Gvk, Object

if TYPE_CHECKING:
    from cybernetes.core.api.apply.mergetypes import MergeType
    from cybernetes.core.api.table.cells import Printer


class Custom:
    """``definition`` is the CustomResourceDefinition, ``version`` its entry of this version. Neither is changed.

    ``printer`` makes its tables, where its columns are more than a definition can say.
    """

    __slots__ = (
        "_merge_type",
        "_printer",
        "_raw",
        "definition",
        "deprecation",
        "gvk",
        "has_status",
        "is_terminating",
        "keeps_unknown",
        "scale",
        "schema",
        "selectable",
        "storage_version",
        "uses_webhook",
        "version",
    )

    def __init__(self, definition: Object, version: Object, printer: Printer | None = None) -> None:
        spec = definition["spec"]
        names = definition["status"]["acceptedNames"]
        subresources = version.get("subresources") or {}
        self.definition = definition
        self.version: str = version["name"]
        self.gvk = Gvk(spec["group"], self.version, names["kind"])
        self.schema: Structural | None = structure.of_version(version)
        #: True only of definitions that were made before version 1: nothing is pruned.
        self.keeps_unknown = bool(spec.get("preserveUnknownFields"))
        self.storage_version: str = next(each["name"] for each in spec["versions"] if each.get("storage"))
        self.uses_webhook = (spec.get("conversion") or {}).get("strategy") == "Webhook"
        self.has_status = subresources.get("status") is not None
        scale = subresources.get("scale")
        self.scale: Scale | None = Scale(scale) if scale is not None else None
        self._raw = version
        self._printer = printer
        self._merge_type: MergeType | None = None
        #: Paths that field selectors may name.
        self.selectable: tuple[str, ...] = tuple(
            each.get("jsonPath") or "" for each in version.get("selectableFields") or ()
        )
        #: What clients of this version are warned of; empty for nothing.
        self.deprecation = _deprecation(spec, version, names["kind"])
        self.is_terminating = any(
            each.get("type") == "Terminating" and each.get("status") == "True"
            for each in definition["status"].get("conditions") or ()
        )

    @property
    def api_version(self) -> str:
        return self.gvk.api_version

    @property
    def printer(self) -> Printer:
        """The columns of a Table. Made when somebody looks."""
        if self._printer is None:
            from cybernetes.core.api.custom.columns import printer_of

            self._printer = printer_of(self._raw)
        return self._printer

    @property
    def merge_type(self) -> MergeType:
        """How server-side apply merges its objects. Made when somebody applies, or at the first write."""
        if self._merge_type is None:
            from cybernetes.core.api.custom import merging

            self._merge_type = merging.of_root(self.schema)
        return self._merge_type

    def check(self, obj: Object, raw: bytes, field_validation: str) -> list[str]:
        """``codec.check`` of a custom resource: bring ``obj`` into the form that is kept, in place.

        Returns warnings. Raises ApiError 400 for what is no object of this version, and under Strict for unknown and
        repeated fields.
        """
        ignores = field_validation == "Ignore"
        repeated = [] if ignores or not codec.has_repeated(obj, raw) else _repeated(obj, raw)
        self._expect(obj, raw)
        try:
            found = repeated + coercion.coerce(self.schema, obj, prunes=not self.keeps_unknown)
        except walk.DecodeError as error:
            raise self._refused(str(error)) from None
        if not found or ignores:
            return []
        if field_validation == "Strict":
            raise self._refused(f"strict decoding error: {', '.join(found)}")
        return found

    def default(self, obj: Object) -> None:
        """Fill in what the schema gives a default for."""
        defaulting.default(obj, self.schema)

    def coerce(self, obj: Object) -> None:
        """Hold an object that was not sent, but read or converted, to this version: pruned and defaulted, in place."""
        try:
            coercion.coerce(self.schema, obj, prunes=not self.keeps_unknown)
        except walk.DecodeError:
            pass  # what was stored before the schema was so stays readable
        defaulting.default(obj, self.schema)

    def _expect(self, obj: Object, raw: bytes) -> None:
        kind, api_version = obj.get("kind"), obj.get("apiVersion")
        if not kind:
            if raw:
                shown = raw.decode("utf-8", "replace")
                raise self._refused(f"Object 'Kind' is missing in '{shown}'")
            obj["kind"] = self.gvk.kind
        if not api_version:
            obj["apiVersion"] = self.api_version
        elif api_version != self.api_version:
            raise bad_request(
                f"the API version in the data ({api_version}) does not match the expected API version "
                f"({self.api_version})"
            )

    def _refused(self, why: str) -> ApiError:
        return bad_request(f'{self.gvk.kind} in version "{self.version}" cannot be handled as a {self.gvk.kind}: {why}')


def _repeated(obj: Object, raw: bytes) -> list[str]:
    """The fields that the text names twice, with their paths; of JSON as of YAML."""
    if not codec.is_json(raw):
        lines = codec.repeated_in_yaml(raw)
        return ["yaml: unmarshal errors:\n  " + "\n  ".join(lines)] if lines else []
    try:
        again = jsonreader.read_repeated(raw)
    except jsonreader.MalformedJson:
        return []
    found: dict[str, None] = {}
    _find_repeated(again, "", found)
    return list(found)[: walk.STRICT_ERRORS_MAX]


def _find_repeated(value: Any, path: str, found: dict[str, None]) -> None:
    if isinstance(value, list):
        for index, item in enumerate(value):
            _find_repeated(item, f"{path}[{index}]", found)
    elif isinstance(value, dict):
        pairs = value.pairs if isinstance(value, jsonreader.Repeated) else value.items()
        seen: set[str] = set()
        for name, item in pairs:
            at = f"{path}.{name}" if path else name
            if name in seen:
                found[f'duplicate field "{at}"'] = None
            seen.add(name)
            _find_repeated(item, at, found)


def _deprecation(spec: Object, version: Object, kind: str) -> str:
    if not version.get("deprecated"):
        return ""
    own = version.get("deprecationWarning")
    if own is not None:
        return str(own)
    from cybernetes.core.api.discovery import version_priority

    group, name = spec["group"], version["name"]
    text = f"{group}/{name} {kind} is deprecated"
    better = [
        each["name"]
        for each in spec["versions"]
        if each.get("served") and not each.get("deprecated") and version_priority(each["name"]) < version_priority(name)
    ]
    if better:
        text += f"; use {group}/{min(better, key=version_priority)} {kind}"
    return text

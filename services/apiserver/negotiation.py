"""Which form of an answer a client wants: its Accept header against what we can give.

    application/json;as=Table;v=v1;g=meta.k8s.io,application/json     kubectl get: a Table, or else the objects

Clauses are tried in order of their quality, the first that fits wins, as upstream's negotiation does. None that fits is
406 with the list of what would.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from cybernetes.core.api.protobuf.envelope import MEDIA_TYPE as PROTOBUF
from cybernetes.core.errors import not_acceptable

JSON = "application/json"
YAML = "application/yaml"
_MEDIA = (JSON, YAML, PROTOBUF)
#: OpenAPI as protobuf, and the name that older clients have for it.
OPENAPI_PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_OPENAPI_PROTOBUF_BEFORE = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
_STREAM_MEDIA = (JSON, PROTOBUF)
#: The forms that any object can be given in, all of meta.k8s.io.
TRANSFORMED = frozenset({"Table", "PartialObjectMetadata", "PartialObjectMetadataList"})
#: The group of discovery's own aggregated form.
DISCOVERY_GROUP = "apidiscovery.k8s.io"


class Form(NamedTuple):
    """``kind`` is empty for the objects as they are, else Table or PartialObjectMetadata (or its List)."""

    media: str
    kind: str = ""
    group: str = ""
    version: str = ""

    @property
    def is_yaml(self) -> bool:
        return self.media == YAML

    @property
    def is_protobuf(self) -> bool:
        return self.media == PROTOBUF

    @property
    def is_openapi_protobuf(self) -> bool:
        return self.media == OPENAPI_PROTOBUF

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}"

    @property
    def content_type(self) -> str:
        return f"{self.media};g={self.group};v={self.version};as={self.kind}" if self.kind else self.media


PLAIN = Form(JSON)


@lru_cache(maxsize=512)
def negotiate(
    accept: str,
    *,
    is_watch: bool = False,
    discovery: bool = False,
    is_custom: bool = False,
    has_table: bool = True,
) -> Form:
    """The form to answer in. Raises ApiError 406.

    ``discovery`` allows its own form instead of Table and the like. Custom resources have protobuf for their metadata
    alone, and a Table is never protobuf. What is answered and not kept has no Table (``has_table``).
    """
    offered = _STREAM_MEDIA if is_watch else _MEDIA
    if not accept.strip():
        return PLAIN
    for media_type, parameters in _clauses(accept):
        kind, group, version = parameters.get("as", ""), parameters.get("g", ""), parameters.get("v", "")
        if kind:
            if discovery:
                allowed = group == DISCOVERY_GROUP and version == "v2" and kind.startswith("APIGroupDisc")
            else:
                allowed = group == "meta.k8s.io" and version in ("v1", "v1beta1") and kind in TRANSFORMED
                allowed = allowed and (has_table or kind != "Table")
            if not allowed:
                continue
        if parameters.get("stream", "watch") != "watch":
            continue
        for media in offered:
            if media == PROTOBUF and (kind == "Table" or (is_custom and not kind)):
                continue
            if media_type in ("*/*", media, "application/*"):
                return Form(media, kind, group if kind else "", version if kind else "")
    raise not_acceptable(offered)


@lru_cache(maxsize=64)
def negotiate_openapi(accept: str) -> Form:
    """The form of ``/openapi/v2``: JSON, or protobuf. Raises ApiError 406."""
    if not accept.strip():
        return PLAIN
    for media_type, _ in _clauses(accept):
        if media_type in (OPENAPI_PROTOBUF, _OPENAPI_PROTOBUF_BEFORE):
            return Form(OPENAPI_PROTOBUF)
        if media_type in ("*/*", JSON, "application/*"):
            return PLAIN
    raise not_acceptable((JSON, OPENAPI_PROTOBUF))


def _clauses(accept: str) -> list[tuple[str, dict[str, str]]]:
    found: list[tuple[float, str, dict[str, str]]] = []
    for clause in accept.split(","):
        media_type, *rest = clause.split(";")
        parameters: dict[str, str] = {}
        for parameter in rest:
            name, _, value = parameter.partition("=")
            parameters[name.strip().lower()] = value.strip().strip('"')
        try:
            quality = float(parameters.pop("q", "1"))
        except ValueError:
            quality = 0.0
        media_type = media_type.strip().lower()
        if media_type and quality > 0:
            found.append((quality, media_type, parameters))
    found.sort(key=lambda clause: -clause[0])
    return [(media_type, parameters) for _, media_type, parameters in found]

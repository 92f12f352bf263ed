"""Answers of webhooks read as the review that was asked, in the words of a real kube-apiserver for what is none."""

from __future__ import annotations

from collections.abc import Collection

import orjson

from cybernetes.core.api import yamlreader
from cybernetes.core.errors import quoted
from cybernetes.core.objects import Gvk, Object

_META_STRUCT = r'struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }'
_SCHEME = 'in scheme "k8s.io/apiserver/pkg/util/webhook/client.go:71"'


class UnreadableAnswer(ValueError):
    """An answer that is no review."""


def read(data: bytes, asked: Gvk, versions: Collection[str]) -> Object:
    """The answer to a review of kind ``asked``, one of ``versions``. One that names no kind is taken for that kind.

    Raises UnreadableAnswer.
    """
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError:
        try:
            found = yamlreader.read(data)[0]
        except yamlreader.MalformedYaml as error:
            raise UnreadableAnswer(f"couldn't get version/kind; json parse error: {error}") from None
    if not isinstance(found, dict):
        word = {list: "array", str: "string", bool: "bool"}.get(type(found), "number")
        why = f"json: cannot unmarshal {word} into Go value of type {_META_STRUCT}"
        raise UnreadableAnswer(f"couldn't get version/kind; json parse error: {why}")
    gvk = Gvk.of(found)
    if not gvk.kind and not gvk.version:
        return found
    if gvk.group != asked.group or gvk.kind != asked.kind or gvk.version not in versions:
        raise UnreadableAnswer(
            f"no kind {quoted(gvk.kind)} is registered for version {quoted(gvk.api_version)} {_SCHEME}"
        )
    if gvk.version != asked.version:
        raise UnreadableAnswer(
            f"converting ({gvk.version}.{gvk.kind}) to ({asked.version}.{asked.kind}): unknown conversion"
        )
    return found

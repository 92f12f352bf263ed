"""Warning headers: what a client is told beside its answer (RFC 7234 5.5, KEP-1693).

Each text once, in order. All of them together have a bound: texts that exceed it are cut, and when the cut ones exceed
it too, the rest is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cybernetes.core.api import warnings
from cybernetes.core.objects import COMPONENT_STATUSES, ENDPOINTS, Gvk, Gvr

TOTAL_RUNES_MAX = 4096
ITEM_RUNES_MAX = 256

#: Resources that are deprecated as a whole: what any request for them is told.
DEPRECATED: Mapping[Gvr, str] = {
    gvr: warnings.DEPRECATED[Gvk(gvr.group, gvr.version, kind)]
    for gvr, kind in ((ENDPOINTS, "Endpoints"), (COMPONENT_STATUSES, "ComponentStatus"))
}


def headers(texts: Iterable[str]) -> bytes:
    """The header lines. Texts with control characters cannot be sent and are left out, as by upstream."""
    unique = [text for text in dict.fromkeys(texts) if text and not _has_control(text)]
    if sum(map(len, unique)) > TOTAL_RUNES_MAX:
        unique = _cut(unique)
    return b"".join(map(_line, unique))


def _cut(texts: list[str]) -> list[str]:
    kept = []
    left = TOTAL_RUNES_MAX
    for text in texts:
        if left <= 0:
            break
        kept.append(text[:ITEM_RUNES_MAX])
        left -= len(kept[-1])
    return kept


def _has_control(text: str) -> bool:
    return any(character < " " or "\x7f" <= character <= "\x9f" for character in text)


def _line(text: str) -> bytes:
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'Warning: 299 - "{quoted}"\r\n'.encode("utf-8", "replace")

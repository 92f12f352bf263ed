"""What the labels of a namespace ask of its pods.

    pod-security.kubernetes.io/enforce: baseline            refuse what baseline forbids
    pod-security.kubernetes.io/enforce-version: v1.30       as of Kubernetes 1.30; latest when not given
    pod-security.kubernetes.io/warn, /audit                 say so, and let it be

Without labels everything is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from cybernetes.core.admission.podsecurity.checks import LEVELS, PRIVILEGED, RESTRICTED
from cybernetes.core.api.fielderror import FieldError, invalid_value

PREFIX = "pod-security.kubernetes.io/"
_VERSION = re.compile(r"v1\.(0|[1-9][0-9]*)", re.ASCII)


class Standard(NamedTuple):
    """A level as of a version of Kubernetes; ``minor`` None is the latest."""

    level: str = PRIVILEGED
    minor: int | None = None

    def __str__(self) -> str:
        return f"{self.level}:{'latest' if self.minor is None else f'v1.{self.minor}'}"


class Policy(NamedTuple):
    enforce: Standard = Standard()
    audit: Standard = Standard()
    warn: Standard = Standard()


_NONE = Policy()


def policy_of(labels: Mapping[str, str] | None) -> tuple[Policy, list[FieldError]]:
    """What holds, and what is wrong with the labels: enforcement then is as strict as can be, the rest is not done."""
    if not labels:
        return _NONE, []
    errors: list[FieldError] = []
    standards: dict[str, Standard] = {}
    for mode in ("enforce", "audit", "warn"):
        level, minor = PRIVILEGED, None
        text = labels.get(PREFIX + mode)
        if text in LEVELS:
            level = text
        elif text is not None:
            level = RESTRICTED if mode == "enforce" else PRIVILEGED
            errors.append(_error(mode, text, f"must be one of {', '.join(LEVELS)}"))
        version = labels.get(f"{PREFIX}{mode}-version")
        if version is not None and version != "latest":
            match = _VERSION.fullmatch(version)
            if match is not None:
                minor = int(match[1])
            else:
                errors.append(_error(f"{mode}-version", version, 'must be "latest" or "v1.x"'))
        standards[mode] = Standard(level, minor)
    enforce, warn = standards["enforce"], standards["warn"]
    if PREFIX + "warn" not in labels and labels.get(PREFIX + "enforce") in LEVELS[1:]:
        # Who is not told otherwise is warned of what would be refused.
        is_dated = f"{PREFIX}warn-version" in labels
        warn = Standard(enforce.level, warn.minor if is_dated else enforce.minor)
    return Policy(enforce, standards["audit"], warn), errors


def _error(label: str, value: str, detail: str) -> FieldError:
    return invalid_value(f"metadata.labels[{PREFIX}{label}]", value, detail)

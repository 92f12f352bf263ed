"""How Go prints what stands in messages of Kubernetes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def selector_text(selector: Mapping[str, Any] | None) -> str:
    """A ``*metav1.LabelSelector``."""
    if selector is None:
        return "nil"
    labels = ",".join(f"{key}: {value}" for key, value in sorted((selector.get("matchLabels") or {}).items()))
    expressions = "".join(
        f"LabelSelectorRequirement{{Key:{one.get('key')},Operator:{one.get('operator')},"
        f"Values:[{' '.join(one.get('values') or ())}],}},"
        for one in selector.get("matchExpressions") or ()
    )
    pairs = f"map[string]string{{{labels}{',' if labels else ''}}}"
    return f"&LabelSelector{{MatchLabels:{pairs},MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"

"""What changed between two values, as messages about immutable fields show it: a unified diff of indented JSON."""

from __future__ import annotations

import difflib
import json
from typing import Any


def difference(old: Any, new: Any) -> str:
    """Empty when nothing changed. Costs milliseconds: for errors only."""
    result = list(difflib.unified_diff(_lines(old), _lines(new)))
    return "".join(result[2:])  # without the lines that name the files


def _lines(value: Any) -> list[str]:
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").splitlines(keepends=True)

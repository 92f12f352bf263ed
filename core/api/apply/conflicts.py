"""What is said to who applies a field that somebody else manages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cybernetes.core.api.apply.elements import shown_path
from cybernetes.core.api.apply.fieldset import Path
from cybernetes.core.api.apply.managers import UPDATE, Identity, identity_text
from cybernetes.core.errors import ApiError, Cause, failure, quoted


class Conflict(NamedTuple):
    who: Identity
    path: Path


class Conflicts(Exception):
    """Fields of a configuration that others manage with other values."""

    def __init__(self, conflicts: Sequence[Conflict]) -> None:
        super().__init__()
        self.conflicts = sorted(conflicts, key=lambda conflict: identity_text(conflict.who))

    def as_api_error(self) -> ApiError:
        """The 409, with a cause for each field."""
        causes = [
            Cause("FieldManagerConflict", f"conflict with {_shown(who)}", shown_path(path))
            for who, path in self.conflicts
        ]
        return failure(409, "Conflict", self._message(), causes=causes)

    def _message(self) -> str:
        if len(self.conflicts) == 1:
            who, path = self.conflicts[0]
            return f"Apply failed with 1 conflict: conflict with {_shown(who)}: {shown_path(path)}"
        lines: list[str] = []
        last = None
        for who, path in self.conflicts:
            if who != last:
                lines.append(f"conflicts with {_shown(who)}:")
                last = who
            lines.append(f"- {shown_path(path)}")
        return f"Apply failed with {len(self.conflicts)} conflicts: " + "\n".join(lines)


def _shown(who: Identity) -> str:
    text = quoted(who.manager)
    if who.subresource:
        text += f" with subresource {quoted(who.subresource)}"
    return f"{text} using {who.api_version}" if who.operation == UPDATE else text

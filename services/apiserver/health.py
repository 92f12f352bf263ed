"""/healthz, /livez, /readyz: is the server alive, and can it serve? Each is a list of named checks.

``?verbose`` lists them, ``?exclude=NAME`` leaves one out, ``/readyz/NAME`` asks for one alone (upstream:
server/healthz).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

#: Returns the reason why it is not healthy, empty when it is.
Check = Callable[[], Awaitable[str]]


class Answer(NamedTuple):
    code: int
    text: str


class Health:
    """The checks of the three endpoints, by path."""

    def __init__(self) -> None:
        self.checks: dict[str, dict[str, Check]] = {"/healthz": {}, "/livez": {}, "/readyz": {}}

    def add(self, name: str, check: Check, *, paths: tuple[str, ...] = ("/healthz", "/livez", "/readyz")) -> None:
        for path in paths:
            self.checks[path][name] = check

    async def answer(self, path: str, query: Mapping[str, list[str]]) -> Answer | None:
        """What ``path`` says; None when it is no health endpoint."""
        base, _, name = path[1:].partition("/")
        checks = self.checks.get("/" + base)
        if checks is None:
            return None
        if name:
            check = checks.get(name)
            if check is None:
                return None
            reason = await check()
            return Answer(500, f"internal server error: {reason}\n") if reason else Answer(200, "ok")
        excluded = set(query.get("exclude", ()))
        lines = []
        failed = []
        for each, check in checks.items():
            if each in excluded:
                lines.append(f"[+]{each} excluded: ok")
                excluded.discard(each)
                continue
            reason = await check()
            if reason:
                failed.append(each)
                lines.append(f"[-]{each} failed: reason withheld")
            else:
                lines.append(f"[+]{each} ok")
        if excluded:
            unknown = ", ".join(f'"{each}"' for each in sorted(excluded))
            lines.append(f"warn: some health checks cannot be excluded: no matches for {unknown}")
        text = "\n".join(lines)
        if failed:
            return Answer(500, f"{text}\n{base} check failed\n")
        if "verbose" in query:
            return Answer(200, f"{text}\n{base} check passed\n")
        return Answer(200, "ok")

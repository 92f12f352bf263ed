"""How a command fails: one line that says what failed and what to do, and an exit code."""

from __future__ import annotations

EXIT_FAILED = 1
EXIT_USAGE = 2


class CommandError(Exception):
    """Ends a command. ``str()`` of it is the one line that the user reads."""

    def __init__(self, message: str, code: int = EXIT_FAILED) -> None:
        super().__init__(message)
        self.code = code


class UsageError(CommandError):
    """What was asked for makes no sense; nothing was started."""

    def __init__(self, message: str) -> None:
        super().__init__(message, EXIT_USAGE)

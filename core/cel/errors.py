"""What goes wrong with expressions: in their text, and when they are evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Issue(NamedTuple):
    """One complaint about a text, at an offset in it."""

    position: int
    message: str


class CompileError(ValueError):
    """An expression that is no CEL, or whose types do not fit. Its text is cel-go's::

    ERROR: <input>:1:6: undefined field 'x'
     | self.x > 0
     | .....^
    """

    #: What failed, as messages begin.
    stage = "compilation failed"
    message_stage = "messageExpression compilation failed"

    def __init__(self, source: str, issues: Sequence[Issue]) -> None:
        self.source = source
        self.issues = sorted(issues)
        super().__init__("\n".join(_shown(source, issue) for issue in self.issues))


class InstantiationError(CompileError):
    """An expression whose types fit, but whose constants do not: ``int('x')``."""

    stage = "program instantiation failed"
    message_stage = "messageExpression instantiation failed"

    def __init__(self, source: str, why: str) -> None:
        super().__init__(source, ())
        self.args = (why,)


class EvaluationError(Exception):
    """A value that cannot be computed: ``no such key: a``, ``division by zero``."""


class CostExceeded(EvaluationError):
    """The evaluation was stopped because it had cost all that it may."""

    def __init__(self) -> None:
        super().__init__("operation cancelled: actual cost limit exceeded")


def no_such_overload() -> EvaluationError:
    return EvaluationError("no such overload")


def _shown(source: str, issue: Issue) -> str:
    before = source[: issue.position]
    line_number = before.count("\n") + 1
    column = len(before) - (before.rfind("\n") + 1)
    lines = source.split("\n")
    line = lines[line_number - 1] if line_number <= len(lines) else ""
    snippet = line.replace("\t", " ")
    dots = "".join("．" if ord(each) > 0x2E80 else "." for each in snippet[:column])
    return f"ERROR: <input>:{line_number}:{column + 1}: {issue.message}\n | {snippet}\n | {dots.ljust(column, '.')}^"

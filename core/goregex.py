"""Regular expressions as Go has them (RE2), for patterns that users write: schemas of custom resources, rules in CEL.

Matching takes time linear in the text whatever the pattern, which Python's own ``re`` cannot promise: a pattern in a
CustomResourceDefinition must not be able to stop the API server. RE2 comes from the google-re2 wheel, imported when the
first pattern is met (5 ms). A match costs about 1 µs.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

#: What RE2 says, and what Go says for the same.
_WORDS = {
    "missing )": "missing closing )",
    "missing ]": "missing closing ]",
    "invalid repetition size": "invalid repeat count",
    "no argument for repetition operator": "missing argument to repetition operator",
    "bad repetition operator": "invalid nested repetition operator",
    "invalid perl operator": "invalid or unsupported Perl syntax",
    "invalid named capture group": "invalid named capture",
    "trailing \\": "trailing backslash at end of expression",
    "pattern too large - compile failed": "expression too large",
}
#: Compiled patterns that are kept. One takes some kilobytes, rarely a megabyte.
_KEPT_MAX = 4096


class RegexError(ValueError):
    """A pattern that Go refuses, in its words: ``error parsing regexp: missing closing ): `(a```."""


class Regex:
    """One compiled pattern."""

    __slots__ = ("_anchor", "_match", "compiled", "pattern")

    def __init__(self, pattern: str) -> None:
        """Raises RegexError."""
        import re2

        options = re2.Options()
        options.log_errors = False
        try:
            self.compiled: Any = re2.compile(pattern, options)
        except re2.error as error:
            raise RegexError(_in_go(error)) from None
        self.pattern = pattern
        # The wheel's own search makes spans and decodes them; a bare match is four times as fast.
        self._match = self.compiled._regexp.Match
        self._anchor = self.compiled._regexp.Anchor.UNANCHORED

    def matches(self, text: str) -> bool:
        """Whether the pattern is found anywhere in ``text``."""
        data = text.encode("utf-8", "surrogatepass")
        return bool(self._match(self._anchor, data, 0, len(data))[0][0] >= 0)


@lru_cache(maxsize=_KEPT_MAX)
def compiled(pattern: str) -> Regex:
    """The compiled pattern, kept. Raises RegexError."""
    return Regex(pattern)


def problem(pattern: str) -> str:
    """What Go says against the pattern; empty when nothing."""
    try:
        compiled(pattern)
    except RegexError as error:
        return str(error)
    return ""


def _in_go(error: Exception) -> str:
    said = error.args[0]
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    what, separator, rest = text.partition(": ")
    shown = f"`{rest}`" if separator else "``"
    return f"error parsing regexp: {_WORDS.get(what, what)}: {shown}"

"""Text into tokens (cel-spec, langdef.md)."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from cybernetes.core.cel.errors import Issue

_TOKEN = re.compile(
    r"""
    (?P<space>[\t \r\n\f]+|//[^\n]*)
  | (?P<bytes>[bB](?:[rR])?(?:\"{3}|'{3}|\"|'))
  | (?P<string>(?:[rR])?(?:\"{3}|'{3}|\"|'))
  | (?P<float>\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\.\d+(?:[eE][+-]?\d+)?)
  | (?P<uint>0x[0-9a-fA-F]+[uU]|\d+[uU])
  | (?P<int>0x[0-9a-fA-F]+|\d+)
  | (?P<name>[a-zA-Z_][a-zA-Z0-9_]*)
  | (?P<escaped>`[a-zA-Z0-9_.\-/ ]+`)
  | (?P<sign>==|!=|<=|>=|&&|\|\||[<>\[\]{}().,\-!?:+*/%])
    """,
    re.VERBOSE,
)
_SIMPLE = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", '"': '"', "'": "'", "\\": "\\",
    "?": "?", "`": "`",
}  # fmt: skip
_ESCAPE = re.compile(
    r"\\(?:([abfnrtv\"'\\?`])|[xX]([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2})|(.?))", re.DOTALL
)
_INT_MAX, _UINT_MAX = 2**63, 2**64 - 1
#: Names that cannot be used as such.
RESERVED = frozenset(
    {
        "as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in", "let", "loop",
        "package", "namespace", "null", "return", "true", "var", "void", "while",
    }
)  # fmt: skip


class Token(NamedTuple):
    """``kind``: the sign itself, or name, escaped, int, uint, float, string, bytes, end. ``text`` is as written."""

    kind: str
    text: str
    value: Any
    position: int


class LexError(Exception):
    def __init__(self, issue: Issue) -> None:
        self.issue = issue
        super().__init__(issue.message)


def tokens(text: str) -> list[Token]:
    """Raises LexError."""
    found: list[Token] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            # A sign of two characters of which only the first is there: it is told with what stands in its place.
            shown = text[position : position + (2 if text[position] in "=&|" else 1)]
            raise LexError(Issue(position, f"Syntax error: token recognition error at: '{shown}'"))
        kind = match.lastgroup or ""
        start = position
        position = match.end()
        if kind == "space":
            continue
        if kind in ("string", "bytes"):
            value, position = _string(text, match[0], start, position, kind == "bytes")
            found.append(Token(kind, text[start:position], value, start))
            continue
        word = match[0]
        if kind == "sign" or word == "in":
            found.append(Token(word, word, None, start))
        elif kind == "name" and word in ("true", "false", "null"):
            found.append(Token(word, word, {"true": True, "false": False}.get(word), start))
        else:
            found.append(Token(kind, word, _value(kind, word, start), start))
    found.append(Token("end", "<EOF>", None, len(text)))
    return found


def _value(kind: str, word: str, start: int) -> Any:
    if kind in ("int", "uint"):
        digits = word.rstrip("uU") if kind == "uint" else word
        value = int(digits, 16) if digits.startswith("0x") else int(digits)
        # One more than the largest: its negation is the smallest.
        if value > (_UINT_MAX if kind == "uint" else _INT_MAX):
            raise LexError(Issue(start, f"invalid {kind} literal"))
        return value
    if kind == "float":
        number = float(word)
        if number in (float("inf"), float("-inf")):
            raise LexError(Issue(start, "invalid double literal"))
        return number
    if kind == "escaped":
        return word[1:-1]
    return word


def _string(text: str, opening: str, start: int, position: int, is_bytes: bool) -> tuple[Any, int]:
    prefix = opening.rstrip("\"'")
    quote = opening[len(prefix) :]
    is_raw = "r" in prefix.lower()
    is_long = len(quote) == 3
    end = position
    while True:
        if text.startswith(quote, end):
            break
        if end >= len(text) or (not is_long and text[end] in "\r\n"):
            raise LexError(Issue(start, f"Syntax error: token recognition error at: '{text[start:end]}'"))
        end += 2 if text[end] == "\\" and not is_raw else 1
    body = text[position:end]
    if is_long:
        body = body.replace("\r\n", "\n").replace("\r", "\n")
    if is_raw:
        return (body.encode() if is_bytes else body), end + len(quote)
    return _unescaped(body, start, is_bytes), end + len(quote)


def _unescaped(body: str, start: int, is_bytes: bool) -> Any:
    parts: list[bytes] = []
    position = 0
    for match in _ESCAPE.finditer(body):
        parts.append(body[position : match.start()].encode("utf-8", "surrogatepass"))
        position = match.end()
        simple, byte, short, long, octal, other = match.groups()
        if simple:
            parts.append(_SIMPLE[simple].encode())
        elif other is not None or ((short or long) and is_bytes):
            raise LexError(Issue(start, f"unable to unescape next character: {match[0]}"))
        elif short or long:
            code = int(short or long, 16)
            if code > 0x10FFFF or 0xD800 <= code < 0xE000:
                raise LexError(Issue(start, "invalid unicode code point"))
            parts.append(chr(code).encode())
        else:
            code = int(byte, 16) if byte else int(octal, 8)
            parts.append(bytes([code]) if is_bytes else chr(code).encode())
    parts.append(body[position:].encode("utf-8", "surrogatepass"))
    joined = b"".join(parts)
    return joined if is_bytes else joined.decode("utf-8", "replace")

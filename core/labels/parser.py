"""Text to requirements: the grammar of label selectors.

    selector    ::= requirement [ "," requirement ]…
    requirement ::= [ "!" ] KEY | KEY restriction
    restriction ::= ( "in" | "notin" ) "(" values ")" | ( "=" | "==" | "!=" | ">" | "<" ) VALUE
    values      ::= VALUE [ "," VALUE ]…                    a VALUE may be empty

``in`` and ``notin`` are words of the grammar only where an operator may stand; elsewhere they are names like any
other. Errors are worded as upstream's recursive descent words them (apimachinery, ``pkg/labels``), so the reader goes
the same way: one token ahead, complaining of the first token that does not fit.
"""

from __future__ import annotations

import re

from cybernetes.core.labels.requirement import (
    BINARY_OPERATORS,
    DOES_NOT_EXIST,
    DOUBLE_EQUALS,
    EQUALS,
    EXISTS,
    GREATER_THAN,
    IN,
    LESS_THAN,
    NOT_EQUALS,
    NOT_IN,
    Requirement,
    SelectorError,
    key_error,
    requirement,
)

_SYMBOLS = {
    "=": EQUALS,
    "==": DOUBLE_EQUALS,
    "!=": NOT_EQUALS,
    ">": GREATER_THAN,
    "<": LESS_THAN,
    "in": IN,
    "notin": NOT_IN,
}
_OPERATORS_TEXT = ", ".join(BINARY_OPERATORS)

#: What stands between the tokens; then a symbol, or a name up to the next symbol, blank or NUL.
_TOKEN = re.compile(r"[ \t\r\n]*(?:(==|!=|[=!(),<>])|([^ \t\r\n=!(),<>\0]+)\0?|)")

#: A NUL character is where upstream's reader thinks the text ends.
_END = ""


def parse(text: str) -> list[Requirement]:
    """The requirements in the order of the text. Raises SelectorError."""
    return _Parser(text).parse()


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._position = 0

    def parse(self) -> list[Requirement]:
        found: list[Requirement] = []
        while True:
            token, is_name = self._peek()
            if not is_name and token != "!":
                if token == _END:
                    return found
                raise SelectorError(f"found '{token}', expected: !, identifier, or 'end of string'")
            try:
                found.append(self._requirement())
            except SelectorError as error:
                raise SelectorError(f"unable to parse requirement: {error}") from None
            token, is_name = self._next()
            if token == _END:
                return found
            if token != ",":
                raise SelectorError(f"found '{token}', expected: ',' or 'end of string'")
            token, is_name = self._peek()
            if not is_name and token != "!":
                raise SelectorError(f"found '{token}', expected: identifier after ','")

    def _requirement(self) -> Requirement:
        key, is_name = self._next()
        is_negated = key == "!"
        if is_negated:
            key, is_name = self._next()
        if not is_name:
            raise SelectorError(f"found '{key}', expected: identifier")
        complaint = key_error("<nil>", key)
        if complaint:
            raise SelectorError(complaint)
        token, _ = self._peek()
        if is_negated:
            return requirement(key, DOES_NOT_EXIST)
        if token in (_END, ","):
            return requirement(key, EXISTS)
        token, _ = self._next()
        operator = _SYMBOLS.get(token)
        if operator is None:
            raise SelectorError(f"found '{token}', expected: {_OPERATORS_TEXT}")
        values = self._values() if operator in (IN, NOT_IN) else [self._exact_value()]
        return requirement(key, operator, sorted(set(values)))

    def _exact_value(self) -> str:
        token, is_name = self._peek()
        if token in (_END, ","):
            return ""
        self._next()
        if not is_name:
            raise SelectorError(f"found '{token}', expected: identifier")
        return token

    def _values(self) -> list[str]:
        token, is_name = self._next()
        if token != "(":
            raise SelectorError(f"found '{token}' expected: '('")
        token, is_name = self._peek()
        if not is_name and token not in (",", ")"):
            raise SelectorError(f"found '{token}', expected: ',', ')' or identifier")
        values = []
        while True:  # a value, perhaps empty, then a comma or the end
            value, is_name = self._peek()
            if is_name:
                self._next()
            elif value in (",", ")"):
                value = ""
            else:
                raise SelectorError(f"found '{value}', expected: ',', or identifier")
            values.append(value)
            token, is_name = self._peek()
            if token not in (",", ")"):
                raise SelectorError(f"found '{token}', expected: ',' or ')'")
            self._next()
            if token == ")":
                return values

    def _peek(self) -> tuple[str, bool]:
        return self._tokens[self._position]

    def _next(self) -> tuple[str, bool]:
        token = self._tokens[self._position]
        self._position += 1
        return token


def _tokens(text: str) -> list[tuple[str, bool]]:
    """(token, whether it can be a name); the last is the end."""
    found = []
    position = 0
    while True:
        match = _TOKEN.match(text, position)
        assert match is not None  # every part of the pattern may be empty
        symbol, name = match.groups()
        if symbol is not None:
            found.append((symbol, False))
        elif name is not None:
            found.append((name, True))
        else:
            found.append((_END, False))
            return found
        position = match.end()

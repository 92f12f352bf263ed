"""Tokens into a tree (cel-spec, langdef.md; cel-go, parser). Macros are expanded on the way."""

from __future__ import annotations

from cybernetes.core.cel import macros
from cybernetes.core.cel.ast import Call, Entry, Ident, ListNode, Literal, MapNode, Node, Select, StructNode
from cybernetes.core.cel.errors import CompileError, Issue
from cybernetes.core.cel.lexer import RESERVED, LexError, Token, tokens
from cybernetes.core.cel.values import UInt

#: Deeper expressions are refused, as cel-go's parser refuses them.
_DEPTH_MAX = 250
_EXPECTED = (
    "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}"
)
_RELATIONS = frozenset({"<", "<=", ">=", ">", "==", "!=", "in"})
_SUMS = frozenset({"+", "-"})
_PRODUCTS = frozenset({"*", "/", "%"})
#: What an expression begins with.
_BEGINNINGS = frozenset(
    {"[", "{", "(", ".", "-", "!", "true", "false", "null", "float", "int", "uint", "string", "bytes", "name"}
)
_INT_LIMIT = 2**63


#: Field names in backticks are CEL, but not Kubernetes' CEL.
_NO_ESCAPES = "unsupported syntax: '`'"


class _Refused(Exception):
    def __init__(self, position: int, message: str) -> None:
        self.issue = Issue(position, message)
        super().__init__(message)


def parse(source: str) -> Node:
    """The tree of an expression. Raises CompileError."""
    try:
        parser = _Parser(source)
        node = parser.expression()
        parser.end()
    except (LexError, _Refused, macros.MacroError) as error:
        raise CompileError(source, [error.issue]) from None
    except RecursionError:
        raise CompileError(source, [Issue(0, f"expression recursion limit exceeded: {_DEPTH_MAX}")]) from None
    return node


class _Parser:
    def __init__(self, source: str) -> None:
        self.tokens = tokens(source)
        self.index = 0
        self.depth = 0

    @property
    def token(self) -> Token:
        return self.tokens[self.index]

    def take(self, kind: str) -> Token | None:
        token = self.tokens[self.index]
        if token.kind == kind:
            self.index += 1
            return token
        return None

    def expect(self, kind: str, *, among: str = "") -> Token:
        """``among``: all that could stand here, where that is more."""
        token = self.take(kind)
        if token is None:
            if kind == ":" and self.token.kind in _BEGINNINGS and self._following() != ":":
                found = self.token
                raise _Refused(found.position, f"Syntax error: missing ':' at '{found.text}'")
            raise self._unexpected({kind, ","} if among else {kind}, among or f"'{kind}'")
        return token

    def end(self) -> None:
        if self.token.kind != "end":
            raise self._unexpected({"end"}, "<EOF>")

    def _following(self) -> str:
        return self.tokens[min(self.index + 1, len(self.tokens) - 1)].kind

    def _unexpected(self, kinds: frozenset[str] | set[str], shown: str) -> _Refused:
        """What is told of a token that cannot stand here: one too many when the next could."""
        found = self.token
        word = "extraneous" if found.kind != "end" and self._following() in kinds else "mismatched"
        return _Refused(found.position, f"Syntax error: {word} input '{found.text}' expecting {shown}")

    def expression(self) -> Node:
        self.depth += 1
        if self.depth > _DEPTH_MAX:
            raise _Refused(self.token.position, f"expression recursion limit exceeded: {_DEPTH_MAX}")
        node = self.disjunction()
        sign = self.take("?")
        if sign is not None:
            one = self.disjunction()
            self.expect(":")
            node = Call(sign.position, "_?_:_", [node, one, self.expression()])
        self.depth -= 1
        return node

    def disjunction(self) -> Node:
        return self._balanced("||", "_||_", self.conjunction)

    def conjunction(self) -> Node:
        return self._balanced("&&", "_&&_", self.relation)

    def _balanced(self, sign: str, function: str, operand: object) -> Node:
        """A chain as a balanced tree, so that a long one is not deep."""
        terms = [operand()]  # type: ignore[operator]
        signs: list[int] = []
        while (token := self.take(sign)) is not None:
            signs.append(token.position)
            terms.append(operand())  # type: ignore[operator]
        return _tree(function, terms, signs, 0, len(terms) - 1)

    def relation(self) -> Node:
        node = self.sum()
        while self.token.kind in _RELATIONS:
            token = self.token
            self.index += 1
            function = "@in" if token.kind == "in" else f"_{token.kind}_"
            node = Call(token.position, function, [node, self.sum()])
        return node

    def sum(self) -> Node:
        node = self.product()
        while self.token.kind in _SUMS:
            token = self.token
            self.index += 1
            node = Call(token.position, f"_{token.kind}_", [node, self.product()])
        return node

    def product(self) -> Node:
        node = self.unary()
        while self.token.kind in _PRODUCTS:
            token = self.token
            self.index += 1
            node = Call(token.position, f"_{token.kind}_", [node, self.unary()])
        return node

    def unary(self) -> Node:
        token = self.token
        if token.kind not in ("!", "-"):
            return self.member()
        count = 0
        while self.take(token.kind) is not None:
            count += 1
        following = self.token
        if token.kind == "-" and count == 1 and following.kind in ("int", "float"):
            self.index += 1
            value = -following.value
            literal = Literal(token.position, value)
            return self._suffixes(literal)
        node = self.member()
        if count % 2 == 0:
            return node
        return Call(token.position, "!_" if token.kind == "!" else "-_", [node])

    def member(self) -> Node:
        return self._suffixes(self.primary())

    def _suffixes(self, node: Node) -> Node:
        while True:
            dot = self.take(".")
            if dot is not None:
                node = self._selection(node, dot)
                continue
            bracket = self.take("[")
            if bracket is None:
                return node
            is_optional = self.take("?") is not None
            index = self.expression()
            self.expect("]")
            node = Call(bracket.position, "_[?_]" if is_optional else "_[_]", [node, index])

    def _selection(self, node: Node, dot: Token) -> Node:
        is_optional = self.take("?") is not None
        token = self.token
        if token.kind == "escaped":
            raise _Refused(token.position, _NO_ESCAPES)
        if token.kind in ("name", "in", "true", "false", "null"):
            self.index += 1
            name = token.text
            if token.kind != "name":
                raise _Refused(token.position, f"Syntax error: no viable alternative at input '.{name}'")
        else:
            raise _Refused(token.position, f"Syntax error: no viable alternative at input '.{token.text}'")
        if is_optional:
            return Call(dot.position, "_?._", [node, Literal(token.position, name)])
        paren = self.take("(") if token.kind == "name" else None
        if paren is not None:
            return macros.expand(Call(paren.position, name, self._arguments(), node))
        return Select(dot.position, node, name)

    def _arguments(self) -> list[Node]:
        found: list[Node] = []
        if self.take(")") is not None:
            return found
        while True:
            found.append(self.expression())
            if self.take(",") is None:
                self.expect(")")
                return found

    def primary(self) -> Node:
        token = self.token
        kind = token.kind
        if kind in ("int", "uint", "float", "string", "bytes", "true", "false", "null"):
            self.index += 1
            return _literal(token)
        if kind == "(":
            self.index += 1
            node = self.expression()
            self.expect(")")
            return node
        if kind == "[":
            return self._list()
        if kind == "{":
            return self._map()
        leading = self.take(".")
        token = self.token
        if token.kind == "name":
            self.index += 1
            return self._name(token, leading)
        raise self._unexpected(_BEGINNINGS, _EXPECTED)

    def _name(self, token: Token, leading: Token | None) -> Node:
        name = ("." if leading is not None else "") + token.text
        if self._begins_struct():
            return self._struct(token, name)
        if token.text in RESERVED:
            raise _Refused(token.position, f"reserved identifier: {token.text}")
        paren = self.take("(")
        if paren is not None:
            return macros.expand(Call(paren.position, name, self._arguments()))
        return Ident(token.position, name)

    def _begins_struct(self) -> bool:
        """Whether a brace follows the dotted name whose first part was just taken."""
        index = self.index
        while self.tokens[index].kind == "." and self.tokens[index + 1].kind == "name":
            index += 2
        return self.tokens[index].kind == "{"

    def _struct(self, token: Token, name: str) -> Node:
        while self.take(".") is not None:
            name += "." + self.expect("name").text
        brace = self.expect("{")
        entries: list[Entry] = []
        while self.take("}") is None:
            is_optional = self.take("?") is not None
            if self.token.kind == "escaped":
                raise _Refused(self.token.position, _NO_ESCAPES)
            field = self.expect("name")
            colon = self.expect(":")
            entries.append(Entry(colon.position, str(field.value), self.expression(), is_optional))
            if self.take(",") is None:
                self.expect("}")
                break
        return StructNode(brace.position, name, entries)

    def _list(self) -> Node:
        bracket = self.expect("[")
        elements: list[Node] = []
        optionals = set()
        while self.take("]") is None:
            if self.take("?") is not None:
                optionals.add(len(elements))
            elements.append(self.expression())
            if self.take(",") is None:
                self.expect("]", among="{']', ','}")
                break
        return ListNode(bracket.position, elements, frozenset(optionals))

    def _map(self) -> Node:
        brace = self.expect("{")
        entries: list[Entry] = []
        while self.take("}") is None:
            is_optional = self.take("?") is not None
            key = self.expression()
            colon = self.expect(":")
            entries.append(Entry(colon.position, key, self.expression(), is_optional))
            if self.take(",") is None:
                self.expect("}", among="{'}', ','}")
                break
        return MapNode(brace.position, entries)


def _tree(function: str, terms: list[Node], signs: list[int], first: int, last: int) -> Node:
    if first == last:
        return terms[first]
    middle = (first + last + 1) // 2
    left = _tree(function, terms, signs, first, middle - 1)
    return Call(signs[middle - 1], function, [left, _tree(function, terms, signs, middle, last)])


def _literal(token: Token) -> Node:
    value = token.value
    if token.kind == "uint":
        value = UInt(value)
    elif token.kind == "int" and value >= _INT_LIMIT:
        raise _Refused(token.position, "invalid int literal")
    return Literal(token.position, value)

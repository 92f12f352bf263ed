"""The protobuf messages of the API, from ``fields.txt`` (``table_compiler`` says how to read it), made when needed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Literal

from cybernetes.core.api.protobuf.forms import FORMS, Form, read_time
from cybernetes.ext import protobuf as kernel

_TEXT = Path(__file__).with_name("fields.txt")

#: s string, b bytes, i integer, t truth value, d double, m message.
Kind = Literal["s", "b", "i", "t", "d", "m"]
#: "" one, [ repeated, { a map from strings, * a message whose fields stand in the parent's JSON object.
Mark = Literal["", "[", "{", "*"]


class Field:
    """One field. ``message`` is what it holds if ``kind`` is m."""

    __slots__ = ("_message", "_owner", "_type", "kind", "mark", "name", "number")

    def __init__(self, owner: Messages, name: str, number: int, mark: Mark, type_name: str) -> None:
        self.name = name
        self.number = number
        self.mark = mark
        self.kind: Kind = type_name if len(type_name) == 1 else "m"  # type: ignore[assignment]
        self._owner = owner
        self._type = type_name
        self._message: Message | None = None

    @property
    def message(self) -> Message:
        if self._message is None:
            self._message = self._owner.get(self._type)
        return self._message


class Message:
    """``name`` is the schema's: ``io.k8s.api.core.v1.Pod``. ``form`` is there for what is something else in JSON."""

    __slots__ = ("_by_name", "_node", "by_number", "fields", "form", "name")

    def __init__(self, name: str, fields: tuple[Field, ...]) -> None:
        self.name = name
        self.fields = fields
        self.form: Form | None = FORMS.get(name)
        self.by_number: Mapping[int, Field] = {field.number: field for field in fields}
        self._by_name: Mapping[str, Field] | None = None
        self._node: kernel.Message | None = None

    @property
    def by_name(self) -> Mapping[str, Field]:
        """Fields by the names that they have in JSON: an inline one by those of its message."""
        if self._by_name is None:
            self._by_name = {name: field for field in self.fields for name in _names(field)}
        return self._by_name

    @property
    def node(self) -> kernel.Message:
        """What the kernel works with: made of this and of all that it holds when first asked for (1 ms for a pod)."""
        if self._node is None:
            form = self.form
            self._node = node = (
                kernel.Message(0, None, None)
                if form is None
                else kernel.Message(form.kernel, form.to_fields, form.from_fields)
            )
            made = []
            for field in self.fields:
                one = kernel.Field(field.name, field.number, _KINDS[field.kind], _MARKS[field.mark])
                if field.kind == "m":
                    one.set_message(field.message.node)
                made.append((one, _names(field)))
            node.set_fields(made)
        return self._node


_KINDS: Mapping[Kind, int] = {"s": 0, "b": 1, "i": 2, "t": 3, "d": 4, "m": 5}
_MARKS: Mapping[Mark, int] = {"": 0, "[": 1, "{": 2, "*": 3}
kernel.configure(read_time)


def _names(field: Field) -> tuple[str, ...]:
    return tuple(field.message.by_name) if field.mark == "*" else (field.name,)


class Messages:
    """All messages by name. Each is read from its line when it is first asked for."""

    def __init__(self, text: str) -> None:
        self._lines: dict[str, tuple[str, str]] = {}
        self._made: dict[str, Message] = {}
        package = ""
        for line in text.splitlines():
            if line.startswith("@"):
                package = line[1:]
            else:
                name, _, fields = line.partition(" ")
                self._lines[f"{package}.{name}"] = (package, fields)

    def __contains__(self, name: object) -> bool:
        return name in self._lines

    def __iter__(self) -> object:
        return iter(self._lines)

    def get(self, name: str) -> Message:
        """Raises KeyError."""
        message = self._made.get(name)
        if message is None:
            package, text = self._lines[name]
            message = self._made[name] = Message(name, tuple(self._fields(package, text)))
        return message

    def _fields(self, package: str, text: str) -> list[Field]:
        fields: list[Field] = []
        number = 0
        for word in text.split():
            head, _, type_name = word.rpartition(":")
            mark: Mark = head[-1] if head[-1] in "[{*" else ""  # type: ignore[assignment]
            name, _, given = head.removesuffix(mark).partition("=")
            number = int(given) if given else number + 1
            if len(type_name) > 1 and "." not in type_name:
                type_name = f"{package}.{type_name}"
            fields.append(Field(self, name, number, mark, type_name))
        return fields


@lru_cache(maxsize=1)
def load() -> Messages:
    """The messages of the served version. 0.6 ms."""
    return Messages(_TEXT.read_text(encoding="ascii"))

"""Named formats (library/format.go): ``format.dns1123Label().validate(name)``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cybernetes.core.api.custom import formats
from cybernetes.core.api.validation import names
from cybernetes.core.cel.declarations import FORMAT
from cybernetes.core.cel.errors import no_such_overload
from cybernetes.core.cel.library import Function
from cybernetes.core.cel.values import NONE, Opaque, Optional
from cybernetes.core.labels.syntax import key_errors, value_errors


class Format(Opaque):
    """``check`` gives what is wrong with a text; ``regex_size`` is what a check is thought to cost."""

    __slots__ = ("check", "name", "regex_size")
    cel_type = FORMAT

    def __init__(self, name: str, check: Callable[[str], list[str]], regex_size: int) -> None:
        self.name = name
        self.check = check
        self.regex_size = regex_size

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Format) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)


def _by(format: str, message: str) -> Callable[[str], list[str]]:
    matches = formats.FORMATS[format]
    return lambda text: [] if matches(text) else [message]


def _uri(text: str) -> list[str]:
    """In the words of Go's url.ParseRequestURI, as far as they are about the beginning."""
    if formats.FORMATS["uri"](text):
        return []
    return [f'parse "{text}": {"empty url" if not text else "invalid URI for request"}']


_FORMATS = {
    "dns1123Label": Format("DNS1123Label", lambda text: names.name_is_label(text), 30),
    "dns1123Subdomain": Format("DNS1123Subdomain", lambda text: names.name_is_subdomain(text), 60),
    "dns1035Label": Format("DNS1035Label", lambda text: names.name_is_1035_label(text), 30),
    "qualifiedName": Format("QualifiedName", lambda text: list(key_errors(text)), 60),
    "dns1123LabelPrefix": Format("DNS1123LabelPrefix", lambda text: names.name_is_label(text, True), 30),
    "dns1123SubdomainPrefix": Format("DNS1123SubdomainPrefix", lambda text: names.name_is_subdomain(text, True), 60),
    "dns1035LabelPrefix": Format("DNS1035LabelPrefix", lambda text: names.name_is_1035_label(text, True), 30),
    "labelValue": Format("LabelValue", lambda text: list(value_errors(text)), 40),
    "uri": Format("URI", _uri, 128),
    "uuid": Format("uuid", _by("uuid", "does not match the UUID format"), 84),
    "byte": Format("byte", _by("byte", "invalid base64"), 84),
    "date": Format("date", _by("date", "invalid date"), 82),
    "datetime": Format("datetime", _by("datetime", "invalid datetime"), 82),
}


def _named(name: Any) -> Optional:
    if not isinstance(name, str):
        raise no_such_overload()
    found = _FORMATS.get(name)
    return Optional(True, found) if found is not None else NONE


def _validate(format: Any, text: Any) -> Optional:
    if not isinstance(format, Format) or not isinstance(text, str):
        raise no_such_overload()
    found = format.check(text)
    return Optional(True, found) if found else NONE


def _constant(format: Format) -> Function:
    return lambda: format


FUNCTIONS: dict[str, Function] = {
    "format.named": _named,
    "validate": _validate,
    **{f"format.{name}": _constant(format) for name, format in _FORMATS.items()},
}

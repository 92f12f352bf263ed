"""What a label key and a label value may look like, in Kubernetes' words (apimachinery, ``pkg/api/validate/content``).

Each check returns the list of what is wrong, empty when nothing is: upstream reports every complaint, not the first.
Lengths are in bytes of UTF-8, as in Go.
"""

from __future__ import annotations

import re
from functools import lru_cache

NAME_BYTES_MAX = 63
VALUE_BYTES_MAX = 63
SUBDOMAIN_BYTES_MAX = 253

_NAME = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE = f"({_NAME})?"
_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"

_name_matches = re.compile(_NAME).fullmatch
_value_matches = re.compile(_VALUE).fullmatch
_subdomain_matches = re.compile(_SUBDOMAIN).fullmatch

_NAME_RULE = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
    f" (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '{_NAME}')"
)
_VALUE_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.',"
    " and must start and end with an alphanumeric character"
    f" (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '{_VALUE}')"
)
_SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.',"
    " and must start and end with an alphanumeric character"
    f" (e.g. 'example.com', regex used for validation is '{_SUBDOMAIN}')"
)
_KEY_RULE = f"a valid label key {_NAME_RULE} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"


def too_long(limit: int) -> str:
    return f"must be no more than {limit} bytes"


def subdomain_errors(text: str) -> list[str]:
    """Complaints about an RFC 1123 subdomain, such as the prefix of a key."""
    errors = []
    if len(text.encode("utf-8", "surrogatepass")) > SUBDOMAIN_BYTES_MAX:
        errors.append(too_long(SUBDOMAIN_BYTES_MAX))
    if not _subdomain_matches(text):
        errors.append(_SUBDOMAIN_RULE)
    return errors


def key_errors(key: str) -> list[str]:
    """Complaints about a label key (a qualified name): ``[prefix/]name``."""
    return list(_key_errors(key))


@lru_cache(maxsize=4096)  # the same few keys come with every object
def _key_errors(key: str) -> tuple[str, ...]:
    parts = key.split("/")
    errors = []
    if len(parts) > 2:
        return (_KEY_RULE,)
    name = parts[-1]
    if len(parts) == 2:
        if not parts[0]:
            errors.append("prefix part must be non-empty")
        else:
            errors.extend(f"prefix part {error}" for error in subdomain_errors(parts[0]))
    if not name:
        errors.append("name part must be non-empty")
    elif len(name.encode("utf-8", "surrogatepass")) > NAME_BYTES_MAX:
        errors.append(f"name part {too_long(NAME_BYTES_MAX)}")
    if not _name_matches(name):
        errors.append(f"name part {_NAME_RULE}")
    return tuple(errors)


def value_errors(value: str) -> list[str]:
    """Complaints about a label value."""
    if len(value) <= VALUE_BYTES_MAX and _value_matches(value):  # then it is ASCII: characters are bytes
        return []
    errors = []
    if len(value.encode("utf-8", "surrogatepass")) > VALUE_BYTES_MAX:
        errors.append(too_long(VALUE_BYTES_MAX))
    if not _value_matches(value):
        errors.append(_VALUE_RULE)
    return errors

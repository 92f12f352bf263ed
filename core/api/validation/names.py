"""Names and the small formats that fields are made of, with upstream's complaints (apimachinery, ``util/validation``).

Each check returns what is wrong as texts, empty when nothing is; the caller puts them on a field. Label keys and values
are ``core/labels/syntax``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

#: ``(name, is_prefix)`` -> complaints. A prefix, as in generateName, may end in a dash.
NameCheck = Callable[[str, bool], list[str]]

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_LABEL_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_UNDERSCORED = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_UNDERSCORED_SUBDOMAIN = rf"{_UNDERSCORED}(\.{_UNDERSCORED})*"
_WILDCARD = rf"\*\.{_SUBDOMAIN}"
_IDENTIFIER = "[A-Za-z_][A-Za-z0-9_]*"
_CONFIG_KEY = "[-._a-zA-Z0-9]+"
_HEADER = "[-A-Za-z0-9]+"
_PERCENT = "[0-9]+%"
_ENV_NAME = "[-._a-zA-Z][-._a-zA-Z0-9]*"

_label_matches = re.compile(_LABEL).fullmatch
_subdomain_matches = re.compile(_SUBDOMAIN).fullmatch
_label_1035_matches = re.compile(_LABEL_1035).fullmatch
_underscored_matches = re.compile(_UNDERSCORED_SUBDOMAIN).fullmatch
_wildcard_matches = re.compile(_WILDCARD).fullmatch
_identifier_matches = re.compile(_IDENTIFIER).fullmatch
_config_key_matches = re.compile(_CONFIG_KEY).fullmatch
_header_matches = re.compile(_HEADER).fullmatch
_percent_matches = re.compile(_PERCENT).fullmatch
_env_name_matches = re.compile(_ENV_NAME).fullmatch
_port_name_matches = re.compile("[-a-z0-9]+").fullmatch

_SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.',"
    " and must start and end with an alphanumeric character"
)
_LABEL_RULE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-',"
    " and must start and end with an alphanumeric character"
)
_LABEL_1035_RULE = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-',"
    " start with an alphabetic character, and end with an alphanumeric character"
)
_UNDERSCORED_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.',"
    " and must start and end with an alphanumeric character"
)
_WILDCARD_RULE = (
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of"
    " lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character"
)
_IDENTIFIER_RULE = (
    "a valid C identifier must start with alphabetic character or '_',"
    " followed by a string of alphanumeric characters or '_'"
)
_ENV_RULE = "a valid environment variable name must consist only of printable ASCII characters other than '='"
_CONFIG_KEY_RULE = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"

EMPTY = "must be non-empty"
SUBDOMAIN_LENGTH_MAX = 253
LABEL_LENGTH_MAX = 63


def too_long(limit: int) -> str:
    return f"must be no more than {limit} characters"


def out_of_range(low: int, high: int) -> str:
    return f"must be between {low} and {high}, inclusive"


def rule_text(rule: str, pattern: str, *examples: str) -> str:
    """A rule with examples and the pattern behind it, put together as upstream does."""
    shown = " or ".join(f"'{example}', " for example in examples)
    return f"{rule} (e.g. {shown}regex used for validation is '{pattern}')"


@lru_cache(maxsize=8192)
def _dns_label(text: str) -> tuple[str, ...]:
    errors = []
    if len(text.encode("utf-8", "replace")) > LABEL_LENGTH_MAX:
        errors.append(too_long(LABEL_LENGTH_MAX))
    if not _label_matches(text):
        if _subdomain_matches(text):
            errors.append("must not contain dots")
        else:
            errors.append(rule_text(_LABEL_RULE, _LABEL, "my-name", "123-abc"))
    return tuple(errors)


def dns_label(text: str) -> list[str]:
    """RFC 1123 label: container names, namespaces, port names of Services."""
    return list(_dns_label(text))


@lru_cache(maxsize=8192)
def _dns_subdomain(text: str) -> tuple[str, ...]:
    errors = []
    if len(text.encode("utf-8", "replace")) > SUBDOMAIN_LENGTH_MAX:
        errors.append(too_long(SUBDOMAIN_LENGTH_MAX))
    if not _subdomain_matches(text):
        errors.append(rule_text(_SUBDOMAIN_RULE, _SUBDOMAIN, "example.com"))
    return tuple(errors)


def dns_subdomain(text: str) -> list[str]:
    """RFC 1123 subdomain: what most names are."""
    return list(_dns_subdomain(text))


def dns_1035_label(text: str) -> list[str]:
    """RFC 1035 label, which starts with a letter."""
    errors = []
    if len(text.encode("utf-8", "replace")) > LABEL_LENGTH_MAX:
        errors.append(too_long(LABEL_LENGTH_MAX))
    if not _label_1035_matches(text):
        errors.append(rule_text(_LABEL_1035_RULE, _LABEL_1035, "my-name", "abc-123"))
    return errors


def underscored_subdomain(text: str) -> list[str]:
    """A subdomain that may hold underscores: search domains of a pod."""
    errors = []
    if len(text.encode("utf-8", "replace")) > SUBDOMAIN_LENGTH_MAX:
        errors.append(too_long(SUBDOMAIN_LENGTH_MAX))
    if not _underscored_matches(text):
        errors.append(rule_text(_UNDERSCORED_RULE, _UNDERSCORED_SUBDOMAIN, "example.com"))
    return errors


def wildcard_subdomain(text: str) -> list[str]:
    """``*.example.com``: hosts of an Ingress."""
    errors = []
    if len(text.encode("utf-8", "replace")) > SUBDOMAIN_LENGTH_MAX:
        errors.append(too_long(SUBDOMAIN_LENGTH_MAX))
    if not _wildcard_matches(text):
        errors.append(rule_text(_WILDCARD_RULE, _WILDCARD, "*.example.com"))
    return errors


def c_identifier(text: str) -> list[str]:
    """A name in C, as the prefix of environment variables."""
    if _identifier_matches(text):
        return []
    return [rule_text(_IDENTIFIER_RULE, _IDENTIFIER, "my_name", "MY_NAME", "MyName")]


def env_name(text: str) -> list[str]:
    """An environment variable: since 1.34 anything printable but an equals sign."""
    if not text:
        return [f"environment variable name {EMPTY}"]
    if any(not " " <= character <= "~" or character == "=" for character in text):
        return [_ENV_RULE]
    return []


def config_key(text: str) -> list[str]:
    """A key of a ConfigMap or Secret, which becomes a file name."""
    errors = []
    if len(text.encode("utf-8", "replace")) > SUBDOMAIN_LENGTH_MAX:
        errors.append(too_long(SUBDOMAIN_LENGTH_MAX))
    if not _config_key_matches(text):
        errors.append(rule_text(_CONFIG_KEY_RULE, _CONFIG_KEY, "key.name", "KEY_NAME", "key-name"))
    if text == ".":
        errors.append("must not be '.'")
    elif text == "..":
        errors.append("must not be '..'")
    elif text.startswith(".."):
        errors.append("must not start with '..'")
    return errors


def header_name(text: str) -> list[str]:
    if _header_matches(text):
        return []
    rule = "a valid HTTP header must consist of alphanumeric characters or '-'"
    return [rule_text(rule, _HEADER, "X-Header-Name")]


def percent(text: str) -> list[str]:
    if _percent_matches(text):
        return []
    rule = "a valid percent string must be a numeric string followed by an ending '%'"
    return [rule_text(rule, _PERCENT, "1%", "93%")]


def port_number(number: int) -> list[str]:
    return [] if 1 <= number <= 65535 else [out_of_range(1, 65535)]


def port_name(text: str) -> list[str]:
    """The name of a container's port (IANA service name)."""
    errors = []
    if len(text.encode("utf-8", "replace")) > 15:
        errors.append(too_long(15))
    if not _port_name_matches(text):
        errors.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not any("a" <= character <= "z" for character in text):
        errors.append("must contain at least one letter (a-z)")
    if "--" in text:
        errors.append("must not contain consecutive hyphens")
    if text and (text[0] == "-" or text[-1] == "-"):
        errors.append("must not begin or end with a hyphen")
    return errors


def user_id(number: int) -> list[str]:
    """A user or group id."""
    return [] if 0 <= number <= 2**31 - 1 else [out_of_range(0, 2**31 - 1)]


def _masked(name: str, is_prefix: bool) -> str:
    """A prefix may end in a dash: something follows (upstream: maskTrailingDash)."""
    return name[:-2] + "a" if is_prefix and len(name) > 1 and name.endswith("-") else name


def name_is_subdomain(name: str, is_prefix: bool = False) -> list[str]:
    return dns_subdomain(_masked(name, is_prefix))


def name_is_label(name: str, is_prefix: bool = False) -> list[str]:
    return dns_label(_masked(name, is_prefix))


def name_is_1035_label(name: str, is_prefix: bool = False) -> list[str]:
    return dns_1035_label(_masked(name, is_prefix))


def path_segment(name: str, is_prefix: bool = False) -> list[str]:
    """What may stand in a URL path: names of RBAC objects, which may hold colons."""
    if not is_prefix and name in (".", ".."):
        return [f"may not be '{name}'"]
    return [f"may not contain '{part}'" for part in ("/", "%") if part in name]

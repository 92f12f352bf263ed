"""What strings must look like under a ``format`` of a schema (upstream: kube-openapi, validation/strfmt).

Formats that are not listed are ignored, as upstream ignores them (and warns when the definition is written).
"""

from __future__ import annotations

import binascii
import datetime
import ipaddress
import re
import urllib.parse
from collections.abc import Callable, Mapping

_UNITS_NS = {
    "ns": 1, "us": 1_000, "µs": 1_000, "μs": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}  # fmt: skip
#: Words that a duration may use beside Go's units: each also as the beginning of a longer one (hours, minutes).
_LOOSE_UNITS = ("nano", "micro", "milli", "sec", "min", "hour", "day", "week")
_LOOSE_EXACT = frozenset({"ns", "us", "µs", "ms", "s", "m", "h", "hr", "d", "w", "wk"})
_go_duration = re.compile(r"[-+]?(?:0|(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+)").fullmatch
_loose_parts = re.compile(r"(\d+)\s*([A-Za-zµ]+)").findall

_card = re.compile(
    r"(?:4\d{12}(?:\d{3})?|5[1-5]\d{14}|6(?:011|5\d\d)\d{12}|3[47]\d{13}|3(?:0[0-5]|[68]\d)\d{11}"
    r"|(?:2131|1800|35\d{3})\d{11})"
).fullmatch
_channel = r"\s*(?:0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*"
_SHORT_NAME = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_short_name = re.compile(_SHORT_NAME, re.ASCII).fullmatch
_long_name = re.compile(rf"{_SHORT_NAME}(?:\.{_SHORT_NAME})*", re.ASCII).fullmatch
_time = re.compile(r"(\d{2}):(\d{2}):(\d{2})(?:.\d+)?(?:z|[+-]\d{2}:\d{2})", re.ASCII).fullmatch
_atom = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\U0010ffff-]+"
_local = rf'(?:{_atom}(?:\.{_atom})*|"(?:[^"\\\r\n]|\\.)*")'
_address = re.compile(rf"{_local}@(?:{_atom}(?:\.{_atom})*|\[[^\]\[\\]*\])").fullmatch
_named_address = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^<>@,;:"]*)\s*<([^<>]+)>').fullmatch


def _matching(pattern: str, flags: int = re.ASCII) -> Callable[[str], bool]:
    matches = re.compile(pattern, flags).fullmatch
    return lambda text: matches(text) is not None


def is_date(text: str) -> bool:
    """``2006-01-02``. Go knows the year 0, Python does not."""
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
        return False
    try:
        datetime.date.fromisoformat("2000" + text[4:] if text.startswith("0000") else text)
    except ValueError:
        return False
    return True


def is_date_time(text: str) -> bool:
    date, separator, time = text.lower().partition("t")
    if not separator or not is_date(date):
        return False
    match = _time(time.partition("t")[0])
    return match is not None and match[1] <= "23" and match[2] <= "59" and match[3] <= "59"


def is_duration(text: str) -> bool:
    """What Go reads as a duration (``1h30m``), or numbers with longer words (``3 days``)."""
    if _go_duration(text):
        return True
    return any(unit.lower() in _LOOSE_EXACT or unit.lower().startswith(_LOOSE_UNITS) for _, unit in _loose_parts(text))


def is_ipv4(text: str) -> bool:
    return ":" not in text and _sloppy_ipv4(text) is not None


def _sloppy_ipv4(text: str) -> ipaddress.IPv4Address | None:
    """Leading zeros are decimal, as in the Go of old."""
    parts = text.split(".")
    if len(parts) != 4 or not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        return None
    numbers = [int(part) for part in parts]
    return ipaddress.IPv4Address(bytes(numbers)) if all(number < 256 for number in numbers) else None


def is_ipv6(text: str) -> bool:
    if ":" not in text or "%" in text:
        return False
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def is_cidr(text: str) -> bool:
    address, separator, length = text.rpartition("/")
    if not separator or not (length.isascii() and length.isdigit() and len(length) < 4):
        return False
    if ":" in address:
        return is_ipv6(address) and int(length) <= 128
    return _sloppy_ipv4(address) is not None and int(length) <= 32


def is_mac(text: str) -> bool:
    """As net.ParseMAC: 6, 8 or 20 bytes, with colons, hyphens, or dots between pairs of bytes."""
    for separator, width in ((":", 2), ("-", 2), (".", 4)):
        parts = text.split(separator)
        if len(parts) > 1:
            sizes = (6, 8, 20) if width == 2 else (3, 4, 10)
            return len(parts) in sizes and all(re.fullmatch(f"[0-9a-fA-F]{{{width}}}", part) for part in parts)
    return False


def is_uri(text: str) -> bool:
    """As url.ParseRequestURI: an absolute URI or an absolute path."""
    if not text or any(character < " " or character == "\x7f" for character in text):
        return False
    if re.search(r"%(?![0-9A-Fa-f]{2})", text.partition("?")[0]):
        return False
    if text == "*" or text.startswith("/"):
        return True
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):", text)
    if match is None:
        return False
    rest = text[match.end() :]
    if rest.startswith("//"):
        try:
            parsed = urllib.parse.urlsplit(text)
            _ = parsed.port
        except ValueError:
            return False
        return " " not in parsed.netloc
    return bool(rest)


def is_email(text: str) -> bool:
    named = _named_address(text)
    return _address((named[1] if named else text).strip()) is not None


def is_hostname(text: str) -> bool:
    """RFC 1123, with letters and symbols of any script, as upstream's pattern has it."""
    if not text or len(text.encode()) > 255:
        return False
    parts = text.split(".")
    if any(len(part.encode()) > 63 for part in parts):
        return False
    if len(parts) == 1:
        return _is_label(parts[0]) and "--" not in text
    last = parts[-1]
    return all(_is_label(part) for part in parts[:-1]) and len(last) >= 2 and last.isalpha()


def _is_label(part: str) -> bool:
    """Letters, digits and symbols, with hyphens inside."""
    return (
        bool(part) and part[0] != "-" and part[-1] != "-" and all(_is_host_character(character) for character in part)
    )


def _is_host_character(character: str) -> bool:
    import unicodedata

    if character.isascii():
        return character.isalnum() or character in "-$+<=>^`|~"
    return unicodedata.category(character)[0] in "LS"


def is_isbn10(text: str) -> bool:
    digits = re.sub(r"[\s-]+", "", text)
    if not re.fullmatch(r"\d{9}[\dX]", digits, re.ASCII):
        return False
    total = sum((index + 1) * int(digit) for index, digit in enumerate(digits[:9]))
    return (total + 10 * (10 if digits[9] == "X" else int(digits[9]))) % 11 == 0


def is_isbn13(text: str) -> bool:
    digits = re.sub(r"[\s-]+", "", text)
    if not re.fullmatch(r"\d{13}", digits, re.ASCII):
        return False
    total = sum((1, 3)[index % 2] * int(digit) for index, digit in enumerate(digits[:12]))
    return int(digits[12]) == (10 - total % 10) % 10


def is_credit_card(text: str) -> bool:
    digits = re.sub(r"[^0-9]+", "", text)
    if not _card(digits):
        return False
    total = 0
    for index, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if index % 2 else 1)
        total += value % 10 + 1 if value >= 10 else value
    return total % 10 == 0


def is_byte(text: str) -> bool:
    """Standard base64 with its padding; not empty."""
    try:
        binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        return False
    return bool(text)


def _is_short_name(text: str) -> bool:
    return len(text) <= 63 and _short_name(text) is not None


def _is_long_name(text: str) -> bool:
    return len(text) <= 253 and _long_name(text) is not None


def _is_ssn(text: str) -> bool:
    return len(text) == 11 and re.fullmatch(r"\d{3}[- ]?\d{2}[- ]?\d{4}", text, re.ASCII) is not None


def _uuid(third: str, fourth: str) -> Callable[[str], bool]:
    hex_ = "[0-9a-f]"
    return _matching(
        f"{hex_}{{8}}-?{hex_}{{4}}-?{third}{hex_}{{3}}-?{fourth}{hex_}{{3}}-?{hex_}{{12}}", re.ASCII | re.IGNORECASE
    )


#: Names without their hyphens -> what judges a string.
FORMATS: Mapping[str, Callable[[str], bool]] = {
    "bsonobjectid": _matching("[0-9a-fA-F]{24}"),
    "uri": is_uri,
    "email": is_email,
    "hostname": is_hostname,
    "ipv4": is_ipv4,
    "ipv6": is_ipv6,
    "cidr": is_cidr,
    "mac": is_mac,
    "uuid": _uuid("[0-9a-f]", "[0-9a-f]"),
    "uuid3": _uuid("3", "[0-9a-f]"),
    "uuid4": _uuid("4", "[89ab]"),
    "uuid5": _uuid("5", "[89ab]"),
    "isbn": lambda text: is_isbn10(text) or is_isbn13(text),
    "isbn10": is_isbn10,
    "isbn13": is_isbn13,
    "creditcard": is_credit_card,
    "ssn": _is_ssn,
    "hexcolor": _matching("#?(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})"),
    "rgbcolor": _matching(rf"rgb\({_channel},{_channel},{_channel}\)"),
    "byte": is_byte,
    "password": lambda text: True,
    "date": is_date,
    "duration": is_duration,
    "datetime": is_date_time,
    "k8sshortname": _is_short_name,
    "k8slongname": _is_long_name,
}
_NUMBER_FORMATS = {"integer": ("int32", "int64"), "number": ("float", "double")}


def is_known(format: str, type: str) -> bool:
    """Whether a schema of that type (of one type, or "") is held to the format."""
    if type in ("", "string"):
        return format.replace("-", "") in FORMATS
    return format in _NUMBER_FORMATS.get(type, ())


def matcher(format: str) -> Callable[[str], bool] | None:
    """What judges a string of that format; None for formats of other types."""
    return FORMATS.get(format.replace("-", ""))

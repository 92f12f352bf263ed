"""The functions that expressions may call: their overloads, as text that reads like what it declares.

    name   overload(arguments) result, .member_overload(target, arguments) result

A dot before an overload makes it a member: ``'a'.size()``. A single capital letter is any type, the same
one wherever it stands. Read once, when the first expression is compiled (5 ms).

Sources: cel-go common/stdlib, cel/library.go, ext/{strings,lists,sets,comprehensions}.go, and the libraries of
kube-apiserver 1.36.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from cybernetes.core.cel import types
from cybernetes.core.cel.types import Type

QUANTITY = types.struct("kubernetes.Quantity", {})
URL = types.struct("kubernetes.URL", {})
IP = types.opaque("net.IP")
CIDR = types.opaque("net.CIDR")
FORMAT = types.struct("kubernetes.NamedFormat", {})
SEMVER = types.struct("kubernetes.Semver", {})
AUTHORIZER = types.struct("kubernetes.authorization.Authorizer", {})
PATH_CHECK = types.struct("kubernetes.authorization.PathCheck", {})
GROUP_CHECK = types.struct("kubernetes.authorization.GroupCheck", {})
RESOURCE_CHECK = types.struct("kubernetes.authorization.ResourceCheck", {})
DECISION = types.struct("kubernetes.authorization.Decision", {})

_NAMED: Mapping[str, Type] = {
    **types.SIMPLE,
    "Quantity": QUANTITY,
    "URL": URL,
    "IP": IP,
    "CIDR": CIDR,
    "Format": FORMAT,
    "Semver": SEMVER,
    "Authorizer": AUTHORIZER,
    "PathCheck": PATH_CHECK,
    "GroupCheck": GROUP_CHECK,
    "ResourceCheck": RESOURCE_CHECK,
    "Decision": DECISION,
}

_ORDERED = ("bool", "int64", "uint64", "double", "string", "bytes", "timestamp", "duration")
_MIXED = ("int64_double", "int64_uint64", "uint64_double", "uint64_int64", "double_int64", "double_uint64")
_WORD = {"int64": "int", "uint64": "uint"}


def _relations() -> str:
    lines = []
    for sign, name in (("<", "less"), ("<=", "less_equals"), (">", "greater"), (">=", "greater_equals")):
        overloads = [f"{name}_{kind}({_WORD.get(kind, kind)}, {_WORD.get(kind, kind)}) bool" for kind in _ORDERED]
        for pair in _MIXED:
            one, other = pair.split("_")
            overloads.append(f"{name}_{pair}({_WORD.get(one, one)}, {_WORD.get(other, other)}) bool")
        lines.append(f"_{sign}_ {', '.join(overloads)}")
    return "\n".join(lines)


def _times() -> str:
    parts = (
        ("getFullYear", "year"), ("getMonth", "month"), ("getDayOfYear", "day_of_year"),
        ("getDayOfMonth", "day_of_month"), ("getDate", "day_of_month_1_based"), ("getDayOfWeek", "day_of_week"),
    )  # fmt: skip
    lines = []
    for function, name in parts:
        one = f".timestamp_to_{name}(timestamp) int"
        lines.append(f"{function} {one}, .timestamp_to_{name}_with_tz(timestamp, string) int")
    for function, name in (
        ("getHours", "hours"),
        ("getMinutes", "minutes"),
        ("getSeconds", "seconds"),
        ("getMilliseconds", "milliseconds"),
    ):
        plain = f".timestamp_to_{name}(timestamp) int, .timestamp_to_{name}_with_tz(timestamp, string) int"
        lines.append(f"{function} {plain}, .duration_to_{name}(duration) int")
    return "\n".join(lines)


def _list_functions() -> str:
    """Kubernetes' functions of lists, whose elements have an order or a sum."""
    ordered = ("int", "uint", "double", "bool", "string", "timestamp", "duration", "bytes")
    lines = [
        "isSorted " + ", ".join(f".list_{each}_is_sorted_bool(list({each})) bool" for each in ordered),
        "sum "
        + ", ".join(f".list_{each}_sum_{each}(list({each})) {each}" for each in ("int", "uint", "double"))
        + ", .list_duration_sum_duration(list(duration)) duration",
        "max " + ", ".join(f".list_{each}_max_{each}(list({each})) {each}" for each in ordered),
        "min " + ", ".join(f".list_{each}_min_{each}(list({each})) {each}" for each in ordered),
        "sort " + ", ".join(f".list_{each}_sort(list({each})) list({each})" for each in ordered),
        "@sortByAssociatedKeys "
        + ", ".join(f".list_{each}_sortByAssociatedKeys(list(T), list({each})) list(T)" for each in ordered),
    ]
    return "\n".join(lines)


_STANDARD = """
_?_:_ conditional(bool, A, A) A
_&&_ logical_and(bool, bool) bool
_||_ logical_or(bool, bool) bool
!_ logical_not(bool) bool
@not_strictly_false not_strictly_false(bool) bool
_==_ equals(A, A) bool
_!=_ not_equals(A, A) bool
_+_ add_bytes(bytes, bytes) bytes, add_double(double, double) double,
  add_duration_duration(duration, duration) duration,
  add_duration_timestamp(duration, timestamp) timestamp, add_timestamp_duration(timestamp, duration) timestamp,
  add_int64(int, int) int, add_list(list(A), list(A)) list(A), add_string(string, string) string,
  add_uint64(uint, uint) uint
_/_ divide_double(double, double) double, divide_int64(int, int) int, divide_uint64(uint, uint) uint
_%_ modulo_int64(int, int) int, modulo_uint64(uint, uint) uint
_*_ multiply_double(double, double) double, multiply_int64(int, int) int, multiply_uint64(uint, uint) uint
-_ negate_double(double) double, negate_int64(int) int
_-_ subtract_double(double, double) double, subtract_duration_duration(duration, duration) duration,
  subtract_int64(int, int) int, subtract_timestamp_duration(timestamp, duration) timestamp,
  subtract_timestamp_timestamp(timestamp, timestamp) duration, subtract_uint64(uint, uint) uint
_[_] index_list(list(A), int) A, index_map(map(A, B), A) B,
  optional_list_index_int(optional_type(list(V)), int) optional_type(V),
  optional_map_index_value(optional_type(map(K, V)), K) optional_type(V)
@in in_list(A, list(A)) bool, in_map(A, map(A, B)) bool
size size_bytes(bytes) int, .bytes_size(bytes) int, size_list(list(A)) int, .list_size(list(A)) int,
  size_map(map(A, B)) int, .map_size(map(A, B)) int, size_string(string) int, .string_size(string) int
type type(A) type(A)
bool bool_to_bool(bool) bool, string_to_bool(string) bool
bytes bytes_to_bytes(bytes) bytes, string_to_bytes(string) bytes
double double_to_double(double) double, int64_to_double(int) double, string_to_double(string) double,
  uint64_to_double(uint) double
duration duration_to_duration(duration) duration, int64_to_duration(int) duration, string_to_duration(string) duration
dyn to_dyn(A) dyn
int int64_to_int64(int) int, double_to_int64(double) int, duration_to_int64(duration) int, string_to_int64(string) int,
  timestamp_to_int64(timestamp) int, uint64_to_int64(uint) int
string string_to_string(string) string, bool_to_string(bool) string, bytes_to_string(bytes) string,
  double_to_string(double) string, duration_to_string(duration) string, int64_to_string(int) string,
  timestamp_to_string(timestamp) string, uint64_to_string(uint) string, ip_to_string(IP) string,
  cidr_to_string(CIDR) string
timestamp timestamp_to_timestamp(timestamp) timestamp, int64_to_timestamp(int) timestamp,
  string_to_timestamp(string) timestamp
uint uint64_to_uint64(uint) uint, double_to_uint64(double) uint, int64_to_uint64(int) uint,
  string_to_uint64(string) uint
contains .contains_string(string, string) bool
endsWith .ends_with_string(string, string) bool
startsWith .starts_with_string(string, string) bool
matches matches(string, string) bool, .matches_string(string, string) bool
"""
_OPTIONAL = """
optional.of optional_of(V) optional_type(V)
optional.ofNonZeroValue optional_ofNonZeroValue(V) optional_type(V)
optional.none optional_none() optional_type(V)
value .optional_value(optional_type(V)) V
hasValue .optional_hasValue(optional_type(V)) bool
or .optional_or_optional(optional_type(V), optional_type(V)) optional_type(V)
orValue .optional_orValue_value(optional_type(V), V) V
_?._ select_optional_field(dyn, string) optional_type(V)
_[?_] list_optindex_optional_int(list(V), int) optional_type(V),
  optional_list_optindex_optional_int(optional_type(list(V)), int) optional_type(V),
  map_optindex_optional_value(map(K, V), K) optional_type(V),
  optional_map_optindex_optional_value(optional_type(map(K, V)), K) optional_type(V)
cel.@mapInsert @mapInsert_map_key_value(map(K, V), K, V) map(K, V), @mapInsert_map_map(map(K, V), map(K, V)) map(K, V)
"""
_STRINGS = """
charAt .string_char_at_int(string, int) string
format .string_format(string, list(dyn)) string
indexOf .string_index_of_string(string, string) int, .string_index_of_string_int(string, string, int) int,
  .list_a_index_of_int(list(A), A) int
lastIndexOf .string_last_index_of_string(string, string) int, .string_last_index_of_string_int(string, string, int) int,
  .list_a_last_index_of_int(list(A), A) int
join .list_join(list(string)) string, .list_join_string(list(string), string) string
lowerAscii .string_lower_ascii(string) string
upperAscii .string_upper_ascii(string) string
replace .string_replace_string_string(string, string, string) string,
  .string_replace_string_string_int(string, string, string, int) string
split .string_split_string(string, string) list(string), .string_split_string_int(string, string, int) list(string)
substring .string_substring_int(string, int) string, .string_substring_int_int(string, int, int) string
trim .string_trim(string) string
strings.quote strings_quote(string) string
"""
_COLLECTIONS = """
sets.contains list_sets_contains_list(list(T), list(T)) bool
sets.equivalent list_sets_equivalent_list(list(T), list(T)) bool
sets.intersects list_sets_intersects_list(list(T), list(T)) bool
slice .list_slice(list(T), int, int) list(T)
flatten .list_flatten(list(list(T))) list(T), .list_flatten_int(list(dyn), int) list(dyn)
lists.range lists_range(int) list(int)
reverse .list_reverse(list(T)) list(T)
distinct .list_distinct(list(T)) list(T)
"""
_KUBERNETES = """
find .string_find_string(string, string) string
findAll .string_find_all_string(string, string) list(string),
  .string_find_all_string_int(string, string, int) list(string)
url string_to_url(string) URL
isURL is_url_string(string) bool
getScheme .url_get_scheme(URL) string
getHost .url_get_host(URL) string
getHostname .url_get_hostname(URL) string
getPort .url_get_port(URL) string
getEscapedPath .url_get_escaped_path(URL) string
getQuery .url_get_query(URL) map(string, list(string))
quantity string_to_quantity(string) Quantity
isQuantity is_quantity_string(string) bool
sign quantity_sign(Quantity) int
isGreaterThan .quantity_is_greater_than(Quantity, Quantity) bool, .semver_is_greater_than(Semver, Semver) bool
isLessThan .quantity_is_less_than(Quantity, Quantity) bool, .semver_is_less_than(Semver, Semver) bool
compareTo .quantity_compare_to(Quantity, Quantity) int, .semver_compare_to(Semver, Semver) int
asApproximateFloat .quantity_get_float(Quantity) double
asInteger .quantity_get_int(Quantity) int
isInteger .quantity_is_integer(Quantity) bool
add .quantity_add(Quantity, Quantity) Quantity, .quantity_add_int(Quantity, int) Quantity
sub .quantity_sub(Quantity, Quantity) Quantity, .quantity_sub_int(Quantity, int) Quantity
ip string_to_ip(string) IP, .cidr_ip(CIDR) IP
isIP is_ip(string) bool
ip.isCanonical ip_is_canonical(string) bool
family .ip_family(IP) int
isUnspecified .ip_is_unspecified(IP) bool
isLoopback .ip_is_loopback(IP) bool
isLinkLocalMulticast .ip_is_link_local_multicast(IP) bool
isLinkLocalUnicast .ip_is_link_local_unicast(IP) bool
isGlobalUnicast .ip_is_global_unicast(IP) bool
cidr string_to_cidr(string) CIDR
isCIDR is_cidr(string) bool
containsIP .cidr_contains_ip_string(CIDR, string) bool, .cidr_contains_ip_ip(CIDR, IP) bool
containsCIDR .cidr_contains_cidr_string(CIDR, string) bool, .cidr_contains_cidr(CIDR, CIDR) bool
prefixLength .cidr_prefix_length(CIDR) int
masked .cidr_masked(CIDR) CIDR
semver string_to_semver(string) Semver, string_bool_to_semver(string, bool) Semver
isSemver is_semver_string(string) bool, is_semver_string_bool(string, bool) bool
major .semver_major(Semver) int
minor .semver_minor(Semver) int
patch .semver_patch(Semver) int
validate .format-validate(Format, string) optional_type(list(string))
format.named format-named(string) optional_type(Format)
path .authorizer_path(Authorizer, string) PathCheck
group .authorizer_group(Authorizer, string) GroupCheck
serviceAccount .authorizer_serviceaccount(Authorizer, string, string) Authorizer
resource .groupcheck_resource(GroupCheck, string) ResourceCheck
subresource .resourcecheck_subresource(ResourceCheck, string) ResourceCheck
namespace .resourcecheck_namespace(ResourceCheck, string) ResourceCheck
name .resourcecheck_name(ResourceCheck, string) ResourceCheck
fieldSelector .authorizer_fieldselector(ResourceCheck, string) ResourceCheck
labelSelector .authorizer_labelselector(ResourceCheck, string) ResourceCheck
check .pathcheck_check(PathCheck, string) Decision, .resourcecheck_check(ResourceCheck, string) Decision
errored .decision_errored(Decision) bool
error .decision_error(Decision) string
allowed .decision_allowed(Decision) bool
reason .decision_reason(Decision) string
"""

#: The named formats: ``format.dns1123Label()``.
FORMAT_NAMES = (
    "dns1123Label", "dns1123Subdomain", "dns1035Label", "qualifiedName", "dns1123LabelPrefix",
    "dns1123SubdomainPrefix", "dns1035LabelPrefix", "labelValue", "uri", "uuid", "byte", "date", "datetime",
)  # fmt: skip


class Overload(NamedTuple):
    """``params`` are the letters that stand for any type."""

    id: str
    is_member: bool
    arguments: tuple[Type, ...]
    result: Type
    params: tuple[Type, ...]


Functions = Mapping[str, tuple[Overload, ...]]

_WORDS = re.compile(r"[\w.@-]+|[(),]")
_OVERLOAD_LINES = re.compile(r"\n(?=\S)")


@lru_cache(maxsize=1)
def standard() -> Functions:
    """Every function of the environment that Kubernetes gives to all expressions."""
    formats = "\n".join(f"format.{name} format-{name}() Format" for name in FORMAT_NAMES)
    return read("\n".join((_STANDARD, _relations(), _times(), _OPTIONAL, _STRINGS, _list_functions(), _COLLECTIONS,
                           _KUBERNETES, formats)))  # fmt: skip


def read(text: str) -> dict[str, tuple[Overload, ...]]:
    """Declarations in the form above."""
    found: dict[str, tuple[Overload, ...]] = {}
    for line in _OVERLOAD_LINES.split(text.strip()):
        name, _, rest = line.strip().partition(" ")
        if name:
            found[name] = found.get(name, ()) + tuple(_Reader(rest).overloads())
    return found


class _Reader:
    def __init__(self, text: str) -> None:
        self._words = _WORDS.findall(text)
        self._at = 0

    def overloads(self) -> list[Overload]:
        found = []
        while self._at < len(self._words):
            name = self._next()
            self._next()  # (
            arguments = []
            while self._words[self._at] != ")":
                arguments.append(self._type())
                if self._words[self._at] == ",":
                    self._at += 1
            self._at += 1
            result = self._type()
            if self._at < len(self._words):
                self._at += 1  # ,
            params = dict.fromkeys(each for part in (*arguments, result) for each in _params(part))
            is_member = name.startswith(".")
            found.append(Overload(name.removeprefix("."), is_member, tuple(arguments), result, tuple(params)))
        return found

    def _next(self) -> str:
        word = self._words[self._at]
        self._at += 1
        return str(word)

    def _type(self) -> Type:
        name = self._next()
        inner: list[Type] = []
        if self._at < len(self._words) and self._words[self._at] == "(":
            self._at += 1
            while self._words[self._at] != ")":
                inner.append(self._type())
                if self._words[self._at] == ",":
                    self._at += 1
            self._at += 1
        if len(name) == 1 and name.isupper():
            return types.param(name)
        if name == "list":
            return types.list_of(*inner)
        if name == "map":
            return types.map_of(*inner)
        if name == "optional_type":
            return types.optional_of(*inner)
        if name == "type" and inner:
            return types.type_of(*inner)
        return _NAMED[name]


def _params(type_: Type) -> list[Type]:
    if type_.kind == "param":
        return [type_]
    return [each for inner in type_.params for each in _params(inner)]

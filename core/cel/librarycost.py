"""What Kubernetes' own functions cost: estimated from sizes, and counted after (apiserver/pkg/cel/library).

``estimate`` and ``actual`` say the same in two ways; None leaves a function to the standard rules. Whoever changes a
number changes which definitions are accepted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cybernetes.core.cel.ranges import MAX, ONE, UNKNOWN, Estimate, Range, fixed
from cybernetes.core.cel.values import Duration as _Duration
from cybernetes.core.cel.values import Opaque, Timestamp, size_of

if TYPE_CHECKING:
    from cybernetes.core.cel.cost import Sized

_TRAVERSAL = 0.1
_REGEX = 0.25
#: Allows for two authorization checks in an expression.
_CHECK = 350_000
_SELECTOR_BASE = 10
_REQUIREMENT = 50
_FORMAT_REGEX_MAX = 128
_NOMINAL = frozenset(
    {
        "serviceAccount", "path", "group", "resource", "subresource", "namespace", "name", "allowed", "reason", "error",
        "errored", "masked", "prefixLength", "family", "isUnspecified", "isLoopback", "isLinkLocalMulticast",
        "isLinkLocalUnicast", "isGlobalUnicast", "format.named", "sign", "asInteger", "isInteger", "asApproximateFloat",
        "isGreaterThan", "isLessThan", "compareTo", "add", "sub", "major", "minor", "patch", "getScheme", "getHostname",
        "getHost", "getPort", "getEscapedPath", "getQuery",
    }
)  # fmt: skip
_ONE_PASS = frozenset({"isSorted", "sum", "max", "min", "indexOf", "lastIndexOf"})
_PARSED = frozenset({"cidr", "isIP", "isCIDR", "quantity", "isQuantity", "semver", "isSemver"})
_CONSTANT_EQUALITY = frozenset(
    {"net.IP", "net.CIDR", "kubernetes.Quantity", "kubernetes.Semver"}
    | {
        f"kubernetes.authorization.{each}"
        for each in ("Authorizer", "PathCheck", "GroupCheck", "ResourceCheck", "Decision")
    }
)
_BYTES = Range(4, 16)

SizeAt = Callable[[tuple[str, ...]], Range | None]


def estimate(
    function: str, overload: str, target: Sized | None, arguments: Sequence[Sized], size_at: SizeAt
) -> Estimate | None:
    """What a call may cost, without its arguments."""
    if function == "check":
        return Estimate(fixed(_CHECK))
    if function in _NOMINAL or overload == "cidr_ip":
        return Estimate(ONE)
    sizes = [_size(each, size_at) for each in arguments]
    own = _size(target, size_at) if target is not None else UNKNOWN
    if function.startswith("sets."):
        return Estimate(ONE + sizes[0].times(sizes[1]).scaled(2 if function == "sets.equivalent" else 1))
    if function in ("fieldSelector", "labelSelector"):
        return Estimate(_selector(sizes[0]))
    if function in _ONE_PASS and target is not None:
        if target.type.kind != "list":
            return Estimate(own.scaled(_TRAVERSAL))
        element = ONE
        inner = target.type.params[0]
        if inner.kind in ("string", "bytes"):
            found = size_at((*target.path, "@items")) if target.path else None
            element += (found or UNKNOWN).scaled(_TRAVERSAL)
        return Estimate(own.times(element))
    if function in ("url", "jsonpatch.escapeKey") and len(sizes) == 1:
        return Estimate(sizes[0].scaled(_TRAVERSAL), sizes[0])
    if function in ("lowerAscii", "upperAscii", "substring", "trim") and target is not None:
        return Estimate(own.scaled(_TRAVERSAL), own)
    if function == "replace" and target is not None:
        return Estimate(own.scaled(2 * _TRAVERSAL), _replaced(own, sizes[0], sizes[1]))
    if function == "split" and target is not None:
        most = own.high
        if len(arguments) > 1:
            limit = getattr(arguments[1].node, "value", None)
            if isinstance(limit, int):
                most = limit if limit >= 0 else MAX
        return Estimate(own.scaled(2 * _TRAVERSAL), Range(0, most))
    if function == "join" and target is not None:
        return _joined(own, target, sizes, size_at)
    if function in ("find", "findAll") and target is not None:
        cost = (own + ONE).scaled(_TRAVERSAL).times(sizes[0].scaled(_REGEX))
        return Estimate(cost, Range(0, own.high))
    if (function in _PARSED or function == "ip") and sizes:
        return Estimate(sizes[0].scaled(_TRAVERSAL))
    if function == "ip.isCanonical":
        return Estimate(sizes[0].scaled(2 * _TRAVERSAL))
    if function in ("containsIP", "containsCIDR"):
        cost = (_BYTES + _BYTES).scaled(_TRAVERSAL)
        if function == "containsCIDR":
            cost = cost + _BYTES.scaled(_TRAVERSAL) + ONE
        if overload.endswith("_string"):
            cost += sizes[0].scaled(_TRAVERSAL)
        return Estimate(cost)
    if function == "validate":
        return Estimate(sizes[0].scaled(_TRAVERSAL).scaled(_FORMAT_REGEX_MAX * _REGEX))
    if function == "_==_" and arguments[0].type == arguments[1].type:
        return _equality(arguments)
    return None


def actual(function: str, overload: str, values: Sequence[Any], result: Any) -> int | None:
    """What a call has cost. ``values`` begin with the target of a member."""
    if function in _NOMINAL or overload == "cidr_ip":
        return 1
    if function in _ONE_PASS:
        return _traversed(values[0])
    if function in ("url", "lowerAscii", "upperAscii", "substring", "trim", "jsonpatch.escapeKey", "ip") or (
        function in _PARSED
    ):
        return math.ceil(size_of(values[0]) * _TRAVERSAL)
    if function in ("replace", "split", "ip.isCanonical"):
        return math.ceil(size_of(values[0]) * 2 * _TRAVERSAL)
    if function == "join":
        return math.ceil(size_of(result) * 2 * _TRAVERSAL)
    if function in ("find", "findAll"):
        return math.ceil((1 + size_of(values[0])) * _TRAVERSAL) * math.ceil(size_of(values[1]) * _REGEX)
    if function == "check":
        return _CHECK
    if function in ("fieldSelector", "labelSelector"):
        return _selector(fixed(size_of(values[1]))).high
    if function in ("containsIP", "containsCIDR"):
        own, other = getattr(values[0], "size", 1), getattr(values[1], "size", size_of(values[1]))
        cost = math.ceil(2 * own * _TRAVERSAL)
        if function == "containsCIDR":
            cost += math.ceil(own * _TRAVERSAL) + 1
        return cost + (math.ceil(other * _TRAVERSAL) if overload.endswith("_string") else 0)
    if function == "validate":
        size = getattr(values[0], "regex_size", _FORMAT_REGEX_MAX)
        return math.ceil((1 + size_of(values[1])) * _TRAVERSAL) * math.ceil(size * _REGEX)
    if function == "_==_" and isinstance(values[0], Opaque) and not isinstance(values[0], _Duration | Timestamp):
        return 1 if values[0].cel_type.name != "optional_type" else None
    return None


def _size(sized: Sized, size_at: SizeAt) -> Range:
    if sized.size is not None:
        return sized.size
    return size_at(sized.path) or UNKNOWN


def _selector(size: Range) -> Range:
    return fixed(_SELECTOR_BASE) + size.scaled(_TRAVERSAL) + size.scaled(0.5).scaled(_REQUIREMENT)


def _replaced(own: Range, old: Range, new: Range) -> Range:
    """The size after replacing: as often as it can happen, by the longest and by the shortest."""
    most_kept = least_kept = 0
    if old.low == 0:
        most, most_kept = min(own.high + 1, MAX), own.high
    elif new.high <= old.low:
        most, most_kept = 0, own.high
    else:
        most = math.ceil(own.high / old.low)
    if old.high == 0:
        least, least_kept = min(own.low + 1, MAX), own.low
    elif old.high <= new.low:
        least, least_kept = 0, own.low
    else:
        least = math.ceil(own.low / old.high)
    return Range(least, most).times(new) + Range(least_kept, most_kept)


def _joined(own: Range, target: Sized, sizes: Sequence[Range], size_at: SizeAt) -> Estimate:
    element = (size_at((*target.path, "@items")) if target.path else None) or UNKNOWN
    size = own.times(element)
    if sizes:
        size += sizes[0].times(Range(max(own.low - 1, 0), max(own.high - 1, 0)))
    return Estimate(size.scaled(_TRAVERSAL), size)


def _equality(arguments: Sequence[Sized]) -> Estimate | None:
    name = arguments[0].type.name
    if name in _CONSTANT_EQUALITY:
        return Estimate(ONE)
    if name == "kubernetes.NamedFormat":
        return Estimate(Range(1, 64).scaled(_TRAVERSAL))
    if name == "kubernetes.URL":
        size = arguments[1].size
        return Estimate(Range(1, size.high if size is not None else 1).scaled(_TRAVERSAL))
    return None


def _traversed(value: Any) -> int:
    if isinstance(value, str | bytes):
        return int(len(value) * _TRAVERSAL)
    if isinstance(value, list | tuple):
        return sum(_traversed(each) for each in value)
    if isinstance(value, Mapping):
        return sum(_traversed(key) + _traversed(each) for key, each in value.items())
    return 1

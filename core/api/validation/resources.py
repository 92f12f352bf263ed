"""What containers and pods ask for and are limited to, and the names of resources."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from cybernetes.core import quantity
from cybernetes.core.api.defaulting.pods import HUGE_PAGES_PREFIX, is_pod_level
from cybernetes.core.api.defaulting.values import items
from cybernetes.core.api.fielderror import (
    FieldError,
    duplicate,
    forbidden,
    invalid_value,
    not_found,
    not_supported,
    required,
)
from cybernetes.core.api.validation import names
from cybernetes.core.api.validation.metadata import NOT_NEGATIVE, invalid_each
from cybernetes.core.labels.syntax import key_errors
from cybernetes.core.objects import Object
from cybernetes.core.quantity import Quantity, QuantityError

NOT_POSITIVE = "must be greater than zero"
_NOT_INTEGER = "must be an integer"
_NATIVE_DOMAIN = "kubernetes.io/"
_CONTAINER = frozenset({"cpu", "memory", "ephemeral-storage"})
_COMPUTE = frozenset({"cpu", "memory"})
_OBJECTS = frozenset(
    {
        "pods", "services", "replicationcontrollers", "resourcequotas", "secrets", "configmaps",
        "persistentvolumeclaims", "services.nodeports", "services.loadbalancers",
    }
)  # fmt: skip
_QUOTA = _CONTAINER | {
    *(f"requests.{name}" for name in ("cpu", "memory", "storage", "ephemeral-storage")),
    *(f"limits.{name}" for name in ("cpu", "memory", "ephemeral-storage")),
    *_OBJECTS,
}
_STANDARD = _QUOTA | {"storage"}


def is_huge_page(name: str) -> bool:
    return name.startswith(HUGE_PAGES_PREFIX)


def is_native(name: str) -> bool:
    """Kubernetes' own: unqualified, or in its domain."""
    return "/" not in name or _NATIVE_DOMAIN in name


def is_extended(name: str) -> bool:
    """Another's, such as ``example.com/gpu``: whole numbers, never overcommitted."""
    return not is_native(name) and not name.startswith("requests.") and not key_errors(f"requests.{name}")


def may_overcommit(name: str) -> bool:
    return is_native(name) and not is_huge_page(name)


def is_standard(name: str) -> bool:
    return name in _STANDARD or name.startswith((HUGE_PAGES_PREFIX, f"requests.{HUGE_PAGES_PREFIX}"))


def is_standard_for_quota(name: str) -> bool:
    return name in _QUOTA or name.startswith((HUGE_PAGES_PREFIX, f"requests.{HUGE_PAGES_PREFIX}"))


def counts_whole(name: str) -> bool:
    """Whether amounts of the resource are whole numbers."""
    return name in _OBJECTS or is_extended(name)


def check_name(name: str, path: str) -> list[FieldError]:
    errors = invalid_each(path, name, key_errors(name))
    if not errors and "/" not in name and not is_standard(name):
        errors.append(invalid_value(path, name, "must be a standard resource type or fully qualified"))
    return errors


def check_container_name(name: str, path: str) -> list[FieldError]:
    """The name of a resource that a container may ask for."""
    if name in _CONTAINER:
        return []
    errors = check_name(name, path)
    if "/" not in name:
        if not is_huge_page(name):
            errors.append(invalid_value(path, name, "must be a standard resource for containers"))
    elif not is_native(name) and not is_extended(name):
        errors.append(invalid_value(path, name, "doesn't follow extended resource name standard"))
    return errors


def check_pod_name(name: str, path: str) -> list[FieldError]:
    """The name of a resource that a pod as a whole may ask for."""
    errors = check_name(name, path)
    if not errors and not is_pod_level(name):
        errors.append(not_supported(path, name, ("cpu", HUGE_PAGES_PREFIX, "memory")))
    return errors


def check_quota_name(name: str, path: str) -> list[FieldError]:
    errors = check_name(name, path)
    if "/" not in name and not is_standard_for_quota(name):
        errors.append(invalid_value(path, name, "must be a standard resource for quota"))
    return errors


def check_not_negative(amount: Quantity, path: str) -> list[FieldError]:
    return [invalid_value(path, str(amount), NOT_NEGATIVE)] if amount.nanos < 0 else []


def check_positive(amount: Quantity, path: str) -> list[FieldError]:
    return [invalid_value(path, str(amount), NOT_POSITIVE)] if amount.nanos <= 0 else []


def check_basic(amount: Quantity, path: str) -> list[FieldError]:
    return [invalid_value(path, amount.value, "must be a valid resource quantity")] if amount.value < 0 else []


def check_amount(name: str, amount: Quantity, path: str) -> list[FieldError]:
    """An amount of a resource: not negative, and whole where the resource is counted."""
    if amount.nanos >= 0 and name in _CONTAINER:
        return []
    errors = check_not_negative(amount, path)
    if counts_whole(name) and amount.milli_value % 1000:
        errors.append(invalid_value(path, str(amount), _NOT_INTEGER))
    return errors


def check_requirements(
    requirements: Object | None,
    path: str,
    claim_names: Collection[str] = (),
    name_check: Callable[[str, str], list[FieldError]] = check_container_name,
) -> list[FieldError]:
    """The ``resources`` of a container or pod."""
    if not requirements:
        return []
    errors: list[FieldError] = []
    limits = _parsed(requirements.get("limits"))
    requests = _parsed(requirements.get("requests"))
    for name, amount in limits.items():
        errors += _check_one(name, amount, f"{path}.limits[{name}]", name_check)
    for name, amount in requests.items():
        at = f"{path}.requests"
        errors += _check_one(name, amount, f"{at}[{name}]", name_check, is_request=True)
        limit = limits.get(name)
        if limit is not None:
            if amount != limit and not may_overcommit(name):
                errors.append(invalid_value(at, str(amount), f"must be equal to {name} limit of {limit}"))
            elif amount > limit:
                errors.append(invalid_value(at, str(amount), f"must be less than or equal to {name} limit of {limit}"))
        elif not may_overcommit(name):
            errors.append(required(f"{path}.limits", "Limit must be set for non overcommitable resources"))
        errors += _check_huge_page(name, amount, f"{at}[{name}]")
    used = {*limits, *requests}
    if any(map(is_huge_page, used)) and not used & _COMPUTE:
        errors.append(forbidden(path, "HugePages require cpu or memory"))
    claims = requirements.get("claims")
    if claims:
        errors += _check_claims(claims, claim_names, f"{path}.claims")
    return errors


def _parsed(amounts: Mapping[str, str] | None) -> dict[str, Quantity]:
    return {name: quantity.parse(text) for name, text in amounts.items()} if amounts else {}


def _check_one(
    name: str,
    amount: Quantity,
    path: str,
    name_check: Callable[[str, str], list[FieldError]],
    *,
    is_request: bool = False,
) -> list[FieldError]:
    errors = name_check(name, path) + check_amount(name, amount, path)
    return errors if is_request else errors + _check_huge_page(name, amount, path)


def _check_huge_page(name: str, amount: Quantity, path: str) -> list[FieldError]:
    if not is_huge_page(name) or _divides(name, amount):
        return []
    return [invalid_value(path, str(amount), f"{amount} is not positive integer multiple of {name}")]


def _divides(name: str, amount: Quantity) -> bool:
    try:
        page = quantity.parse(name[len(HUGE_PAGES_PREFIX) :])
    except QuantityError:
        return False
    return page.nanos > 0 and page.milli_value % 1000 == 0 and amount.value % page.value == 0


def _check_claims(claims: list[Object], pod_claims: Collection[str], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, claim in enumerate(claims):
        at, name, request = f"{path}[{index}]", claim.get("name") or "", claim.get("request") or ""
        if not name:
            errors.append(required(at))
            continue
        if name in seen:
            errors.append(duplicate(at, name))
        else:
            key = name
            if request:
                errors += invalid_each(f"{at}.request", request, names.dns_label(request))
                key = f"{name}/{request}"
            if key in seen:
                errors.append(duplicate(at, key))
            elif not request:
                errors += [duplicate(at, name) for other in seen if other.partition("/")[:2] == (name, "/")]
            seen.add(key)
        if name not in pod_claims:
            detail = ": " + ", ".join(sorted(pod_claims)) if pod_claims else " which is empty"
            error = not_found(at, name)
            message = f"{error.message}: must be one of the names in pod.spec.resourceClaims{detail}"
            errors.append(error._replace(message=message))
    return errors


def check_pod_requirements(
    spec: Object, total: Callable[[Object, str], dict[str, Quantity]], path: str
) -> list[FieldError]:
    """The ``resources`` of a pod as a whole, and that its containers fit into them. ``total`` adds those up."""
    resources = spec.get("resources")
    if resources is None:
        return []
    if (spec.get("os") or {}).get("name") == "windows":
        return [forbidden(path, "may not be set for a windows pod")]
    errors: list[FieldError] = []
    if resources.get("claims") is not None:
        errors.append(forbidden(f"{path}.claims", "claims may not be set for Resources at pod-level"))
    errors += check_requirements(resources, path, (), check_pod_name)
    requests, limits = _parsed(resources.get("requests")), _parsed(resources.get("limits"))
    for name, amount in total(spec, "requests").items():
        if name in requests and amount > requests[name]:
            message = f"must be greater than or equal to aggregate container requests of {amount}"
            errors.append(invalid_value(f"{path}.requests[{name}]", str(requests[name]), message))
    for name, amount in total(spec, "limits").items():
        if is_huge_page(name) and name in limits and amount > limits[name]:
            message = f"must be greater than or equal to aggregate container limits of {amount}"
            errors.append(invalid_value(f"{path}.limits[{name}]", str(limits[name]), message))
    for index, container in enumerate(items(spec, "containers")):
        for name, amount in _parsed((container.get("resources") or {}).get("limits")).items():
            if name in limits and amount > limits[name]:
                at = f"{path}.containers[{index}][{name}].limits"
                errors.append(
                    invalid_value(at, str(amount), f"must be less than or equal to pod limits of {limits[name]}")
                )
    return errors

"""Nodes."""

from __future__ import annotations

import itertools
import re

from cybernetes.core import quantity
from cybernetes.core.api.defaulting.values import items
from cybernetes.core.api.fielderror import FieldError, duplicate, forbidden, invalid_value
from cybernetes.core.api.validation import names
from cybernetes.core.api.validation.addresses import check_network, parse_network
from cybernetes.core.api.validation.metadata import check_label_key, check_metadata, check_metadata_update
from cybernetes.core.api.validation.placement import check_taint_effect
from cybernetes.core.api.validation.resources import check_amount
from cybernetes.core.labels.syntax import value_errors
from cybernetes.core.objects import Object

_FEATURE_LENGTH_MAX = 253
_feature_matches = re.compile(r"[A-Z][a-zA-Z0-9]*(/[a-zA-Z][a-zA-Z0-9]*)*").fullmatch
_ONCE = 'node updates may not change {} except from "" to valid'


def check_node(node: Object) -> list[FieldError]:
    spec, status = node.get("spec") or {}, node.get("status") or {}
    errors = check_metadata(node, is_namespaced=False)
    errors += check_taints(items(spec, "taints"), "metadata.taints")
    errors += _check_amounts(status)
    capacity = ((status.get("nodeInfo") or {}).get("swap") or {}).get("capacity")
    if capacity is not None and capacity <= 0:
        errors.append(invalid_value("metadata.nodeSwapStatus.capacity", capacity, "must be greater than zero"))
    errors += _check_features(status)
    networks = spec.get("podCIDRs") or []
    for index, network in enumerate(networks):
        errors += check_network(f"spec.podCIDRs[{index}]", network)
    if len(networks) > 1:
        families = {parsed[0].version for network in networks if (parsed := parse_network(network)) is not None}
        if families != {4, 6} or len(networks) > 2:
            message = "may specify no more than one CIDR for each IP family"
            errors.append(invalid_value("spec.podCIDRs", networks, message))
    return errors


def check_node_update(new: Object, old: Object) -> list[FieldError]:
    return check_node(new) + check_node_status(new, old)


def check_node_status(new: Object, old: Object) -> list[FieldError]:
    """All that may change of a node, also of its status."""
    spec, stored, status = new.get("spec") or {}, old.get("spec") or {}, new.get("status") or {}
    errors = check_metadata_update(new, old)
    errors += _check_amounts(status) + _check_features(status)
    seen: set[tuple[str, str]] = set()
    for index, address in enumerate(items(status, "addresses")):
        key = (address.get("type") or "", address.get("address") or "")
        if key in seen:
            errors.append(duplicate(f"status.addresses[{index}]", {"Type": key[0], "Address": key[1]}))
        seen.add(key)
    networks, known = spec.get("podCIDRs") or [], stored.get("podCIDRs") or []
    if known and len(known) != len(networks):
        errors.append(forbidden("spec.podCIDRs", _ONCE.format("podCIDR")))
    elif known:
        changed = [index for index, network in enumerate(known) if networks[index] != network]
        errors += [forbidden("spec.podCIDRs", _ONCE.format("podCIDR")) for _ in changed]
    if stored.get("providerID") and stored["providerID"] != spec.get("providerID"):
        errors.append(forbidden("spec.providerID", _ONCE.format("providerID")))
    errors += check_taints(items(spec, "taints"), "metadata.taints")
    if (spec.get("externalID") or "") != (stored.get("externalID") or ""):
        errors.append(forbidden("spec.externalID", "may not be updated"))
    return errors


def _check_amounts(status: Object) -> list[FieldError]:
    errors: list[FieldError] = []
    for field in ("capacity", "allocatable"):
        for name, text in (status.get(field) or {}).items():
            errors += check_amount(name, quantity.parse(text), f"status.{field}.{name}")
    return errors


def _check_features(status: Object) -> list[FieldError]:
    features: list[str] = status.get("declaredFeatures") or []
    errors: list[FieldError] = []
    for index, feature in enumerate(features):
        message = _feature_error(feature)
        if message:
            errors.append(invalid_value(f"status.declaredFeatures[{index}]", feature, message))
    for index, (feature, following) in enumerate(itertools.pairwise(features), 1):
        at = f"status.declaredFeatures[{index}]"
        if feature == following:
            errors.append(duplicate(at, following))
        elif feature > following:
            errors.append(invalid_value(at, following, "list must be sorted alphabetically"))
    return errors


def _feature_error(feature: str) -> str:
    shown = f'invalid feature name "{feature}"'
    if len(feature) > _FEATURE_LENGTH_MAX:
        return f"{shown}: {names.too_long(_FEATURE_LENGTH_MAX)}"
    if _feature_matches(feature):
        return ""
    return (
        f"{shown}: must start with an UpperCamelCase segment, with subsequent segments separated by '/'"
        " (e.g., MyFeature or MyFeature/mySubFeature), and contain only alphanumeric characters and slashes"
    )


def check_taints(taints: list[Object], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(taints):
        at, key, value = f"{path}[{index}]", taint.get("key") or "", taint.get("value") or ""
        errors += check_label_key(key, f"{at}.key")
        messages = value_errors(value)
        if messages:
            errors.append(invalid_value(f"{at}.value", value, ";".join(messages)))
        effect = taint.get("effect") or ""
        errors += check_taint_effect(effect, f"{at}.effect")
        if (effect, key) in seen:
            error = duplicate(at, taint)
            errors.append(error._replace(message=f"{error.message}: taints must be unique by key and effect pair"))
        seen.add((effect, key))
    return errors

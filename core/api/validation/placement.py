"""Where a pod may run: affinity, tolerations, topology spread."""

from __future__ import annotations

from collections.abc import Sequence

from cybernetes.core.api.defaulting.values import items
from cybernetes.core.api.fielderror import FieldError, duplicate, forbidden, invalid_value, not_supported, required
from cybernetes.core.api.validation import names
from cybernetes.core.api.validation.metadata import check_label_key, check_selector, invalid_each
from cybernetes.core.api.validation.resources import NOT_POSITIVE
from cybernetes.core.labels.syntax import value_errors
from cybernetes.core.objects import Object

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_WEIGHT = "must be in the range 1-100"


def check_affinity(affinity: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    of_nodes = affinity.get("nodeAffinity")
    if of_nodes is not None:
        at = f"{path}.nodeAffinity"
        if of_nodes.get(_REQUIRED) is not None:
            errors += check_node_selector(of_nodes[_REQUIRED], f"{at}.{_REQUIRED}")
        for index, term in enumerate(items(of_nodes, _PREFERRED)):
            errors += _check_weight(term, f"{at}.{_PREFERRED}[{index}]")
            errors += _check_term(
                term.get("preference") or {}, f"{at}.{_PREFERRED}[{index}].preference", allows_bad_values=True
            )
    for kind in ("podAffinity", "podAntiAffinity"):
        of_pods = affinity.get(kind)
        if of_pods is None:
            continue
        for index, term in enumerate(items(of_pods, _REQUIRED)):
            errors += _check_pod_term(term, f"{path}.{kind}.{_REQUIRED}[{index}]")
        for index, term in enumerate(items(of_pods, _PREFERRED)):
            at = f"{path}.{kind}.{_PREFERRED}[{index}]"
            errors += _check_weight(term, at)
            errors += _check_pod_term(term.get("podAffinityTerm") or {}, f"{at}.podAffinityTerm")
    return errors


def _check_weight(term: Object, path: str) -> list[FieldError]:
    weight = term.get("weight") or 0
    return [] if 0 < weight <= 100 else [invalid_value(f"{path}.weight", weight, _WEIGHT)]


def check_node_selector(selector: Object, path: str) -> list[FieldError]:
    """A NodeSelector: terms of which one must match."""
    terms = items(selector, "nodeSelectorTerms")
    if not terms:
        return [required(f"{path}.nodeSelectorTerms", "must have at least one node selector term")]
    errors: list[FieldError] = []
    for index, term in enumerate(terms):
        errors += _check_term(term, f"{path}.nodeSelectorTerms[{index}]")
    return errors


def _check_term(term: Object, path: str, *, allows_bad_values: bool = False) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, requirement in enumerate(items(term, "matchExpressions")):
        errors += _check_requirement(requirement, f"{path}.matchExpressions[{index}]", allows_bad_values)
    for index, requirement in enumerate(items(term, "matchFields")):
        errors += _check_field_requirement(requirement, f"{path}.matchFields[{index}]")
    return errors


def _check_requirement(requirement: Object, path: str, allows_bad_values: bool) -> list[FieldError]:
    errors: list[FieldError] = []
    operator, values = requirement.get("operator") or "", requirement.get("values") or ()
    if operator in ("In", "NotIn"):
        if not values:
            message = "must be specified when `operator` is 'In' or 'NotIn'"
            errors.append(required(f"{path}.values", message))
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            message = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            errors.append(forbidden(f"{path}.values", message))
    elif operator in ("Gt", "Lt"):
        if len(values) != 1:
            message = "must be specified single value when `operator` is 'Lt' or 'Gt'"
            errors.append(required(f"{path}.values", message))
    else:
        errors.append(invalid_value(f"{path}.operator", operator, "not a valid selector operator"))
    errors += check_label_key(requirement.get("key") or "", f"{path}.key")
    if not allows_bad_values:
        for index, value in enumerate(values):
            errors += invalid_each(f"{path}.values[{index}]", value, value_errors(value))
    return errors


def _check_field_requirement(requirement: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    operator, values = requirement.get("operator") or "", requirement.get("values") or ()
    if operator in ("In", "NotIn"):
        if len(values) != 1:
            message = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
            errors.append(required(f"{path}.values", message))
    else:
        errors.append(invalid_value(f"{path}.operator", operator, "not a valid selector operator"))
    key = requirement.get("key") or ""
    if key != "metadata.name":
        errors.append(invalid_value(f"{path}.key", key, "not a valid field selector key"))
    else:
        for index, value in enumerate(values):
            errors += invalid_each(f"{path}.values[{index}]", value, names.dns_subdomain(value))
    return errors


def _check_pod_term(term: Object, path: str) -> list[FieldError]:
    errors = check_selector(term.get("labelSelector"), f"{path}.labelSelector")
    errors += check_selector(term.get("namespaceSelector"), f"{path}.namespaceSelector")
    for name in term.get("namespaces") or ():
        errors += invalid_each(f"{path}.namespace", name, names.dns_label(name))
    errors += _check_label_keys(
        term.get("matchLabelKeys") or (), term.get("mismatchLabelKeys") or (), term.get("labelSelector"), path
    )
    key = term.get("topologyKey") or ""
    if not key:
        errors.append(required(f"{path}.topologyKey", "can not be empty"))
    return errors + check_label_key(key, f"{path}.topologyKey")


def _check_label_keys(
    matching: Sequence[str], mismatching: Sequence[str], selector: Object | None, path: str
) -> list[FieldError]:
    """``matchLabelKeys`` and ``mismatchLabelKeys``, which were merged into the selector before this."""
    errors: list[FieldError] = []
    for field, keys in (("matchLabelKeys", matching), ("mismatchLabelKeys", mismatching)):
        if keys and selector is None:
            errors.append(forbidden(f"{path}.{field}", "must not be specified when labelSelector is not set"))
        else:
            for index, key in enumerate(keys):
                errors += check_label_key(key, f"{path}.{field}[{index}]")
    if selector is not None and matching:
        seen = set(selector.get("matchLabels") or ())
        for expression in items(selector, "matchExpressions"):
            key = expression.get("key") or ""
            if key in matching and key in seen:
                message = "exists in both matchLabelKeys and labelSelector"
                errors.append(invalid_value(f"{path}[{matching.index(key)}]", key, message))
            seen.add(key)
    for index, key in enumerate(matching):
        if key in mismatching:
            message = "exists in both matchLabelKeys and mismatchLabelKeys"
            errors.append(invalid_value(f"{path}.matchLabelKeys[{index}]", key, message))
    return errors


def check_taint_effect(effect: str, path: str) -> list[FieldError]:
    if not effect:
        return [required(path)]
    return [] if effect in EFFECTS else [not_supported(path, effect, EFFECTS)]


def check_tolerations(tolerations: Sequence[Object], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, toleration in enumerate(tolerations):
        at = f"{path}[{index}]"
        key, operator = toleration.get("key") or "", toleration.get("operator") or ""
        value, effect = toleration.get("value") or "", toleration.get("effect") or ""
        if key:
            errors += check_label_key(key, f"{at}.key")
        elif operator != "Exists":
            message = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            errors.append(invalid_value(f"{at}.operator", operator, message))
        if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
            message = "effect must be 'NoExecute' when `tolerationSeconds` is set"
            errors.append(invalid_value(f"{at}.effect", effect, message))
        if operator in ("Equal", ""):
            messages = value_errors(value)
            if messages:
                errors.append(invalid_value(f"{at}.operator", value, ";".join(messages)))
        elif operator == "Exists":
            if value:
                message = "value must be empty when `operator` is 'Exists'"
                errors.append(invalid_value(f"{at}.operator", value, message))
        else:
            # Lt and Gt are named and refused: comparing tolerations is a feature that is off.
            known = ("Equal", "Exists", "Lt", "Gt") if operator in ("Lt", "Gt") else ("Equal", "Exists")
            errors.append(not_supported(f"{at}.operator", operator, known))
        if effect and effect not in EFFECTS:
            errors.append(not_supported(f"{at}.effect", effect, EFFECTS))
    return errors


def check_spread(constraints: list[Object], path: str) -> list[FieldError]:
    """``topologySpreadConstraints``."""
    errors: list[FieldError] = []
    for index, constraint in enumerate(constraints):
        at = f"{path}[{index}]"
        skew, action = constraint.get("maxSkew") or 0, constraint.get("whenUnsatisfiable") or ""
        key, selector = constraint.get("topologyKey") or "", constraint.get("labelSelector")
        if skew <= 0:
            errors.append(invalid_value(f"{at}.maxSkew", skew, NOT_POSITIVE))
        if not key:
            errors.append(required(f"{at}.topologyKey", "can not be empty"))
        if action not in ("DoNotSchedule", "ScheduleAnyway"):
            errors.append(not_supported(f"{at}.whenUnsatisfiable", action, ("DoNotSchedule", "ScheduleAnyway")))
        for other in constraints[index + 1 :]:
            if (other.get("topologyKey") or "", other.get("whenUnsatisfiable") or "") == (key, action):
                errors.append(duplicate(f"{at}.{{topologyKey, whenUnsatisfiable}}", f"{{{key}, {action}}}"))
                break
        domains = constraint.get("minDomains")
        if domains is not None:
            if domains <= 0:
                errors.append(invalid_value(f"{at}.minDomains", domains, NOT_POSITIVE))
            if action != "DoNotSchedule":
                message = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}"
                errors.append(invalid_value(f"{at}.minDomains", domains, message))
        for field in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
            policy = constraint.get(field)
            if policy is not None and policy not in ("Honor", "Ignore"):
                errors.append(not_supported(f"{at}.{field}", policy, ("Honor", "Ignore")))
        errors += _check_label_keys(constraint.get("matchLabelKeys") or (), (), selector, at)
        errors += check_selector(selector, f"{at}.labelSelector")
    return errors

"""Admission policies and their bindings. Their expressions are compiled, as far as that takes no kinds."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cybernetes.core.api.defaulting.values import items
from cybernetes.core.api.fielderror import (
    FieldError,
    duplicate,
    forbidden,
    invalid_value,
    not_supported,
    required,
)
from cybernetes.core.api.validation import names
from cybernetes.core.api.validation.metadata import (
    check_conditions,
    check_label_key,
    check_metadata,
    check_metadata_update,
    check_selector,
    invalid_each,
)
from cybernetes.core.api.validation.webhooks import (
    FAILURE_POLICIES,
    MATCH_POLICIES,
    REINVOCATION_POLICIES,
    check_match_conditions,
    check_rule,
)
from cybernetes.core.objects import Object

if TYPE_CHECKING:
    from cybernetes.core.admission.policies.composition import Compiled, Composed

_ANNOTATIONS_MAX = 20
_ANNOTATION_BYTES_MAX = 5 * 1024
_REASONS = ("Forbidden", "Invalid", "RequestEntityTooLarge")
_PATCH_TYPES = {"ApplyConfiguration": "applyConfiguration", "JSONPatch": "jsonPatch"}
_ACTIONS = ("Audit", "Deny", "Warn")
_MUTATING_OPERATIONS = ("*", "CONNECT", "CREATE", "UPDATE")
_NOT_FOUND_ACTIONS = ("Deny", "Allow")
_identifier_matches = re.compile("[_a-zA-Z][_a-zA-Z0-9]*").fullmatch
#: Words of CEL that cannot name a variable.
_RESERVED = frozenset(
    {
        "true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import",
        "let", "loop", "package", "namespace", "return", "var", "void", "while",
    }
)  # fmt: skip


def check_validating_policy(policy: Object) -> list[FieldError]:
    return check_metadata(policy, is_namespaced=False) + _check_validating_spec(policy, None)


def check_validating_policy_update(new: Object, old: Object) -> list[FieldError]:
    errors = check_metadata_update(new, old) + check_metadata(new, is_namespaced=False)
    return errors + _check_validating_spec(new, old.get("spec") or {})


def check_validating_policy_status(new: Object, old: Object) -> list[FieldError]:
    status = new.get("status") or {}
    errors = check_metadata_update(new, old)
    for index, warning in enumerate(items(status.get("typeChecking"), "expressionWarnings")):
        at = f"status.typeChecking.expressionWarnings[{index}]"
        errors += [required(f"{at}.{field}") for field in ("warning", "fieldRef") if not warning.get(field)]
    return errors + check_conditions(status.get("conditions") or (), "status.conditions")


def check_mutating_policy(policy: Object) -> list[FieldError]:
    return check_metadata(policy, is_namespaced=False) + _check_mutating_spec(policy.get("spec") or {}, None)


def check_mutating_policy_update(new: Object, old: Object) -> list[FieldError]:
    errors = check_metadata_update(new, old) + check_metadata(new, is_namespaced=False)
    return errors + _check_mutating_spec(new.get("spec") or {}, old.get("spec") or {})


def _check_head(spec: Object, old: Object | None) -> list[FieldError]:
    """What both kinds of policy have: failure policy, parameters, constraints and conditions."""
    errors: list[FieldError] = []
    failure, constraints = spec.get("failurePolicy"), spec.get("matchConstraints")
    if failure is None:
        errors.append(required("spec.failurePolicy"))
    elif failure not in FAILURE_POLICIES:
        errors.append(not_supported("spec.failurePolicy", failure, FAILURE_POLICIES))
    if spec.get("paramKind") is not None:
        errors += _check_param_kind(spec["paramKind"], "spec.paramKind")
    if constraints is None:
        errors.append(required("spec.matchConstraints"))
    else:
        errors += _check_match_resources(constraints, "spec.matchConstraints")
        if not constraints.get("resourceRules"):
            errors.append(required("spec.matchConstraints.resourceRules"))
    if old is None or any(spec.get(field) != old.get(field) for field in ("paramKind", "matchConditions")):
        errors += check_match_conditions(
            items(spec, "matchConditions"), "spec.matchConditions", has_params=spec.get("paramKind") is not None
        )
    return errors


def _check_validating_spec(policy: Object, old: Object | None) -> list[FieldError]:
    spec, name = policy.get("spec") or {}, policy["metadata"].get("name") or ""
    errors = _check_head(spec, old)
    composed = _composed(spec)
    errors += _check_variables(spec, composed)
    validations, annotations = items(spec, "validations"), items(spec, "auditAnnotations")
    if not validations and not annotations:
        message = "validations or auditAnnotations must contain at least one item"
        return [*errors, required("spec.validations", message), required("spec.auditAnnotations", message)]
    for index, validation in enumerate(validations):
        errors += _check_validation(validation, f"spec.validations[{index}]", composed)
    if len(annotations) > _ANNOTATIONS_MAX:
        message = f"must not have more than {_ANNOTATIONS_MAX} auditAnnotations"
        errors.append(invalid_value("spec.auditAnnotations", annotations, message))
    seen: set[str] = set()
    for index, annotation in enumerate(annotations):
        at, key = f"spec.auditAnnotations[{index}]", annotation.get("key") or ""
        errors += _check_annotation(annotation, name, at, composed)
        if key in seen:
            errors.append(duplicate(f"{at}.key", key))
        seen.add(key)
    return errors


def _composed(spec: Object, *, is_mutating: bool = False) -> Composed:
    """What the policy's expressions are compiled with: its variables, and the objects that patches make."""
    from cybernetes.core.admission.policies import patchtypes  # late: few have policies
    from cybernetes.core.admission.policies.composition import Composed

    named = [(each.get("name") or "", each.get("expression") or "") for each in items(spec, "variables")]
    variables = [(name, source) for name, source in named if name.strip() and source.strip()]
    has_params = spec.get("paramKind") is not None
    if not is_mutating:
        return Composed(variables, has_params=has_params, is_composed=bool(named))
    return Composed(
        variables,
        has_params=has_params,
        structs=patchtypes.STRUCTS,
        build=patchtypes.build,
        functions=patchtypes.FUNCTIONS,
    )


def _check_compiled(path: str, shown: str, compiled: Compiled) -> list[FieldError]:
    return [invalid_value(path, shown, compiled.problem)] if compiled.problem else []


def _check_variables(spec: Object, composed: Composed) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, variable in enumerate(items(spec, "variables")):
        at, name = f"spec.variables[{index}]", variable.get("name") or ""
        if not name.strip():
            errors.append(required(f"{at}.name", "name is not specified"))
        elif not _identifier_matches(name) or name in _RESERVED:
            errors.append(invalid_value(f"{at}.name", name, "must be a valid CEL identifier"))
        if not (variable.get("expression") or "").strip():
            errors.append(required(f"{at}.expression", "expression is not specified"))
        elif name in composed.variables:
            errors += _check_compiled(f"{at}.expression", variable["expression"], composed.variables[name])
    return errors


def _check_validation(validation: Object, path: str, composed: Composed) -> list[FieldError]:
    from cybernetes.core.cel.types import BOOL, STRING

    errors: list[FieldError] = []
    source, message_source = validation.get("expression") or "", validation.get("messageExpression") or ""
    if not source.strip():
        errors.append(required(f"{path}.expression", "expression is not specified"))
    else:
        errors += _check_compiled(f"{path}.expression", source, composed.compile(source, (BOOL,)))
    if message_source.strip():
        compiled = composed.compile(message_source, (STRING,), has_authorizer=False)
        errors += _check_compiled(f"{path}.messageExpression", message_source, compiled)
    for field in ("messageExpression", "message"):
        text = validation.get(field) or ""
        if text and not text.strip():
            errors.append(invalid_value(f"{path}.{field}", text, "must be non-empty if specified"))
    message = validation.get("message") or ""
    if "\n" in message.strip() or "\r" in message.strip():
        errors.append(invalid_value(f"{path}.message", message, "must not contain line breaks"))
    reason = validation.get("reason")
    if reason is not None and reason not in _REASONS:
        errors.append(not_supported(f"{path}.reason", reason, _REASONS))
    return errors


def _check_annotation(annotation: Object, policy_name: str, path: str, composed: Composed) -> list[FieldError]:
    from cybernetes.core.cel.types import NULL, STRING

    key, expression, at = annotation.get("key") or "", (annotation.get("valueExpression") or "").strip(), f"{path}.key"
    if policy_name:
        errors = check_label_key(f"{policy_name}/{key}", at)
    else:
        errors = [invalid_value(at, key, "requires metadata.name be non-empty")]
    at = f"{path}.valueExpression"
    if not expression:
        errors.append(required(at, "valueExpression is not specified"))
    elif len(expression.encode("utf-8", "replace")) > _ANNOTATION_BYTES_MAX:
        errors.append(required(at, f"must not exceed {_ANNOTATION_BYTES_MAX} bytes in length"))
    else:
        errors += _check_compiled(at, annotation["valueExpression"], composed.compile(expression, (STRING, NULL)))
    return errors


def _check_param_kind(kind: Object, path: str) -> list[FieldError]:
    version, name, at = kind.get("apiVersion") or "", kind.get("kind") or "", f"{path}.apiVersion"
    errors: list[FieldError] = []
    if not version:
        errors.append(required(at))
    elif version.count("/") > 1:
        errors.append(invalid_value(at, version, f"unexpected GroupVersion string: {version}"))
    else:
        group, _, number = version.rpartition("/")
        messages = names.dns_subdomain(group) if group else []
        if messages:
            errors.append(invalid_value(at, group, ",".join(messages)))
        messages = names.dns_1035_label(number) if number else []
        if not number:
            errors.append(invalid_value(at, version, "version must be specified"))
        elif messages:
            errors.append(invalid_value(at, number, ",".join(messages)))
    messages = names.dns_1035_label(name.lower())
    if not name:
        errors.append(required(f"{path}.kind"))
    elif messages:
        text = f"may have mixed case, but should otherwise match: {','.join(messages)}"
        errors.append(invalid_value(f"{path}.kind", name, text))
    return errors


def _check_match_resources(resources: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    policy = resources.get("matchPolicy")
    if policy is None:
        errors.append(required(f"{path}.matchPolicy"))
    elif policy not in MATCH_POLICIES:
        errors.append(not_supported(f"{path}.matchPolicy", policy, MATCH_POLICIES))
    for field in ("namespaceSelector", "objectSelector"):
        if resources.get(field) is None:
            errors.append(required(f"{path}.{field}"))
        else:
            errors += check_selector(resources[field], f"{path}.{field}")
    for field in ("resourceRules", "excludeResourceRules"):
        for index, rule in enumerate(items(resources, field)):
            errors += _check_named_rule(rule, f"{path}.{field}[{index}]")
    return errors


def _check_named_rule(rule: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, name in enumerate(rule.get("resourceNames") or ()):
        at = f"{path}.resourceNames[{index}]"
        errors += invalid_each(at, name, names.path_segment(name))
        if name in seen:
            errors.append(duplicate(at, name))
        seen.add(name)
    return errors + check_rule(rule, path)


def _check_mutating_operations(resources: Object | None, path: str) -> list[FieldError]:
    return [
        not_supported(f"{path}.resourceRules.operations", operation, _MUTATING_OPERATIONS)
        for rule in items(resources, "resourceRules")
        for operation in rule.get("operations") or ()
        if operation not in _MUTATING_OPERATIONS
    ]


def _check_mutating_spec(spec: Object, old: Object | None) -> list[FieldError]:
    errors = _check_head(spec, old)
    errors += _check_mutating_operations(spec.get("matchConstraints"), "spec.matchConstraints")
    composed = _composed(spec, is_mutating=True)
    errors += _check_variables(spec, composed)
    mutations, reinvocation = items(spec, "mutations"), spec.get("reinvocationPolicy") or ""
    if not mutations:
        errors.append(required("spec.mutations", "mutations must contain at least one item"))
    for index, mutation in enumerate(mutations):
        errors += _check_mutation(mutation, f"spec.mutations[{index}]", composed)
    if not reinvocation:
        errors.append(required("spec.reinvocationPolicy"))
    elif reinvocation not in REINVOCATION_POLICIES:
        errors.append(not_supported("spec.reinvocationPolicy", reinvocation, REINVOCATION_POLICIES))
    return errors


def _check_mutation(mutation: Object, path: str, composed: Composed) -> list[FieldError]:
    from cybernetes.core.admission.policies.patchtypes import OBJECT_TYPE, PATCH_TYPE
    from cybernetes.core.cel.types import list_of

    kind = mutation.get("patchType") or ""
    if not kind:
        return [required(f"{path}.patchType")]
    if kind not in _PATCH_TYPES:
        return [not_supported(f"{path}.patchType", kind, tuple(_PATCH_TYPES))]
    errors: list[FieldError] = []
    for other_kind, field in _PATCH_TYPES.items():
        part, at = mutation.get(field), f"{path}.{field}"
        if other_kind != kind:
            if part is not None:
                message = f"must not be specified when patchType is {kind}"
                errors.append(invalid_value(at, f"{{{field}}}", message))
        elif part is None:
            errors.append(required(at, f"must be specified when patchType is {kind}"))
        elif not (source := (part.get("expression") or "").strip()):
            errors.append(required(f"{at}.expression"))
        else:
            returns = list_of(PATCH_TYPE) if kind == "JSONPatch" else OBJECT_TYPE
            compiled = composed.compile(source, (returns,), makes_objects=True)
            errors += _check_compiled(f"{at}.expression", source, compiled)
    return errors


def check_validating_binding(binding: Object) -> list[FieldError]:
    errors = _check_binding(binding)
    path, actions = "spec.validationActions", (binding.get("spec") or {}).get("validationActions") or []
    seen: set[str] = set()
    for index, action in enumerate(actions):
        if action not in _ACTIONS:
            errors.append(not_supported(f"{path}[{index}]", action, _ACTIONS))
        if action in seen:
            errors.append(duplicate(f"{path}[{index}]", action))
        seen.add(action)
    if {"Deny", "Warn"} <= seen:
        message = (
            "must not contain both Deny and Warn (repeating the same validation failure information in the API"
            " response and headers serves no purpose)"
        )
        errors.append(invalid_value(path, actions, message))
    if not actions:
        errors.append(required(path, "at least one validation action is required"))
    return errors


def check_validating_binding_update(new: Object, old: Object) -> list[FieldError]:
    return check_metadata_update(new, old) + check_validating_binding(new)


def check_mutating_binding(binding: Object) -> list[FieldError]:
    resources = (binding.get("spec") or {}).get("matchResources")
    return _check_binding(binding) + _check_mutating_operations(resources, "spec.matchResources")


def check_mutating_binding_update(new: Object, old: Object) -> list[FieldError]:
    return check_metadata_update(new, old) + check_mutating_binding(new)


def _check_binding(binding: Object) -> list[FieldError]:
    spec = binding.get("spec") or {}
    errors = check_metadata(binding, is_namespaced=False)
    policy = spec.get("policyName") or ""
    if policy:
        errors += invalid_each("spec.policyName", policy, names.dns_subdomain(policy))
    else:
        errors.append(required("spec.policyName"))
    if spec.get("paramRef") is not None:
        errors += _check_param_reference(spec["paramRef"], "spec.paramRef")
    if spec.get("matchResources") is not None:
        errors += _check_match_resources(spec["matchResources"], "spec.matchResources")
    return errors


def _check_param_reference(reference: Object, path: str) -> list[FieldError]:
    name, selector, action = reference.get("name") or "", reference.get("selector"), f"{path}.parameterNotFoundAction"
    exclusive = "name and selector are mutually exclusive"
    errors: list[FieldError] = []
    if name:
        errors += invalid_each(f"{path}.name", name, names.path_segment(name))
        if selector is not None:
            errors.append(forbidden(f"{path}.name", exclusive))
    if selector is not None:
        errors += check_selector(selector, f"{path}.selector")
        if name:
            errors.append(forbidden(f"{path}.selector", exclusive))
    if not name and selector is None:
        errors.append(required(path, "one of name or selector must be specified"))
    value = reference.get("parameterNotFoundAction") or ""
    if not value:
        errors.append(required(action))
    elif value not in _NOT_FOUND_ACTIONS:
        errors.append(not_supported(action, value, _NOT_FOUND_ACTIONS))
    return errors

"""Pods and pod templates (``ValidatePodSpec``)."""

from __future__ import annotations

from cybernetes.core.api.defaulting.pods import total
from cybernetes.core.api.defaulting.values import items
from cybernetes.core.api.fielderror import (
    FieldError,
    duplicate,
    forbidden,
    invalid_value,
    not_found,
    not_supported,
    required,
    too_long,
)
from cybernetes.core.api.validation import names
from cybernetes.core.api.validation.addresses import check_address
from cybernetes.core.api.validation.containers import (
    Surroundings,
    check_containers,
    check_ephemeral_containers,
    check_image_spacing,
    check_init_containers,
)
from cybernetes.core.api.validation.metadata import (
    check_annotations,
    check_labels,
    check_metadata,
    invalid_each,
)
from cybernetes.core.api.validation.placement import check_affinity, check_spread, check_tolerations
from cybernetes.core.api.validation.podannotations import (
    MIRROR_ANNOTATION,
    check_pod_annotations,
    check_profiles_match,
)
from cybernetes.core.api.validation.resources import check_pod_requirements, check_requirements
from cybernetes.core.api.validation.security import (
    check_host_process,
    check_os,
    check_pod_context,
    containers_with_paths,
)
from cybernetes.core.api.validation.sound import Sound, spec_key
from cybernetes.core.api.validation.volumes import check_volumes
from cybernetes.core.labels.syntax import key_errors
from cybernetes.core.objects import Object

_SOUND = Sound()
_RESTART_POLICIES = ("Always", "OnFailure", "Never")
_DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_NAMESERVERS_MAX = 3
_SEARCHES_MAX = 32
_SEARCH_LENGTH_MAX = 2048
_INT32_MAX = 2**31 - 1


def check_pod(pod: Object) -> list[FieldError]:
    """A new pod."""
    spec = pod["spec"]
    errors = check_pod_parts(pod)
    if spec.get("ephemeralContainers"):
        errors.append(forbidden("spec.ephemeralContainers", "cannot be set on create"))
    if spec.get("nodeName") and spec.get("schedulingGates"):
        message = "cannot be set until all schedulingGates have been cleared"
        errors.append(forbidden("spec.nodeName", message))
    annotations = (pod["metadata"].get("annotations")) or {}
    return errors + check_profiles_match(annotations, spec) if annotations else errors


def check_pod_parts(pod: Object) -> list[FieldError]:
    """Metadata and spec: what create and update have in common."""
    metadata, spec = pod["metadata"], pod["spec"]
    errors = check_metadata(pod, is_namespaced=True)
    annotations = metadata.get("annotations")
    if annotations:
        errors += check_pod_annotations(annotations, spec)
    key = spec_key(spec)
    if key not in _SOUND:
        own = check_pod_spec(spec, "spec", metadata=metadata, is_pod=True)
        errors += own
        if not own:
            _SOUND.add(key)
    if not spec.get("serviceAccountName"):
        for index, volume in enumerate(items(spec, "volumes")):
            for position, source in enumerate(items(volume.get("projected"), "sources")):
                if source.get("serviceAccountToken") is not None:
                    at = f"spec.volumes[{index}].projected.sources[{position}].serviceAccountToken"
                    errors.append(forbidden(at, "must not be specified when serviceAccountName is not set"))
    for field in ("containers", "initContainers"):
        for index, container in enumerate(items(spec, field)):
            errors += check_image_spacing(container, f"spec.{field}[{index}]")
    return errors


def check_template(template: Object | None, path: str) -> list[FieldError]:
    """A PodTemplateSpec: what every workload makes its pods of."""
    template = template or {}
    metadata, spec = template.get("metadata") or {}, template.get("spec") or {}
    labels, annotations = metadata.get("labels"), metadata.get("annotations")
    errors = check_labels(labels, f"{path}.labels") if labels else []
    if annotations:
        errors += check_annotations(annotations, f"{path}.annotations")
        errors += check_pod_annotations(annotations, spec, f"{path}.annotations")
    errors += check_pod_spec(spec, f"{path}.spec", metadata=None, is_pod=False)
    if annotations:
        errors += check_profiles_match(annotations, spec, f"{path}.spec")
    if spec.get("ephemeralContainers"):
        at = f"{path}.spec.ephemeralContainers"
        errors.append(forbidden(at, "ephemeral containers not allowed in pod template"))
    return errors


def check_pod_spec(spec: Object, path: str, *, metadata: Object | None, is_pod: bool) -> list[FieldError]:
    """``metadata`` is that of the pod; None for a template."""
    errors: list[FieldError] = []
    period = spec.get("terminationGracePeriodSeconds")
    if period is None:
        errors.append(required(f"{path}.terminationGracePeriodSeconds"))
    restart_policy = spec.get("restartPolicy") or ""
    pod_name = (metadata or {}).get("name") or ""
    volumes: dict[str, Object] = {}
    if spec.get("volumes"):
        volumes, own = check_volumes(spec["volumes"], pod_name, f"{path}.volumes", is_pod=is_pod)
        errors += own
    claims = items(spec, "resourceClaims")
    if claims:
        errors += _check_resource_claims(claims, metadata, f"{path}.resourceClaims")
    around = Surroundings(
        volumes,
        [claim["name"] for claim in claims if claim.get("name")],
        restart_policy,
        period,
        (spec.get("os") or {}).get("name") if spec.get("os") is not None else None,
        spec.get("hostUsers") is not False,
    )
    regular, initial = items(spec, "containers"), items(spec, "initContainers")
    errors += check_containers(regular, around, f"{path}.containers")
    if initial:
        errors += check_init_containers(initial, regular, around, f"{path}.initContainers")
    if spec.get("ephemeralContainers"):
        at = f"{path}.ephemeralContainers"
        errors += check_ephemeral_containers(spec["ephemeralContainers"], regular + initial, around, at)
    if spec.get("resources") is not None:
        errors += check_pod_requirements(spec, total, f"{path}.resources")
    if spec.get("hostNetwork"):
        errors += _check_host_ports(regular, f"{path}.containers", is_pod)
    if not restart_policy:
        errors.append(required(f"{path}.restartPolicy"))
    elif restart_policy not in _RESTART_POLICIES:
        errors.append(not_supported(f"{path}.restartPolicy", restart_policy, _RESTART_POLICIES))
    dns_policy = spec.get("dnsPolicy") or ""
    if not dns_policy:
        errors.append(required(f"{path}.dnsPolicy"))
    elif dns_policy not in _DNS_POLICIES:
        errors.append(not_supported(f"{path}.dnsPolicy", dns_policy, _DNS_POLICIES))
    if spec.get("nodeSelector"):
        errors += check_labels(spec["nodeSelector"], f"{path}.nodeSelector")
    errors += check_pod_context(spec.get("securityContext") or {}, spec, f"{path}.securityContext")
    if spec.get("affinity") is not None:
        errors += check_affinity(spec["affinity"], f"{path}.affinity")
    if dns_policy == "None" or spec.get("dnsConfig") is not None:
        errors += _check_dns_config(spec.get("dnsConfig"), dns_policy, f"{path}.dnsConfig")
    errors += _check_gates(spec, path)
    if spec.get("topologySpreadConstraints"):
        errors += check_spread(spec["topologySpreadConstraints"], f"{path}.topologySpreadConstraints")
    errors += check_host_process(spec, path)
    if spec.get("hostUsers") is False:
        errors += _check_host_users(spec, path)
    if spec.get("hostnameOverride") is not None:
        errors += _check_hostname_override(spec, path)
    errors += _check_names(spec, path)
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline <= _INT32_MAX:
        message = names.out_of_range(1, _INT32_MAX)
        errors.append(invalid_value(f"{path}.activeDeadlineSeconds", deadline, message))
    if spec.get("tolerations"):
        errors += check_tolerations(spec["tolerations"], f"{path}.tolerations")
    for index, alias in enumerate(items(spec, "hostAliases")):
        at = f"{path}.hostAliases[{index}]"
        errors += check_address(f"{at}.ip", alias.get("ip") or "")
        for position, hostname in enumerate(alias.get("hostnames") or ()):
            errors += invalid_each(f"{at}.hostnames[{position}]", hostname, names.dns_subdomain(hostname))
    errors += check_preemption_policy(spec.get("preemptionPolicy"), f"{path}.preemptionPolicy")
    if spec.get("overhead"):
        own = check_requirements({"limits": spec["overhead"]}, f"{path}.overhead")
        errors += own
    if spec.get("os") is not None:
        errors += check_os(spec, path)
    return errors + _check_file_keys(spec, path)


def _check_names(spec: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for field, check in (
        ("serviceAccountName", names.dns_subdomain),
        ("nodeName", names.dns_subdomain),
        ("hostname", names.dns_label),
        ("subdomain", names.dns_label),
        ("priorityClassName", names.dns_subdomain),
        ("runtimeClassName", names.dns_subdomain),
    ):
        value = spec.get(field)
        if value or (value is not None and field == "runtimeClassName"):
            messages = check(value)
            if messages:
                errors += invalid_each(f"{path}.{field}", value, messages)
    return errors


def check_preemption_policy(policy: str | None, path: str) -> list[FieldError]:
    if policy is None or policy in ("PreemptLowerPriority", "Never"):
        return []
    return [not_supported(path, policy, ("PreemptLowerPriority", "Never"))] if policy else [required(path)]


def _check_host_ports(containers: list[Object], path: str, is_pod: bool) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, container in enumerate(containers):
        for position, port in enumerate(items(container, "ports")):
            host_port, own_port = port.get("hostPort") or 0, port.get("containerPort") or 0
            if (is_pod or host_port) and host_port != own_port:
                message = "must match `containerPort` when `hostNetwork` is true"
                errors.append(invalid_value(f"{path}[{index}].ports[{position}].hostPort", host_port, message))
    return errors


def _check_dns_config(config: Object | None, policy: str, path: str) -> list[FieldError]:
    if policy == "None":
        if config is None:
            return [required(path, "must provide `dnsConfig` when `dnsPolicy` is None")]
        if not config.get("nameservers"):
            message = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            return [required(f"{path}.nameservers", message)]
    errors: list[FieldError] = []
    config = config or {}
    servers, searches = config.get("nameservers") or [], config.get("searches") or []
    if len(servers) > _NAMESERVERS_MAX:
        message = f"must not have more than {_NAMESERVERS_MAX} nameservers"
        errors.append(invalid_value(f"{path}.nameservers", servers, message))
    for index, server in enumerate(servers):
        errors += check_address(f"{path}.nameservers[{index}]", server)
    if len(searches) > _SEARCHES_MAX:
        message = f"must not have more than {_SEARCHES_MAX} search paths"
        errors.append(invalid_value(f"{path}.searches", searches, message))
    if len(" ".join(searches)) > _SEARCH_LENGTH_MAX:
        message = f"must not have more than {_SEARCH_LENGTH_MAX} characters (including spaces) in the search list"
        errors.append(invalid_value(f"{path}.searches", searches, message))
    for index, search in enumerate(searches):
        if search != ".":
            search = search.removesuffix(".")
            errors += invalid_each(f"{path}.searches[{index}]", search, names.underscored_subdomain(search))
    for index, option in enumerate(items(config, "options")):
        if not option.get("name"):
            errors.append(required(f"{path}.options[{index}]", "must not be empty"))
    return errors


def _check_gates(spec: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, gate in enumerate(items(spec, "readinessGates")):
        kind = gate.get("conditionType") or ""
        errors += invalid_each(f"{path}.readinessGates[{index}].conditionType", kind, key_errors(kind))
    seen: set[str] = set()
    for index, gate in enumerate(items(spec, "schedulingGates")):
        at, name = f"{path}.schedulingGates[{index}]", gate.get("name") or ""
        errors += invalid_each(at, name, key_errors(name))
        if name in seen:
            errors.append(duplicate(at, name))
        seen.add(name)
    return errors


def _check_host_users(spec: Object, path: str) -> list[FieldError]:
    message = "when `hostUsers` is false"
    errors: list[FieldError] = []
    for field, shown in (("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")):
        if spec.get(field):
            errors.append(forbidden(f"{path}.{shown}", message))
    for container, at in containers_with_paths(spec, path):
        if container.get("volumeDevices"):
            errors.append(forbidden(f"{at}.volumeDevices", message))
    return errors


def _check_hostname_override(spec: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    at, hostname = f"{path}.hostnameOverride", spec["hostnameOverride"]
    for field in ("setHostnameAsFQDN", "hostNetwork"):
        if spec.get(field):
            errors.append(forbidden(at, f"may not be specified when {field} is true"))
    if len(hostname) > 64:
        errors.append(too_long(at, 64))
    return errors + invalid_each(at, hostname, names.dns_subdomain(hostname))


def _check_resource_claims(claims: list[Object], metadata: Object | None, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    is_static = MIRROR_ANNOTATION in ((metadata or {}).get("annotations") or {})
    seen: set[str] = set()
    for index, claim in enumerate(claims):
        if is_static:
            errors.append(forbidden("[]", "static pods do not support resource claims"))
            continue
        at, name = f"{path}[{index}]", claim.get("name") or ""
        if not name:
            errors.append(required(f"{at}.name"))
        elif name in seen:
            errors.append(duplicate(f"{at}.name", name))
        else:
            errors += invalid_each(f"{at}.name", name, names.dns_label(name))
            seen.add(name)
        given = [field for field in ("resourceClaimName", "resourceClaimTemplateName") if claim.get(field) is not None]
        if len(given) > 1:
            message = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
            errors.append(invalid_value(at, claim, message))
        if not given:
            message = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"
            errors.append(invalid_value(at, claim, message))
        for field in given:
            errors += invalid_each(f"{at}.{field}", claim[field], names.dns_subdomain(claim[field]))
    return errors


def _check_file_keys(spec: Object, path: str) -> list[FieldError]:
    """Variables that are read from a file: in a volume of the pod's own."""
    errors: list[FieldError] = []
    for container, at in containers_with_paths(spec, path):
        for index, variable in enumerate(items(container, "env")):
            reference = (variable.get("valueFrom") or {}).get("fileKeyRef")
            if reference is None:
                continue
            name = reference.get("volumeName") or ""
            where = f"{at}.env[{index}].valueFrom.fileKeyRef.volumeName"
            volume = next((item for item in items(spec, "volumes") if item.get("name") == name), None)
            if volume is None:
                errors.append(not_found(where, name))
            elif volume.get("emptyDir") is None:
                errors.append(invalid_value(where, name, "referenced volume must be of type emptyDir"))
    return errors

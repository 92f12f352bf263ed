"""Services. What is allocated for one (cluster IPs, node ports) is expected to be there already."""

from __future__ import annotations

from cybernetes.core.api.defaulting.core import is_externally_accessible
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
from cybernetes.core.api.validation.addresses import check_address, check_network, is_dual_stack, parse_address
from cybernetes.core.api.validation.endpoints import PROTOCOLS, check_endpoint_address
from cybernetes.core.api.validation.metadata import (
    check_label_key,
    check_labels,
    check_metadata,
    check_metadata_update,
    invalid_each,
)
from cybernetes.core.objects import Object

_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_AFFINITIES = ("ClientIP", "None")
_FAMILIES = ("IPv4", "IPv6")
_FAMILY_POLICIES = ("PreferDualStack", "RequireDualStack", "SingleStack")
_TRAFFIC_POLICIES = ("Cluster", "Local")
_DISTRIBUTIONS = ("PreferClose", "PreferSameZone", "PreferSameNode")
_AFFINITY_SECONDS_MAX = 86400
_SOURCE_RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"
_TOPOLOGY_MODE = "service.kubernetes.io/topology-mode"
_TOPOLOGY_HINTS = "service.kubernetes.io/topology-aware-hints"
_ONLY_BALANCERS = "may only be used when `type` is 'LoadBalancer'"
_ONCE_SET = "may not change once set"


def check_service(service: Object) -> list[FieldError]:
    errors = check_metadata(service, names.name_is_label, is_namespaced=True)
    return errors + _check_spec(service, service["spec"], None)


def check_service_update(new: Object, old: Object) -> list[FieldError]:
    spec, stored = new["spec"], old["spec"]
    errors = check_metadata_update(new, old)
    if "ExternalName" not in (spec.get("type"), stored.get("type")):
        errors += _check_cluster_ips_update(spec, stored) + _check_families_update(spec, stored)
    errors += _check_class(spec, stored)
    ports = [item.get("healthCheckNodePort", 0) for item in (spec, stored)]
    if needs_health_check(spec) and needs_health_check(stored) and ports[0] != ports[1]:
        errors.append(forbidden("spec.healthCheckNodePort", "field is immutable"))
    return errors + _check_spec(new, spec, stored)


def check_service_status(new: Object, old: Object) -> list[FieldError]:
    balancer, before = ((item.get("status") or {}).get("loadBalancer") or {} for item in (new, old))
    errors = check_metadata_update(new, old)
    return errors + check_balancer_status(balancer, before, new["spec"].get("type"), "status.loadBalancer")


def is_headless(spec: Object) -> bool:
    return (spec.get("clusterIPs") or ()) == ["None"]


def needs_health_check(spec: Object) -> bool:
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def _check_spec(service: Object, spec: Object, old: Object | None) -> list[FieldError]:
    annotations: Object = service["metadata"].get("annotations") or {}
    errors: list[FieldError] = []
    mode, hints = annotations.get(_TOPOLOGY_MODE), annotations.get(_TOPOLOGY_HINTS)
    if mode is not None and hints is not None and mode != hints:
        at = f"metadata.annotations[{_TOPOLOGY_MODE}]"
        errors.append(invalid_value(at, mode, f"must match annotations[{_TOPOLOGY_HINTS}] when both are specified"))
    kind, ports = spec.get("type") or "", items(spec, "ports")
    if not ports and not is_headless(spec) and kind != "ExternalName":
        errors.append(required("spec.ports"))
    errors += _check_type_fields(spec, kind)
    names_seen: set[str] = set()
    for index, port in enumerate(ports):
        errors += _check_port(port, len(ports) > 1, names_seen, f"spec.ports[{index}]")
    if spec.get("selector"):
        errors += check_labels(spec["selector"], "spec.selector")
    errors += _check_affinity(spec)
    if kind != "ExternalName":
        errors += check_cluster_ips(spec, (old or {}).get("clusterIPs") or ())
    kept = (old or {}).get("externalIPs") or ()
    for index, address in enumerate(spec.get("externalIPs") or ()):
        at = f"spec.externalIPs[{index}]"
        errors += check_address(at, address, kept) or check_endpoint_address(address, at)
    if not kind:
        errors.append(required("spec.type"))
    elif kind not in _TYPES:
        errors.append(not_supported("spec.type", kind, _TYPES))
    errors += _check_port_numbers(ports, kind)
    errors += _check_source_ranges(spec, annotations, old)
    if spec.get("allocateLoadBalancerNodePorts") is not None and kind != "LoadBalancer":
        errors.append(forbidden("spec.allocateLoadBalancerNodePorts", _ONLY_BALANCERS))
    if spec.get("allocateLoadBalancerNodePorts") is None and kind == "LoadBalancer":
        errors.append(required("allocateLoadBalancerNodePorts"))
    return errors + _check_class(spec, None) + _check_traffic(spec, kind)


def _check_type_fields(spec: Object, kind: str) -> list[FieldError]:
    if kind in ("LoadBalancer", "NodePort") and is_headless(spec):
        return [invalid_value("spec.clusterIPs[0]", "None", f"may not be set to 'None' for {kind} services")]
    if kind != "ExternalName":
        return []
    errors: list[FieldError] = []
    for field in ("clusterIPs", "ipFamilies", "ipFamilyPolicy"):
        if spec.get(field):
            errors.append(forbidden(f"spec.{field}", "may not be set for ExternalName services"))
    name = (spec.get("externalName") or "").removesuffix(".")
    if not name:
        errors.append(required("spec.externalName"))
    else:
        errors += invalid_each("spec.externalName", name, names.dns_subdomain(name))
    return errors


def _check_port(port: Object, requires_name: bool, seen: set[str], path: str) -> list[FieldError]:
    name, number = port.get("name") or "", port.get("port", 0)
    errors: list[FieldError] = []
    if name:
        errors += invalid_each(f"{path}.name", name, names.dns_label(name))
        if name in seen:
            errors.append(duplicate(f"{path}.name", name))
        seen.add(name)
    elif requires_name:
        errors.append(required(f"{path}.name"))
    errors += invalid_each(f"{path}.port", number, names.port_number(number))
    protocol, target = port.get("protocol") or "", port.get("targetPort", 0)
    if not protocol:
        errors.append(required(f"{path}.protocol"))
    elif protocol not in PROTOCOLS:
        errors.append(not_supported(f"{path}.protocol", protocol, PROTOCOLS))
    check = names.port_name(target) if isinstance(target, str) else names.port_number(target)
    errors += invalid_each(f"{path}.targetPort", target, check)
    if port.get("appProtocol") is not None:
        errors += check_label_key(port["appProtocol"], f"{path}.appProtocol")
    return errors


def _check_port_numbers(ports: list[Object], kind: str) -> list[FieldError]:
    """That no two ports are the same, and that only a type that uses node ports has them."""
    errors: list[FieldError] = []
    if kind == "ClusterIP":
        for index, port in enumerate(ports):
            if port.get("nodePort"):
                at = f"spec.ports[{index}].nodePort"
                errors.append(forbidden(at, "may not be used when `type` is 'ClusterIP'"))
    node_ports: set[tuple[str, int]] = set()
    for index, port in enumerate(ports):
        number = port.get("nodePort", 0)
        key = (port.get("protocol") or "", number)
        if number and key in node_ports:
            errors.append(duplicate(f"spec.ports[{index}].nodePort", number))
        node_ports.add(key)
    numbers: set[tuple[str, int]] = set()
    for index, port in enumerate(ports):
        key = (port.get("protocol") or "", port.get("port", 0))
        if key in numbers:
            shown = {"Name": "", "Protocol": key[0], "AppProtocol": None, "Port": key[1], "TargetPort": 0}
            errors.append(duplicate(f"spec.ports[{index}]", {**shown, "NodePort": 0}))
        numbers.add(key)
    return errors


def _check_affinity(spec: Object) -> list[FieldError]:
    affinity, config = spec.get("sessionAffinity") or "", spec.get("sessionAffinityConfig")
    at = "spec.sessionAffinityConfig"
    if not affinity:
        return [required("spec.sessionAffinity")]
    if affinity not in _AFFINITIES:
        return [not_supported("spec.sessionAffinity", affinity, _AFFINITIES)]
    if affinity == "None":
        return [] if config is None else [forbidden(at, "must not be set when session affinity is None")]
    message = "when session affinity type is ClientIP"
    if config is None:
        return [required(at, message)]
    client = config.get("clientIP")
    if client is None:
        return [required(f"{at}.clientIP", message)]
    seconds, at = client.get("timeoutSeconds"), f"{at}.clientIP.timeoutSeconds"
    if seconds is None:
        return [required(at, message)]
    if not 0 < seconds <= _AFFINITY_SECONDS_MAX:
        return [invalid_value(at, seconds, f"must be greater than 0 and less than {_AFFINITY_SECONDS_MAX}")]
    return []


def check_cluster_ips(spec: Object, kept: list[str] | tuple[()]) -> list[FieldError]:
    """Cluster IPs, families and their policy, as far as they can be judged without what is taken. ``kept`` are the
    addresses that the stored Service has."""
    path = "spec.clusterIPs"
    first, addresses = spec.get("clusterIP") or "", spec.get("clusterIPs") or []
    families = spec.get("ipFamilies") or []
    errors: list[FieldError] = []
    if first and not addresses:
        errors.append(required(path))
    elif first and addresses[0] != first:
        errors.append(invalid_value(path, addresses, "first value must match `clusterIP`"))
    elif addresses and not first:
        errors.append(invalid_value(path, addresses, "must be empty when `clusterIP` is not specified"))
    errors += _check_families(spec, families)
    bad: list[FieldError] = []
    for index, address in enumerate(addresses):
        if index == 0 and address == "None":
            if len(addresses) > 1:
                bad.append(invalid_value(path, addresses, "'None' must be the first and only value"))
            continue
        bad += check_address(f"{path}[{index}]", address, kept)
    errors += bad
    if len(addresses) > 2:
        errors.append(invalid_value(path, addresses, "may only hold up to 2 values"))
    if bad:
        return errors
    if len(addresses) > 1 and not is_dual_stack(addresses):
        errors.append(invalid_value(path, addresses, "may specify no more than one IP for each IP family"))
    if not is_headless(spec):
        for index, (address, family) in enumerate(zip(addresses, families, strict=False)):
            parsed = parse_address(address)
            version = f"IPv{parsed.version}" if parsed is not None else ""
            if family in _FAMILIES and version != family:
                article = f"expected an {family} value as indicated by `ipFamilies[{index}]`"
                errors.append(invalid_value(f"{path}[{index}]", address, article))
    return errors


def _check_families(spec: Object, families: list[str]) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, family in enumerate(families):
        at = f"spec.ipFamilies[{index}]"
        if family not in _FAMILIES:
            errors.append(not_supported(at, family, _FAMILIES))
        if family in families[:index]:
            errors.append(duplicate(at, family))
        if index > 100:
            break
    policy = spec.get("ipFamilyPolicy")
    if policy is not None and policy not in _FAMILY_POLICIES:
        errors.append(not_supported("spec.ipFamilyPolicy", policy, _FAMILY_POLICIES))
    return errors


def _check_source_ranges(spec: Object, annotations: Object, old: Object | None) -> list[FieldError]:
    errors: list[FieldError] = []
    ranges, text = spec.get("loadBalancerSourceRanges") or (), annotations.get(_SOURCE_RANGES)
    if ranges:
        at, kept = "spec.LoadBalancerSourceRanges", (old or {}).get("loadBalancerSourceRanges") or ()
        if spec.get("type") != "LoadBalancer":
            errors.append(forbidden(at, _ONLY_BALANCERS))
        known = [network.strip() for network in kept]
        for index, network in enumerate(ranges):
            errors += check_network(f"{at}[{index}]", network.strip(), known)
    elif text is not None:
        at = f"metadata.annotations[{_SOURCE_RANGES}]"
        if spec.get("type") != "LoadBalancer":
            errors.append(forbidden(at, _ONLY_BALANCERS))
        for network in text.strip().split(",") if text.strip() else ():
            errors += check_network(at, network.strip())
    return errors


def _check_class(spec: Object, old: Object | None) -> list[FieldError]:
    errors: list[FieldError] = []
    name, at = spec.get("loadBalancerClass"), "spec.loadBalancerClass"
    if spec.get("type") != "LoadBalancer":
        return [] if name is None else [forbidden(at, _ONLY_BALANCERS)]
    if old is not None and old.get("type") == "LoadBalancer" and old.get("loadBalancerClass") != name:
        errors.append(invalid_value(at, name, _ONCE_SET))
    return errors if name is None else errors + check_label_key(name, at)


def _check_traffic(spec: Object, kind: str) -> list[FieldError]:
    errors: list[FieldError] = []
    external, at = spec.get("externalTrafficPolicy") or "", "spec.externalTrafficPolicy"
    if not is_externally_accessible(spec):
        if external:
            errors.append(invalid_value(at, external, "may only be set for externally-accessible services"))
    elif not external:
        errors.append(required(at))
    elif external not in _TRAFFIC_POLICIES:
        errors.append(not_supported(at, external, _TRAFFIC_POLICIES))
    number, at = spec.get("healthCheckNodePort", 0), "spec.healthCheckNodePort"
    if not needs_health_check(spec):
        if number:
            message = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
            errors.append(invalid_value(at, number, message))
    elif not number:
        errors.append(required(at))
    else:
        errors += invalid_each(at, number, names.port_number(number))
    internal, at = spec.get("internalTrafficPolicy"), "spec.internalTrafficPolicy"
    if internal is None and kind in ("NodePort", "LoadBalancer", "ClusterIP"):
        errors.append(required(at))
    if internal is not None and internal not in _TRAFFIC_POLICIES:
        errors.append(not_supported(at, internal, _TRAFFIC_POLICIES))
    distribution = spec.get("trafficDistribution")
    if distribution is not None and distribution not in _DISTRIBUTIONS:
        errors.append(not_supported("spec.trafficDistribution", distribution, _DISTRIBUTIONS))
    return errors


def _check_cluster_ips_update(spec: Object, old: Object) -> list[FieldError]:
    """The first cluster IP stays; a second one may come and go."""
    if is_headless(spec) and is_headless(old):
        return []
    path, new_ips, old_ips = "spec.clusterIPs", spec.get("clusterIPs") or [], old.get("clusterIPs") or []
    shown = new_ips or None
    if len(old_ips) == len(new_ips):
        return [
            invalid_value(f"{path}[{index}]", shown, _ONCE_SET)
            for index, address in enumerate(old_ips)
            if address != new_ips[index]
        ]
    errors: list[FieldError] = []
    if old_ips and not new_ips:
        errors.append(invalid_value(f"{path}[0]", shown, "primary clusterIP can not be unset"))
    if old_ips and new_ips and old_ips[0] != new_ips[0]:
        errors.append(invalid_value(f"{path}[0]", shown, _ONCE_SET))
    if len(old_ips) > len(new_ips) == 1:
        errors += _check_release(spec, "clusterIP")
    return errors


def _check_families_update(spec: Object, old: Object) -> list[FieldError]:
    if is_headless(spec) or is_headless(old):
        return []
    at, new_families, old_families = "spec.ipFamilies[0]", spec.get("ipFamilies") or [], old.get("ipFamilies") or []
    shown = new_families or None
    if len(old_families) == len(new_families):
        changed = [index for index, family in enumerate(old_families) if family != new_families[index]]
        return [invalid_value(at, shown, _ONCE_SET) for _ in changed]
    errors: list[FieldError] = []
    if len(old_families) > len(new_families) and not spec.get("clusterIPs"):
        errors.append(invalid_value(at, shown, "primary ipFamily can not be unset"))
    if old_families and new_families and old_families[0] != new_families[0]:
        errors.append(invalid_value(at, spec.get("clusterIPs") or None, _ONCE_SET))
    if len(old_families) > len(new_families) == 1:
        errors += _check_release(spec, "ipFamily")
    return errors


def _check_release(spec: Object, what: str) -> list[FieldError]:
    policy = spec.get("ipFamilyPolicy")
    if policy == "SingleStack":
        return []
    message = f"must be set to 'SingleStack' when releasing the secondary {what}"
    return [invalid_value("spec.ipFamilyPolicy", policy, message)]


def check_balancer_status(status: Object, old: Object, kind: str | None, path: str) -> list[FieldError]:
    """``status.loadBalancer`` of a Service."""
    ingress, path = items(status, "ingress"), f"{path}.ingress"
    if kind != "LoadBalancer" and ingress:
        return [forbidden(path, "may only be used when `spec.type` is 'LoadBalancer'")]
    errors: list[FieldError] = []
    kept = [item["ip"] for item in items(old, "ingress") if item.get("ip")]
    for index, item in enumerate(ingress):
        at, address, mode, host = f"{path}[{index}]", item.get("ip"), item.get("ipMode"), item.get("hostname")
        if address:
            errors += check_address(f"{at}.ip", address, kept)
        if mode is None:
            if address:
                errors.append(required(f"{at}.ipMode", "must be specified when `ip` is set"))
        elif not address:
            errors.append(forbidden(f"{at}.ipMode", "may not be specified when `ip` is not set"))
        elif mode not in ("Proxy", "VIP"):
            errors.append(not_supported(f"{at}.ipMode", mode, ("Proxy", "VIP")))
        errors += check_ingress_host(host, f"{at}.hostname")
    return errors


def check_ingress_host(host: str | None, path: str) -> list[FieldError]:
    if not host:
        return []
    errors = invalid_each(path, host, names.dns_subdomain(host))
    if parse_address(host) is not None:
        errors.append(invalid_value(path, host, "must be a DNS name, not an IP address"))
    return errors

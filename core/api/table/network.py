"""How services and what stands behind and before them are shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cybernetes.core.api.table.cells import (
    NONE,
    UNKNOWN,
    UNSET,
    Printer,
    age,
    first_few,
    labels_text,
    name,
    printer,
    selector_text,
)
from cybernetes.core.objects import Object, annotations_of

_DEFAULT_CLASS = "ingressclass.kubernetes.io/is-default-class"


def _service(obj: Object) -> list[Any]:
    spec = obj.get("spec") or {}
    addresses = spec.get("clusterIPs") or ()
    return [
        name(obj),
        spec.get("type", ""),
        addresses[0] if addresses else NONE,
        _external(obj),
        ",".join(_ports(spec.get("ports") or ())) or NONE,
        age(obj),
        labels_text(spec.get("selector")),
    ]


def _external(obj: Object) -> str:
    spec = obj.get("spec") or {}
    kind = spec.get("type", "")
    extra = spec.get("externalIPs") or []
    if kind in ("ClusterIP", "NodePort"):
        return ",".join(extra) or NONE
    if kind == "LoadBalancer":
        return ",".join([*_balancer(obj), *extra]) or "<pending>"
    if kind == "ExternalName":
        text: str = spec.get("externalName", "")
        return text
    return UNKNOWN


def _balancer(obj: Object) -> list[str]:
    """The addresses, or else the names, of a load balancer."""
    points = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    return sorted({point.get("ip") or point.get("hostname") or "" for point in points} - {""})


def _ports(ports: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for port in ports:
        node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
        yield f"{port.get('port', 0)}{node_port}/{port.get('protocol', '')}"


def _endpoints(obj: Object) -> list[Any]:
    subsets = obj.get("subsets") or ()
    if not subsets:
        return [name(obj), NONE, age(obj)]
    listed = []
    for subset in subsets:
        hosts = [address.get("ip", "") for address in subset.get("addresses") or ()]
        if not subset.get("ports"):
            listed += hosts
        for port in subset.get("ports") or ():
            listed += [_host_port(host, port.get("port", 0)) for host in hosts]
    return [name(obj), first_few(listed), age(obj)]


def _host_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _endpoint_slice(obj: Object) -> list[Any]:
    ports = []
    for port in obj.get("ports") or ():
        number = port.get("port")
        ports.append(str(number) if number is not None else port.get("name") if port.get("name") is not None else "*")
    addresses = [address for endpoint in obj.get("endpoints") or () for address in endpoint.get("addresses") or ()]
    return [
        name(obj),
        obj.get("addressType", ""),
        first_few(ports) or UNSET,
        first_few(addresses) or UNSET,
        age(obj),
    ]


def _ingress(obj: Object) -> list[Any]:
    spec = obj.get("spec") or {}
    class_name = spec.get("ingressClassName")
    return [
        name(obj),
        NONE if class_name is None else class_name,
        _hosts(spec.get("rules") or ()),
        ",".join(_balancer(obj)),
        "80, 443" if spec.get("tls") else "80",
        age(obj),
    ]


def _hosts(rules: Any) -> str:
    """The first three hosts. Rules without one count among those that are more, as upstream counts."""
    listed: list[str] = []
    is_cut = False
    for rule in rules:
        if len(listed) == 3:
            is_cut = True
        elif rule.get("host"):
            listed.append(rule["host"])
    if not listed:
        return "*"
    text = ",".join(listed)
    return f"{text} + {len(rules) - 3} more..." if is_cut else text


def _ingress_class(obj: Object) -> list[Any]:
    spec = obj.get("spec") or {}
    shown = name(obj)
    if annotations_of(obj).get(_DEFAULT_CLASS) == "true":
        shown += " (default)"
    parameters = spec.get("parameters")
    text = NONE
    if parameters is not None:
        group = f".{parameters['apiGroup']}" if parameters.get("apiGroup") is not None else ""
        text = f"{parameters.get('kind', '')}{group}/{parameters.get('name', '')}"
    return [shown, spec.get("controller", ""), text, age(obj)]


def _network_policy(obj: Object) -> list[Any]:
    return [name(obj), selector_text((obj.get("spec") or {}).get("podSelector") or {}), age(obj)]


def _service_cidr(obj: Object) -> list[Any]:
    return [name(obj), ",".join((obj.get("spec") or {}).get("cidrs") or ()), age(obj)]


def _ip_address(obj: Object) -> list[Any]:
    parent = (obj.get("spec") or {}).get("parentRef")
    text = NONE
    if parent is not None:
        group, resource = parent.get("group", ""), parent.get("resource", "")
        qualified = f"{resource}.{group}" if group else resource
        namespace = f"/{parent['namespace']}" if parent.get("namespace") else ""
        text = f"{qualified.lower()}{namespace}/{parent.get('name', '')}"
    # The age has no column upstream either; clients leave out cells without one.
    return [name(obj), text, age(obj)]


PRINTERS: Mapping[tuple[str, str], Printer] = {
    ("", "services"): printer("Name!, Type, Cluster-IP, External-IP, Port(s), Age, Selector*", _service),
    ("", "endpoints"): printer("Name!, Endpoints, Age", _endpoints),
    ("discovery.k8s.io", "endpointslices"): printer("Name!, AddressType, Ports, Endpoints, Age", _endpoint_slice),
    ("networking.k8s.io", "ingresses"): printer("Name!, Class, Hosts, Address, Ports, Age", _ingress),
    ("networking.k8s.io", "ingressclasses"): printer("Name!, Controller, Parameters, Age", _ingress_class),
    ("networking.k8s.io", "networkpolicies"): printer("Name!, Pod-Selector, Age", _network_policy),
    ("networking.k8s.io", "servicecidrs"): printer("Name!, CIDRs, Age", _service_cidr),
    ("networking.k8s.io", "ipaddresses"): printer("Name!, ParentRef", _ip_address),
}

"""The environment variables by which a container finds the Services that existed before it started.

Two families for every Service with a cluster IP: ``{NAME}_SERVICE_HOST`` and ``{NAME}_SERVICE_PORT``, and the variables
that Docker's container links used to set (``{NAME}_PORT_80_TCP_ADDR`` and so on). A container sees the Services of its
pod's namespace, unless the pod turns them off, and always ``kubernetes`` of the default namespace, by which in-cluster
clients find the API. Source: Kubernetes documentation, "Accessing the Service"; upstream ``pkg/kubelet/envvars``.
"""

from __future__ import annotations

from collections.abc import Iterable

from cybernetes.core.objects import Object, name_of, namespace_of

#: Services of the default namespace that every container is told about.
ALWAYS = frozenset({"kubernetes"})


def service_environment(
    services: Iterable[Object], namespace: str, enable_service_links: bool = True
) -> dict[str, str]:
    """What a container in ``namespace`` is given, as name -> value.

    ``services`` may be all of the cluster's: those that do not matter are passed over. A Service of the pod's own
    namespace wins over the default one of the same name. The order is by Service name (upstream's is that of a hash),
    and within a Service upstream's. Variables that the container defines itself take precedence: that is the caller's.
    """
    chosen: dict[str, Object] = {}
    for service in services:
        if not has_cluster_ip(service):
            continue
        name, home = name_of(service), namespace_of(service)
        if home == "default" and name in ALWAYS:
            chosen.setdefault(name, service)
        elif home == namespace and enable_service_links:
            chosen[name] = service
    result: dict[str, str] = {}
    for name in sorted(chosen):
        result.update(_variables(name, chosen[name]["spec"]))
    return result


def has_cluster_ip(service: Object) -> bool:
    """False for headless and external Services, and for one that has not been given an address yet."""
    return service["spec"].get("clusterIP", "") not in ("", "None")


def variable_name(name: str) -> str:
    """``redis-primary`` -> ``REDIS_PRIMARY``."""
    return name.replace("-", "_").upper()


def _variables(name: str, spec: Object) -> dict[str, str]:
    prefix = variable_name(name)
    address: str = spec["clusterIP"]
    ports: list[Object] = spec.get("ports") or []
    result = {f"{prefix}_SERVICE_HOST": address}
    if not ports:
        return result
    result[f"{prefix}_SERVICE_PORT"] = str(ports[0]["port"])
    for port in ports:
        if port.get("name"):
            result[f"{prefix}_SERVICE_PORT_{variable_name(port['name'])}"] = str(port["port"])
    host = f"[{address}]" if ":" in address else address
    for index, port in enumerate(ports):
        number, protocol = port["port"], port.get("protocol") or "TCP"
        url = f"{protocol.lower()}://{host}:{number}"
        if index == 0:
            result[f"{prefix}_PORT"] = url
        link = f"{prefix}_PORT_{number}_{protocol.upper()}"
        result[link] = url
        result[f"{link}_PROTO"] = protocol.lower()
        result[f"{link}_PORT"] = str(number)
        result[f"{link}_ADDR"] = address
    return result

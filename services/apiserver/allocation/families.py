"""Which IP families a Service gets: what its policy, families and cluster IPs say together. Pure.

Source: KEP-563 (dual-stack), upstream's service/storage. ``configured`` are the families of the cluster's service
ranges with the default one first.
"""

from __future__ import annotations

from collections.abc import Sequence

from cybernetes.core.api.fielderror import FieldError, invalid_value
from cybernetes.core.api.validation.services import check_cluster_ips
from cybernetes.core.objects import Object

IPV4, IPV6 = "IPv4", "IPv6"
SINGLE, PREFER, REQUIRE = "SingleStack", "PreferDualStack", "RequireDualStack"


def family_of(ip: str) -> str:
    return IPV6 if ":" in ip else IPV4


def settle(service: Object, old: Object | None, configured: Sequence[str]) -> list[FieldError]:
    """Fill in ipFamilyPolicy and ipFamilies of ``service``, or say what does not go together."""
    spec = service["spec"]
    before = old["spec"] if old is not None else {}
    if spec.get("type") == "ExternalName" or (old is not None and _is_unchanged_preference(spec, before)):
        return []
    is_headless = spec.get("clusterIP") == "None"
    has_selector = bool(spec.get("selector"))
    if not spec.get("ipFamilyPolicy"):
        if before.get("ipFamilyPolicy"):
            spec["ipFamilyPolicy"] = before["ipFamilyPolicy"]
        else:
            spec["ipFamilyPolicy"] = REQUIRE if is_headless and not has_selector else SINGLE
    errors = check_cluster_ips(spec, before.get("clusterIPs") or ())
    if errors:
        return errors  # the rest may then take for granted what these are
    policy = spec["ipFamilyPolicy"]
    errors = _shrink(spec, before, policy) if old is not None else []
    ips: list[str] = spec.get("clusterIPs") or []
    families: list[str] = spec.get("ipFamilies") or []
    if policy == SINGLE:
        must = "must be 'RequireDualStack' or 'PreferDualStack' when multiple"
        if len(ips) == 2:
            errors.append(invalid_value("spec.ipFamilyPolicy", policy, f"{must} cluster IPs are specified"))
        if len(families) == 2:
            errors.append(invalid_value("spec.ipFamilyPolicy", policy, f"{must} IP families are specified"))
    for position, ip in enumerate(ips):
        if ip == "None":
            break
        if position >= len(families):
            family = family_of(ip)
            if family not in configured:
                detail = f"{family} is not configured on this cluster"
                errors.append(invalid_value(f"spec.clusterIPs[{position}]", ips, detail))
            else:
                families = [*families, family]
    if errors:
        return errors
    if is_headless and not has_selector:
        families = families or [configured[0]]
        if len(families) < 2 and policy != SINGLE:
            families = [families[0], _other(families[0])]
        spec["ipFamilies"] = families
        return []
    if policy == REQUIRE and len(configured) < 2:
        detail = "this cluster is not configured for dual-stack services"
        errors.append(invalid_value("spec.ipFamilyPolicy", policy, detail))
    errors += [
        invalid_value(f"spec.ipFamilies[{position}]", family, "not configured on this cluster")
        for position, family in enumerate(families)
        if family not in configured
    ]
    if errors:
        return errors
    families = families or [configured[0]]
    if policy != SINGLE and len(families) == 1 and len(configured) == 2:
        families = [families[0], _other(families[0])]
    spec["ipFamilies"] = families
    return []


def _shrink(spec: Object, before: Object, policy: str) -> list[FieldError]:
    """Going back to a single family is said by the policy alone; nothing else may drop the second one."""
    ips, old_ips = spec.get("clusterIPs") or [], before.get("clusterIPs") or []
    families, old_families = spec.get("ipFamilies") or [], before.get("ipFamilies") or []
    errors = []
    if policy == SINGLE:
        if ips == old_ips and len(ips) > 1:
            spec["clusterIPs"] = ips[:1]
        if families == old_families and len(families) > 1:
            spec["ipFamilies"] = families[:1]
    else:
        if 0 < len(ips) < len(old_ips):
            detail = "must be 'SingleStack' to release the secondary cluster IP"
            errors.append(invalid_value("spec.ipFamilyPolicy", policy, detail))
        if 0 < len(families) < len(old_families):
            detail = "must be 'SingleStack' to release the secondary IP family"
            errors.append(invalid_value("spec.ipFamilyPolicy", policy, detail))
    return errors


def _is_unchanged_preference(spec: Object, before: Object) -> bool:
    """A Service that prefers dual stack is neither given nor denied a second address behind its owner's back."""
    return (
        spec.get("type") == before.get("type")
        and spec.get("ipFamilyPolicy") == before.get("ipFamilyPolicy") == PREFER
        and (spec.get("clusterIPs") or []) == (before.get("clusterIPs") or [])
        and (spec.get("ipFamilies") or []) == (before.get("ipFamilies") or [])
    )


def _other(family: str) -> str:
    return IPV6 if family == IPV4 else IPV4

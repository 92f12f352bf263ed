"""How access, certificates, admission, flow control and the API's own services are shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cybernetes.core.api.table.cells import NONE, UNSET, Printer, age, human_duration, name, printer, selector_text
from cybernetes.core.objects import Object, condition


def _role_binding(obj: Object) -> list[Any]:
    reference = obj.get("roleRef") or {}
    users, groups, accounts = [], [], []
    for subject in obj.get("subjects") or ():
        kind, who = subject.get("kind"), subject.get("name", "")
        if kind == "ServiceAccount":
            accounts.append(f"{subject.get('namespace', '')}/{who}")
        elif kind == "User":
            users.append(who)
        elif kind == "Group":
            groups.append(who)
    role = f"{reference.get('kind', '')}/{reference.get('name', '')}"
    return [name(obj), role, age(obj), ", ".join(users), ", ".join(groups), ", ".join(accounts)]


def _signing_request(obj: Object) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    kinds = {each.get("type") for each in status.get("conditions") or ()}
    state = "Denied" if "Denied" in kinds else "Approved" if "Approved" in kinds else "Pending"
    if "Failed" in kinds:
        state += ",Failed"
    if status.get("certificate"):
        state += ",Issued"
    seconds = spec.get("expirationSeconds")
    return [
        name(obj),
        age(obj),
        spec.get("signerName") or NONE,
        spec.get("username", ""),
        NONE if seconds is None else human_duration(seconds),
        state,
    ]


def _webhooks(obj: Object) -> list[Any]:
    return [name(obj), len(obj.get("webhooks") or ()), age(obj)]


def _policy(part: str) -> Any:
    def cells(obj: Object) -> list[Any]:
        spec = obj.get("spec") or {}
        kind = spec.get("paramKind")
        text = UNSET if kind is None else f"{kind.get('apiVersion', '')}/{kind.get('kind', '')}"
        return [name(obj), len(spec.get(part) or ()), text, age(obj)]

    return cells


def _policy_binding(obj: Object) -> list[Any]:
    spec = obj.get("spec") or {}
    reference = spec.get("paramRef") or {}
    text = UNSET
    if reference.get("name"):
        # Whether the parameters are of the whole cluster cannot be seen from here.
        text = f"{reference.get('namespace') or '*'}/{reference['name']}"
    elif reference.get("selector") is not None:
        text = selector_text(reference["selector"], empty="")
    return [name(obj), spec.get("policyName", ""), text, age(obj)]


def _flow_schema(obj: Object) -> list[Any]:
    spec = obj.get("spec") or {}
    method = spec.get("distinguisherMethod")
    dangling = condition(obj, "Dangling")
    return [
        name(obj),
        (spec.get("priorityLevelConfiguration") or {}).get("name", ""),
        spec.get("matchingPrecedence", 0),
        NONE if method is None else method.get("type", ""),
        age(obj),
        "?" if dangling is None else dangling.get("status", ""),
    ]


def _flow_schema_order(obj: Object) -> Any:
    """In the order in which requests are matched."""
    return ((obj.get("spec") or {}).get("matchingPrecedence", 0), name(obj))


def _priority_level(obj: Object) -> list[Any]:
    spec = obj.get("spec") or {}
    limited = spec.get("limited")
    shares: Any = NONE
    queues: list[Any] = [NONE, NONE, NONE]
    if limited is not None:
        shares = limited.get("nominalConcurrencyShares")
        queuing = (limited.get("limitResponse") or {}).get("queuing")
        if queuing is not None:
            queues = [queuing.get(key, 0) for key in ("queues", "handSize", "queueLengthLimit")]
    return [name(obj), spec.get("type", ""), shares, *queues, age(obj)]


def _api_service(obj: Object) -> list[Any]:
    service = (obj.get("spec") or {}).get("service")
    available = condition(obj, "Available")
    state = "Unknown"
    if available is not None:
        state = available.get("status", "")
        if state != "True" and available.get("reason"):
            state = f"{state} ({available['reason']})"
    text = "Local" if service is None else f"{service.get('namespace', '')}/{service.get('name', '')}"
    return [name(obj), text, state, age(obj)]


_BINDING_COLUMNS = "Name!, Role, Age, Users*, Groups*, ServiceAccounts*"

PRINTERS: Mapping[tuple[str, str], Printer] = {
    ("rbac.authorization.k8s.io", "rolebindings"): printer(_BINDING_COLUMNS, _role_binding),
    ("rbac.authorization.k8s.io", "clusterrolebindings"): printer(_BINDING_COLUMNS, _role_binding),
    ("certificates.k8s.io", "certificatesigningrequests"): printer(
        "Name!, Age, SignerName, Requestor, RequestedDuration, Condition", _signing_request
    ),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"): printer("Name!, Webhooks#, Age", _webhooks),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations"): printer("Name!, Webhooks#, Age", _webhooks),
    ("admissionregistration.k8s.io", "validatingadmissionpolicies"): printer(
        "Name!, Validations#, ParamKind, Age", _policy("validations")
    ),
    ("admissionregistration.k8s.io", "mutatingadmissionpolicies"): printer(
        "Name!, Mutations#, ParamKind, Age", _policy("mutations")
    ),
    ("admissionregistration.k8s.io", "validatingadmissionpolicybindings"): printer(
        "Name!, PolicyName, ParamRef, Age", _policy_binding
    ),
    ("admissionregistration.k8s.io", "mutatingadmissionpolicybindings"): printer(
        "Name!, PolicyName, ParamRef, Age", _policy_binding
    ),
    ("flowcontrol.apiserver.k8s.io", "flowschemas"): printer(
        "Name!, PriorityLevel, MatchingPrecedence, DistinguisherMethod, Age, MissingPL",
        _flow_schema,
        _flow_schema_order,
    ),
    ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations"): printer(
        "Name!, Type, NominalConcurrencyShares, Queues, HandSize, QueueLengthLimit, Age", _priority_level
    ),
    ("apiregistration.k8s.io", "apiservices"): printer("Name!, Service, Available, Age", _api_service),
}

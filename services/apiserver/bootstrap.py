"""What a cluster has before anybody asks for it: namespaces, the default roles and bindings, priority classes, the
ServiceCIDR and the flow schemas. Written in one commit at the first start; later starts add what is missing and what
a newer version of the default roles has more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cybernetes.core.api import codec
from cybernetes.core.api.registry import Registry
from cybernetes.core.api.resource import Context
from cybernetes.core.auth import bootstrap_policy
from cybernetes.core.auth.user import API_SERVER_NAME, MASTERS, User
from cybernetes.core.clock import Clock, Random, format_time
from cybernetes.core.objects import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    NAMESPACES,
    PRIORITY_CLASSES,
    ROLE_BINDINGS,
    ROLES,
    SERVICE_CIDRS,
    Gvr,
    Object,
)
from cybernetes.core.store.interface import Put
from cybernetes.services.apiserver import objectmeta
from cybernetes.services.apiserver.aggregation import registration
from cybernetes.services.apiserver.aggregation.apiservices import API_SERVICES
from cybernetes.services.apiserver.fairness import flows
from cybernetes.services.apiserver.fairness.flows import FLOW_SCHEMAS, PRIORITY_LEVELS
from cybernetes.services.apiserver.fieldmanagers import FieldManagers
from cybernetes.services.apiserver.storage import Storage

SYSTEM_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
_USER = User(API_SERVER_NAME, groups=(MASTERS,))
#: Who manages the fields of what is written here.
_MANAGER = "kube-apiserver"
_RBAC = frozenset({CLUSTER_ROLES, CLUSTER_ROLE_BINDINGS, ROLES, ROLE_BINDINGS})


async def bootstrap(
    storage: Storage, registry: Registry, clock: Clock, random: Random, service_cidrs: Sequence[str]
) -> None:
    """Write what is missing. Another server that does the same at the same time is no harm: what exists stays."""
    operations: list[Put] = []
    fields = FieldManagers(registry, clock)
    for gvr, obj in _wanted(registry, service_cidrs):
        resource = registry.get(gvr)
        if resource is None:
            continue
        metadata = obj["metadata"]
        namespace, name = metadata.get("namespace", ""), metadata["name"]
        cached = storage.cache(resource).get(namespace, name)
        if cached is None:
            objectmeta.begin(metadata, clock.now(), random.uid())
            obj = {"apiVersion": gvr.api_version, "kind": resource.kind, **obj}
            resource.strategy.default(obj)
            fields.of(resource).create(obj, _MANAGER, metadata["creationTimestamp"])
            resource.strategy.prepare_create(obj, Context(clock, random, _USER, namespace))
            if gvr == FLOW_SCHEMAS:
                level = obj["spec"]["priorityLevelConfiguration"]["name"]
                obj["status"] = {"conditions": [flows.with_time(flows.dangling(level, True), format_time(clock.now()))]}
            operations.append(Put(resource.storage_key(namespace, name), codec.encode(obj), 0))
        elif gvr in _RBAC:
            changed = bootstrap_policy.reconciled(obj, cached.object())
            if changed is not None:
                operations.append(Put(resource.storage_key(namespace, name), codec.encode(changed), cached.revision))
    if operations:
        await storage.store.commit(operations)
        await storage.catch_up()


def _wanted(registry: Registry, service_cidrs: Sequence[str]) -> Iterable[tuple[Gvr, Object]]:
    for name in SYSTEM_NAMESPACES:
        labels = {"kubernetes.io/metadata.name": name}
        yield NAMESPACES, {"metadata": {"name": name, "labels": labels}, "spec": {"finalizers": ["kubernetes"]}}
    yield from bootstrap_policy.objects()
    for name, value, text in _PRIORITIES:
        yield PRIORITY_CLASSES, {"metadata": {"name": name}, "value": value, "description": text}
    if service_cidrs:
        yield SERVICE_CIDRS, {"metadata": {"name": "kubernetes"}, "spec": {"cidrs": list(service_cidrs)}}
    for gvr, obj in _flow_control():
        obj["metadata"]["annotations"] = {"apf.kubernetes.io/autoupdate-spec": "true"}
        yield gvr, obj
    for api_service in registration.built_in(registry):
        yield API_SERVICES, api_service


_PRIORITIES = (
    (
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
    (
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
)


def _flow_control() -> Iterable[tuple[Gvr, Object]]:
    """The mandatory and suggested priority levels and flow schemas (documentation "API Priority and Fairness")."""
    yield PRIORITY_LEVELS, {"metadata": {"name": "exempt"}, "spec": {"type": "Exempt"}}
    for name, shares, lendable, queues in _LEVELS:
        response = (
            {"type": "Queue", "queuing": {"queues": queues[0], "handSize": queues[1], "queueLengthLimit": 50}}
            if queues
            else {"type": "Reject"}
        )
        limited = {"nominalConcurrencyShares": shares, "lendablePercent": lendable, "limitResponse": response}
        yield PRIORITY_LEVELS, {"metadata": {"name": name}, "spec": {"type": "Limited", "limited": limited}}
    for schema in _schemas():
        yield FLOW_SCHEMAS, schema


#: name, shares, percent lendable, (queues, hand size) or None for refusing at once
_LEVELS: tuple[tuple[str, int, int, tuple[int, int] | None], ...] = (
    ("catch-all", 5, 0, None),
    ("system", 30, 33, (64, 6)),
    ("node-high", 40, 25, (64, 6)),
    ("leader-election", 10, 0, (16, 4)),
    ("workload-high", 40, 50, (128, 6)),
    ("workload-low", 100, 90, (128, 6)),
    ("global-default", 20, 50, (128, 6)),
)

#: name level precedence distinguisher; then a line a rule: its subjects (G group, U user, S namespace/account, with
#: commas) ; what they ask for (groups:resources:verbs:namespaces, each with slashes between, "-" for the cluster's own)
#: ; "paths" when requests for everything else match too.
_SCHEMAS = """
exempt exempt 1
    G system:masters; *:*:*:*; paths
probes exempt 2
    G system:authenticated,G system:unauthenticated; ; probes
system-leader-election leader-election 100 ByUser
    U system:kube-controller-manager,U system:kube-scheduler,S kube-system/*; \
coordination.k8s.io:leases:get/create/update:*
endpoint-controller workload-high 150 ByUser
    U system:kube-controller-manager,S kube-system/endpoint-controller,S kube-system/endpointslice-controller; \
:endpoints:get/create/update:* discovery.k8s.io:endpointslices:get/create/update:*
workload-leader-election leader-election 200 ByUser
    G system:serviceaccounts; coordination.k8s.io:leases:get/create/update:*
system-node-high node-high 400 ByUser
    G system:nodes; :nodes,nodes/status:*:- coordination.k8s.io:leases:*:*
system-nodes system 500 ByUser
    G system:nodes; *:*:*:*; paths
kube-controller-manager workload-high 800 ByNamespace
    U system:kube-controller-manager; *:*:*:*; paths
kube-scheduler workload-high 800 ByNamespace
    U system:kube-scheduler; *:*:*:*; paths
kube-system-service-accounts workload-high 900 ByNamespace
    S kube-system/*; *:*:*:*; paths
service-accounts workload-low 9000 ByUser
    G system:serviceaccounts; *:*:*:*; paths
global-default global-default 9900 ByUser
    G system:authenticated,G system:unauthenticated; *:*:*:*; paths
catch-all catch-all 10000 ByUser
    G system:authenticated,G system:unauthenticated; *:*:*:*; paths
"""


def _schemas() -> Iterable[Object]:
    """One FlowSchema for each of ``_SCHEMAS``."""
    found: Object = {}
    for line in _SCHEMAS.strip().splitlines():
        if line.startswith(" "):
            found["spec"]["rules"].append(_rule(*line.strip().split("; ")))
            continue
        if found:
            yield found
        name, level, precedence, *distinguisher = line.split()
        spec: Object = {
            "priorityLevelConfiguration": {"name": level},
            "matchingPrecedence": int(precedence),
            "rules": [],
        }
        if distinguisher:
            spec["distinguisherMethod"] = {"type": distinguisher[0]}
        found = {"metadata": {"name": name}, "spec": spec}
    yield found


def _rule(subjects: str, resources: str = "", paths: str = "") -> Object:
    rule: Object = {"subjects": [_subject(text) for text in subjects.split(",")]}
    asked = []
    for text in resources.split():
        groups, names, verbs, namespaces = text.split(":")
        one: Object = {"verbs": verbs.split("/"), "apiGroups": [groups], "resources": names.split(",")}
        if namespaces != "-":
            one["namespaces"] = [namespaces]
        if namespaces == "-" or names == "*":
            one["clusterScope"] = True
        asked.append(one)
    if asked:
        rule["resourceRules"] = asked
    if paths == "paths":
        rule["nonResourceRules"] = [{"verbs": ["*"], "nonResourceURLs": ["*"]}]
    elif paths == "probes":
        rule["nonResourceRules"] = [{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]}]
    return rule


def _subject(text: str) -> Object:
    kind, name = text.split(" ")
    if kind == "G":
        return {"kind": "Group", "group": {"name": name}}
    if kind == "U":
        return {"kind": "User", "user": {"name": name}}
    namespace, _, account = name.partition("/")
    return {"kind": "ServiceAccount", "serviceAccount": {"namespace": namespace, "name": account}}

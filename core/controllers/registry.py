"""Every controller there is, in upstream's order, and which of them run.

A controller is made from the cluster's Settings and has no other dependency; to add one, write its file and list it
here. ``select`` understands what ``--controllers`` takes: ``*`` is all that are on by default, ``name`` turns one on,
``-name`` turns one off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from cybernetes.core.controllers.attach_detach import AttachDetach
from cybernetes.core.controllers.certificate_requests import CsrApproving, CsrCleaner, CsrSigning
from cybernetes.core.controllers.cluster_role_aggregation import ClusterRoleAggregation
from cybernetes.core.controllers.cronjob import CronJobs
from cybernetes.core.controllers.daemonset import DaemonSets
from cybernetes.core.controllers.deployment import Deployments
from cybernetes.core.controllers.disruption import Disruptions
from cybernetes.core.controllers.endpoints import Endpoints
from cybernetes.core.controllers.endpointslice import EndpointSlices
from cybernetes.core.controllers.endpointslice_mirroring import EndpointSliceMirroring
from cybernetes.core.controllers.ephemeral_volume import EphemeralVolumes
from cybernetes.core.controllers.garbage_collector import GarbageCollector
from cybernetes.core.controllers.hpa import Autoscalers
from cybernetes.core.controllers.interface import Controller, Settings
from cybernetes.core.controllers.job import Jobs
from cybernetes.core.controllers.namespace import Namespaces
from cybernetes.core.controllers.node_ipam import NodeIpam
from cybernetes.core.controllers.node_lifecycle import NodeLifecycle
from cybernetes.core.controllers.node_ttl import NodeTtl
from cybernetes.core.controllers.pod_gc import PodGarbageCollector
from cybernetes.core.controllers.protection import AttributesClassProtection, ClaimProtection, VolumeProtection
from cybernetes.core.controllers.replicaset import replica_sets, replication_controllers
from cybernetes.core.controllers.resource_claim import ResourceClaims
from cybernetes.core.controllers.resource_quota import ResourceQuotas
from cybernetes.core.controllers.service_account import RootCaPublisher, ServiceAccounts
from cybernetes.core.controllers.service_account_tokens import ServiceAccountTokens
from cybernetes.core.controllers.service_cidr import ServiceCidrs
from cybernetes.core.controllers.service_lb import LoadBalancers
from cybernetes.core.controllers.statefulset import StatefulSets
from cybernetes.core.controllers.taint_eviction import TaintEviction
from cybernetes.core.controllers.ttl_after_finished import TtlAfterFinished
from cybernetes.core.controllers.volume_binder import VolumeBinder
from cybernetes.core.controllers.volume_expansion import VolumeExpansion

#: None: the settings say that there is nothing for it to do.
Maker = Callable[[Settings], Controller | None]


def _service_account_tokens(settings: Settings) -> Controller | None:
    return ServiceAccountTokens(settings.issue_token, settings.root_ca) if settings.issue_token is not None else None


def _load_balancers(settings: Settings) -> Controller | None:
    return LoadBalancers(settings.load_balancer_pool) if settings.load_balancer_pool else None


CONTROLLERS: Mapping[str, Maker] = {
    "serviceaccount-token-controller": _service_account_tokens,
    "endpoints-controller": lambda settings: Endpoints(),
    "endpointslice-controller": lambda settings: EndpointSlices(settings.max_endpoints_per_slice),
    "endpointslice-mirroring-controller": lambda settings: EndpointSliceMirroring(
        settings.mirroring_max_endpoints_per_subset
    ),
    "replicationcontroller-controller": lambda settings: replication_controllers(),
    "pod-garbage-collector-controller": lambda settings: PodGarbageCollector(settings.terminated_pod_gc_threshold),
    "resourcequota-controller": lambda settings: ResourceQuotas(settings.resources),
    "namespace-controller": Namespaces,
    "serviceaccount-controller": lambda settings: ServiceAccounts(),
    "garbage-collector-controller": GarbageCollector,
    "daemonset-controller": lambda settings: DaemonSets(),
    "job-controller": lambda settings: Jobs(),
    "deployment-controller": lambda settings: Deployments(),
    "replicaset-controller": lambda settings: replica_sets(),
    "horizontal-pod-autoscaler-controller": Autoscalers,
    "disruption-controller": lambda settings: Disruptions(settings.resources),
    "statefulset-controller": lambda settings: StatefulSets(),
    "cronjob-controller": lambda settings: CronJobs(),
    "certificatesigningrequest-signing-controller": CsrSigning,
    "certificatesigningrequest-approving-controller": lambda settings: CsrApproving(),
    "certificatesigningrequest-cleaner-controller": lambda settings: CsrCleaner(),
    "ttl-controller": lambda settings: NodeTtl(),
    "node-ipam-controller": NodeIpam,
    "node-lifecycle-controller": NodeLifecycle,
    "taint-eviction-controller": lambda settings: TaintEviction(),
    "persistentvolume-binder-controller": VolumeBinder,
    "persistentvolume-attach-detach-controller": lambda settings: AttachDetach(),
    "persistentvolume-expander-controller": lambda settings: VolumeExpansion(),
    "clusterrole-aggregation-controller": lambda settings: ClusterRoleAggregation(),
    "persistentvolumeclaim-protection-controller": lambda settings: ClaimProtection(),
    "persistentvolume-protection-controller": lambda settings: VolumeProtection(),
    "volumeattributesclass-protection-controller": lambda settings: AttributesClassProtection(),
    "ttl-after-finished-controller": lambda settings: TtlAfterFinished(),
    "root-ca-certificate-publisher-controller": lambda settings: RootCaPublisher(settings.root_ca),
    "resourceclaim-controller": lambda settings: ResourceClaims(),
    "service-cidr-controller": lambda settings: ServiceCidrs(),
    "service-lb-controller": _load_balancers,
    "ephemeral-volume-controller": lambda settings: EphemeralVolumes(),
}

#: Those that have to be named to run.
OFF_BY_DEFAULT: frozenset[str] = frozenset()

#: Names that older flags use, as upstream's NamesOfControllers aliases.
ALIASES: Mapping[str, str] = {
    "serviceaccount-token": "serviceaccount-token-controller",
    "endpoint": "endpoints-controller",
    "endpointslice": "endpointslice-controller",
    "endpointslicemirroring": "endpointslice-mirroring-controller",
    "replicationcontroller": "replicationcontroller-controller",
    "podgc": "pod-garbage-collector-controller",
    "resourcequota": "resourcequota-controller",
    "namespace": "namespace-controller",
    "serviceaccount": "serviceaccount-controller",
    "garbagecollector": "garbage-collector-controller",
    "daemonset": "daemonset-controller",
    "job": "job-controller",
    "deployment": "deployment-controller",
    "replicaset": "replicaset-controller",
    "horizontalpodautoscaling": "horizontal-pod-autoscaler-controller",
    "disruption": "disruption-controller",
    "statefulset": "statefulset-controller",
    "cronjob": "cronjob-controller",
    "csrsigning": "certificatesigningrequest-signing-controller",
    "csrapproving": "certificatesigningrequest-approving-controller",
    "csrcleaner": "certificatesigningrequest-cleaner-controller",
    "ttl-after-finished": "ttl-after-finished-controller",
    "nodeipam": "node-ipam-controller",
    "nodelifecycle": "node-lifecycle-controller",
    "persistentvolume-binder": "persistentvolume-binder-controller",
    "attachdetach": "persistentvolume-attach-detach-controller",
    "persistentvolume-expander": "persistentvolume-expander-controller",
    "pvc-protection": "persistentvolumeclaim-protection-controller",
    "pv-protection": "persistentvolume-protection-controller",
    "vac-protection": "volumeattributesclass-protection-controller",
    "resource-claim-controller": "resourceclaim-controller",
    "service": "service-lb-controller",
    "ephemeral-volume": "ephemeral-volume-controller",
    "ttl": "ttl-controller",
    "clusterrole-aggregation": "clusterrole-aggregation-controller",
    "root-ca-cert-publisher": "root-ca-certificate-publisher-controller",
}


def select(wanted: Iterable[str]) -> list[str]:
    """The names of the controllers to run, in order. Raises ValueError for a name that there is not."""
    chosen: set[str] = set()
    removed: set[str] = set()
    for text in wanted:
        if text == "*":
            chosen |= CONTROLLERS.keys() - OFF_BY_DEFAULT
            continue
        name = text.removeprefix("-")
        name = ALIASES.get(name, name)
        if name not in CONTROLLERS:
            raise ValueError(f"there is no controller {name!r}; there are: {', '.join(CONTROLLERS)}")
        (removed if text.startswith("-") else chosen).add(name)
    return [name for name in CONTROLLERS if name in chosen - removed]

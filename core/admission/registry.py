"""Every plugin, in the order in which upstream asks them, and which of them take part.

Webhooks and admission policies belong between the last that judges and ResourceQuota, which counts.
"""

from __future__ import annotations

from collections.abc import Collection

from cybernetes.core.admission.certificates import (
    CertificateApproval,
    CertificateSigning,
    CertificateSubjectRestriction,
)
from cybernetes.core.admission.contract import Charging, Mutating, Validating
from cybernetes.core.admission.default_ingress_class import DefaultIngressClass
from cybernetes.core.admission.default_toleration_seconds import DefaultTolerationSeconds
from cybernetes.core.admission.deny_service_external_ips import DenyServiceExternalIPs
from cybernetes.core.admission.limit_ranger import LimitRanger
from cybernetes.core.admission.namespace_lifecycle import NamespaceLifecycle
from cybernetes.core.admission.node_restriction import NodeRestriction
from cybernetes.core.admission.pod_resize import PodResizeValidator
from cybernetes.core.admission.pod_topology_labels import PodTopologyLabels
from cybernetes.core.admission.podsecurity import PodSecurity
from cybernetes.core.admission.priority import Priority
from cybernetes.core.admission.quota import ResourceQuota
from cybernetes.core.admission.runtime_class import RuntimeClass
from cybernetes.core.admission.service_account import ServiceAccount
from cybernetes.core.admission.storage import (
    DefaultStorageClass,
    PersistentVolumeClaimResize,
    StorageObjectInUseProtection,
)
from cybernetes.core.admission.taint_nodes_by_condition import TaintNodesByCondition

Plugin = Mutating | Validating | Charging

#: One instance serves all clusters of the process: plugins have no state.
PLUGINS: tuple[Plugin, ...] = (
    NamespaceLifecycle(),
    LimitRanger(),
    ServiceAccount(),
    NodeRestriction(),
    TaintNodesByCondition(),
    PodSecurity(),
    Priority(),
    DefaultTolerationSeconds(),
    DefaultStorageClass(),
    StorageObjectInUseProtection(),
    PersistentVolumeClaimResize(),
    RuntimeClass(),
    CertificateApproval(),
    CertificateSigning(),
    CertificateSubjectRestriction(),
    DefaultIngressClass(),
    PodTopologyLabels(),
    DenyServiceExternalIPs(),
    PodResizeValidator(),
    ResourceQuota(),
)
#: Those that are asked only where somebody wants them.
OPTIONAL = frozenset({"DenyServiceExternalIPs"})


def select(enabled: Collection[str] = (), disabled: Collection[str] = ()) -> tuple[Plugin, ...]:
    """What ``--enable-admission-plugins`` and ``--disable-admission-plugins`` leave; order is ours, not theirs.

    Raises ValueError for a name that is unknown, or in both.
    """
    known = {plugin.name for plugin in PLUGINS}
    for name in (*enabled, *disabled):
        if name not in known:
            raise ValueError(f"{name} is unknown; there are {', '.join(sorted(known))}")
    both = sorted(set(enabled) & set(disabled))
    if both:
        raise ValueError(f"{', '.join(both)} in both enabled and disabled")
    off = (OPTIONAL - set(enabled)) | set(disabled)
    return tuple(plugin for plugin in PLUGINS if plugin.name not in off)

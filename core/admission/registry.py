"""Every plugin that is on by default and NodeRestriction, in the order in which upstream asks them.

Webhooks and admission policies belong between the last that judges and ResourceQuota, which counts.
"""

from __future__ import annotations

from cybernetes.core.admission.certificates import (
    CertificateApproval,
    CertificateSigning,
    CertificateSubjectRestriction,
)
from cybernetes.core.admission.contract import Charging, Mutating, Validating
from cybernetes.core.admission.default_ingress_class import DefaultIngressClass
from cybernetes.core.admission.default_toleration_seconds import DefaultTolerationSeconds
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

#: One instance serves all clusters of the process: plugins have no state.
PLUGINS: tuple[Mutating | Validating | Charging, ...] = (
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
    PodResizeValidator(),
    ResourceQuota(),
)

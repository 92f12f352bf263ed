"""Defaults of apps/v1 (``pkg/apis/apps/v1/defaults.go``)."""

from __future__ import annotations

from cybernetes.core.api.defaulting.core import default_persistent_volume_claim
from cybernetes.core.api.defaulting.pods import default_template
from cybernetes.core.api.defaulting.values import child, items, set_all
from cybernetes.core.objects import Object


def default_deployment(deployment: Object) -> None:
    spec = child(deployment, "spec")
    set_all(spec, {"replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600})
    strategy = child(spec, "strategy")
    set_all(strategy, {"type": "RollingUpdate"})
    if strategy["type"] == "RollingUpdate":
        set_all(child(strategy, "rollingUpdate"), {"maxUnavailable": "25%", "maxSurge": "25%"})
    default_template(child(spec, "template"))


def default_replica_set(replica_set: Object) -> None:
    spec = child(replica_set, "spec")
    set_all(spec, {"replicas": 1})
    default_template(child(spec, "template"))


def default_daemon_set(daemon_set: Object) -> None:
    spec = child(daemon_set, "spec")
    strategy = child(spec, "updateStrategy")
    set_all(strategy, {"type": "RollingUpdate"})
    if strategy["type"] == "RollingUpdate":
        set_all(child(strategy, "rollingUpdate"), {"maxUnavailable": 1, "maxSurge": 0})
    set_all(spec, {"revisionHistoryLimit": 10})
    default_template(child(spec, "template"))


def default_stateful_set(stateful_set: Object) -> None:
    spec = child(stateful_set, "spec")
    set_all(spec, {"podManagementPolicy": "OrderedReady", "replicas": 1, "revisionHistoryLimit": 10})
    strategy = child(spec, "updateStrategy")
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
        child(strategy, "rollingUpdate")
    rolling_update = strategy.get("rollingUpdate")
    if strategy["type"] == "RollingUpdate" and rolling_update is not None:
        set_all(rolling_update, {"partition": 0})
    retention = child(spec, "persistentVolumeClaimRetentionPolicy")
    set_all(retention, {"whenDeleted": "Retain", "whenScaled": "Retain"})
    default_template(child(spec, "template"))
    for claim in items(spec, "volumeClaimTemplates"):
        claim["apiVersion"], claim["kind"] = "v1", "PersistentVolumeClaim"
        default_persistent_volume_claim(claim)

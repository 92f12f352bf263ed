"""Deployments: ReplicaSets that follow a template, one revision after another.

One reconcile, in upstream's order (pkg/controller/deployment): claim the ReplicaSets; a Deployment that is being
deleted only gets its status; note a pause; a paused or resized one is scaled; one that asks for a rollback is rolled
back; else the rollout goes one step further, by the strategy:

    RollingUpdate   grow the new set if there is room; otherwise shrink old ones if enough is available
    Recreate        shrink all old sets, wait until none of their pods runs, then create and grow the new set

Every step ends with the status. The next step follows from what has changed then: a crash at any point loses nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from cybernetes.core.controllers import deployment_math as sums
from cybernetes.core.controllers.deployment_rollout import API_VERSION, KIND, Rollout
from cybernetes.core.controllers.interface import Emit, Steps, View, Watch, own_key
from cybernetes.core.controllers.ownership import OwnerGone, claim, keys_of_owned, owned_and_orphans
from cybernetes.core.controllers.pods import is_terminal
from cybernetes.core.labels import Selector
from cybernetes.core.objects import (
    DEPLOYMENTS,
    PODS,
    REPLICA_SETS,
    Object,
    clone,
    controller_of,
    object_reference,
    split_key,
)


def selector_of(deployment: Object) -> Selector:
    selector = Selector.from_object(deployment["spec"].get("selector"))
    return Selector.nothing() if selector.is_empty else selector


def _keys_of_pod(old: Object | None, new: Object | None, view: View) -> Iterable[str]:
    """A Recreate rollout waits for the old pods: it is told when one has finished or gone."""
    if old is None or (new is not None and (is_terminal(old) or not is_terminal(new))):
        return ()
    reference = controller_of(old)
    if reference is None or reference.get("kind") != "ReplicaSet":
        return ()
    namespace = old["metadata"]["namespace"]
    replica_set = view.get(REPLICA_SETS, namespace, reference["name"])
    owner = controller_of(replica_set) if replica_set is not None else None
    if owner is None or owner.get("kind") != KIND:
        return ()
    deployment = view.get(DEPLOYMENTS, namespace, owner["name"])
    if deployment is None or sums.is_rolling(deployment):
        return ()
    return (f"{namespace}/{owner['name']}",)


class Deployments:
    name = "deployment-controller"
    service_account = "deployment-controller"
    workers = 5
    watches = (
        Watch(DEPLOYMENTS, own_key),
        Watch(REPLICA_SETS, keys_of_owned(DEPLOYMENTS, KIND, selector_of)),
        Watch(PODS, _keys_of_pod),
    )

    def reconcile(self, key: str, view: View, now: float) -> Steps:
        namespace, name = split_key(key)
        found = view.get(DEPLOYMENTS, namespace, name)
        if found is None:
            return
        deployment = {**clone(found), "apiVersion": API_VERSION, "kind": KIND}
        if deployment["spec"].get("selector") == {}:
            message = "This deployment is selecting all pods. A non-empty selector is required."
            yield Emit(object_reference(deployment, API_VERSION, KIND), "Warning", "SelectingAll", message)
            return
        selector = selector_of(deployment)
        try:
            sets = yield from claim(
                REPLICA_SETS,
                owned_and_orphans(view, REPLICA_SETS, deployment, selector),
                owner=deployment,
                owner_gvr=DEPLOYMENTS,
                owner_kind=KIND,
                selector=selector,
            )
        except OwnerGone:
            return
        yield from Rollout(deployment, sets, view, now).run()

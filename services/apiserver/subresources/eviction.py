"""``pods/eviction``: a deletion that asks the pod's disruption budget first (KEP-85).

A budget is spent by compare-and-set on its status, so two evictions cannot spend the same disruption; the controller
gives it back when the pod has gone, or after two minutes when it did not go.
"""

from __future__ import annotations

from cybernetes.core.clock import format_time
from cybernetes.core.errors import ApiError, bad_request, failure, forbidden, is_conflict, not_found, too_many_requests
from cybernetes.core.labels import Selector
from cybernetes.core.objects import POD_DISRUPTION_BUDGETS, Gvk, Object, is_condition_true, labels_of
from cybernetes.core.store.cached import Selection
from cybernetes.services.apiserver import body
from cybernetes.services.apiserver.backend import Backend
from cybernetes.services.apiserver.call import Call, Document
from cybernetes.services.apiserver.handlers.delete import Options, check_preconditions, delete_object, options_of
from cybernetes.services.apiserver.handlers.update import rewrite
from cybernetes.services.apiserver.subresources.binding import set_condition, succeeded

_EVICTION = Gvk("policy", "v1", "Eviction")
#: More pods than this may not be on their way out through one budget at a time.
_DISRUPTED_PODS_MAX = 2000


async def evict(backend: Backend, call: Call) -> Document:
    """POST pods/NAME/eviction. Raises ApiError 400, 404, 409, 429."""
    eviction = body.read_kind(call, _EVICTION)
    if (eviction.get("metadata") or {}).get("name") != call.name:
        raise bad_request("name in URL does not match name in Eviction object")
    admission = backend.admitting.begin(call, call.resource, "CREATE", eviction, None)
    await admission.mutate()
    await admission.validate()
    options = options_of(eviction.get("deleteOptions") or {})
    is_dry_run = options.is_dry_run or call.is_dry_run
    current = await backend.storage.current(call.resource, call.namespace, call.name)
    if current is None:
        raise not_found("", "pods", call.name)
    pod = current.decode()
    budget_name = ""
    must_be_same = False
    if not _needs_no_budget(pod):
        budgets = _budgets_of(backend, pod)
        if len(budgets) > 1:
            message = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
            raise failure(500, "", message)
        if budgets:
            budget_name = budgets[0]["metadata"]["name"]
            must_be_same = _may_go_unhealthy(pod, budgets[0])
            if not must_be_same:
                await _spend(backend, pod, budget_name, is_dry_run)
    if must_be_same and not options.revision:
        options = options._replace(revision=pod["metadata"]["resourceVersion"])
    try:
        await _delete(backend, call, options, is_dry_run)
    except ApiError as error:
        if must_be_same and is_conflict(error):
            raise _refusal(budget_name) from None
        raise
    return succeeded()


async def _delete(backend: Backend, call: Call, options: Options, is_dry_run: bool) -> None:
    """Say in the pod's status why it goes, then delete it."""
    one = Call("delete", call.resource, None, call.namespace, call.name, call.user, call.query, call.user_agent)
    if is_dry_run:
        await delete_object(backend, one, options._replace(is_dry_run=True))
        return
    now = format_time(backend.clock.now())

    def mark(pod: Object) -> None:
        check_preconditions(one.resource, one.name, options, pod["metadata"])
        reason = {"reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting"}
        set_condition(pod, {"type": "DisruptionTarget", "status": "True", **reason}, now)

    item = await rewrite(backend, call.resource, call.namespace, call.name, mark)
    if options.revision:
        options = options._replace(revision=str(item.revision))
    await delete_object(backend, one, options)


def _needs_no_budget(pod: Object) -> bool:
    """A pod that does not serve (any more) disrupts nothing by going."""
    phase = (pod.get("status") or {}).get("phase")
    return phase in ("Succeeded", "Failed", "Pending") or "deletionTimestamp" in pod["metadata"]


def _budgets_of(backend: Backend, pod: Object) -> list[Object]:
    cache = backend.storage.cache_of(POD_DISRUPTION_BUDGETS)
    labels = labels_of(pod)
    found = []
    for cached in cache.list(Selection(pod["metadata"]["namespace"])).records:
        budget = cached.object()
        selector = budget["spec"].get("selector")
        if selector is not None and Selector.from_object(selector).matches(labels):
            found.append(budget)
    return found


def _may_go_unhealthy(pod: Object, budget: Object) -> bool:
    """A pod that is not ready counts for no budget, if the budget's policy or state lets it go."""
    if is_condition_true(pod, "Ready"):
        return False
    if budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    status = budget.get("status") or {}
    desired = status.get("desiredHealthy") or 0
    return desired > 0 and (status.get("currentHealthy") or 0) >= desired


async def _spend(backend: Backend, pod: Object, name: str, is_dry_run: bool) -> None:
    """Take one disruption from the budget. Raises ApiError 429 when there is none."""
    namespace, pod_name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    now = format_time(backend.clock.now())

    def take(budget: Object) -> None:
        status = budget.setdefault("status", {})
        if (status.get("observedGeneration") or 0) < (budget["metadata"].get("generation") or 0):
            raise _refusal(name)
        allowed = status.get("disruptionsAllowed") or 0
        disrupted = status.get("disruptedPods") or {}
        if allowed < 0:
            raise forbidden("policy", "poddisruptionbudgets", name, "pdb disruptions allowed is negative")
        if len(disrupted) > _DISRUPTED_PODS_MAX:
            why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
            raise forbidden("policy", "poddisruptionbudgets", name, why)
        if allowed == 0:
            refusal = too_many_requests("Cannot evict pod as it would violate the pod's disruption budget.", 0)
            refusal.retry_after_s = None
            needed, healthy = status.get("desiredHealthy") or 0, status.get("currentHealthy") or 0
            message = f"The disruption budget {name} needs {needed} healthy pods and has {healthy} currently"
            refusal.status["details"] = {"causes": [{"reason": "DisruptionBudget", "message": message}]}
            raise refusal
        status["disruptionsAllowed"] = allowed - 1
        status["disruptedPods"] = {**disrupted, pod_name: now}

    budgets = backend.registry.get(POD_DISRUPTION_BUDGETS)
    assert budgets is not None
    if is_dry_run:
        current = await backend.storage.current(budgets, namespace, name)
        if current is not None:
            take(current.decode())
        return
    await rewrite(backend, budgets, namespace, name, take)


def _refusal(name: str) -> ApiError:
    refusal = too_many_requests("Cannot evict pod as it would violate the pod's disruption budget.", 10)
    cause = {
        "reason": "DisruptionBudget",
        "message": f"The disruption budget {name} is still being processed by the server.",
    }
    refusal.status["details"]["causes"] = [cause]
    return refusal

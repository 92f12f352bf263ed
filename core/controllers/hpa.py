"""HorizontalPodAutoscalers: every 15 seconds, as many replicas as the busiest metric asks for, within the bounds.

    scale        read from the target's subresource, and written there
    metrics      each proposes a size (``hpa_metrics``, ``hpa_math``); the largest counts. When one cannot be read the
                 others may still grow the target, but not shrink it
    behavior     how fast the size may follow (``hpa_behavior``)
    status       AbleToScale, ScalingActive, ScalingLimited, the current metrics

Two autoscalers must not drive the same pods: both stop and say so. A target of size 0 is switched off. Upstream:
pkg/controller/podautoscaler.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Any

from cybernetes.core.clock import format_time
from cybernetes.core.controllers.conditions import set_meta_condition
from cybernetes.core.controllers.hpa_behavior import History
from cybernetes.core.controllers.hpa_math import Tolerances
from cybernetes.core.controllers.hpa_metrics import Failure, Proposal, Served, Target, propose
from cybernetes.core.controllers.interface import Action, Again, Emit, Get, Settings, Steps, Update, View, Watch
from cybernetes.core.controllers.pods import matching_pods
from cybernetes.core.errors import ApiError, is_conflict
from cybernetes.core.labels import Selector, SelectorError
from cybernetes.core.objects import (
    HORIZONTAL_POD_AUTOSCALERS,
    PODS,
    Gvr,
    Object,
    key_of,
    labels_of,
    object_reference,
    split_key,
)
from cybernetes.core.quantity import QuantityError, parse

SYNC_S = 15.0
TOLERANCE = 0.1
#: How often a scale is written again after a conflict.
CONFLICTS_MAX = 5


class _Stop(Exception):
    """The autoscaler can do nothing now: conditions and events say why."""


class Autoscalers:
    name = "horizontal-pod-autoscaler-controller"
    service_account = "horizontal-pod-autoscaler"
    workers = 5

    def __init__(self, settings: Settings) -> None:
        self._resources = settings.resources
        self.watches = (Watch(HORIZONTAL_POD_AUTOSCALERS, self._keys), Watch(PODS))
        #: By key: what was recommended lately, and which pods each autoscaler drives.
        self._histories: dict[str, History] = {}
        self._selectors: dict[str, Selector] = {}

    def _keys(self, old: Object | None, new: Object | None, view: View) -> Iterable[str]:
        if new is not None and old is not None and old.get("spec") == new.get("spec"):
            return ()
        obj = new if new is not None else old
        return (key_of(obj),) if obj is not None else ()

    def reconcile(self, key: str, view: View, now: float) -> Steps:
        hpa = view.get(HORIZONTAL_POD_AUTOSCALERS, *split_key(key))
        if hpa is None:
            self._histories.pop(key, None)
            self._selectors.pop(key, None)
            return
        self._selectors.setdefault(key, Selector.nothing())
        yield Again(SYNC_S)
        yield from _Look(self, hpa, view, now).run()

    def history(self, key: str, current: int, now: float) -> History:
        found = self._histories.get(key)
        if found is None:
            found = self._histories[key] = History(current, now)
        return found

    def drivers_of(self, pods: Sequence[Object], namespace: str) -> list[str]:
        """The keys of all autoscalers that select one of the pods."""
        near = {key: selector for key, selector in self._selectors.items() if split_key(key)[0] == namespace}
        if len(near) == 1:
            return list(near)
        return sorted(key for key, one in near.items() if any(one.matches(labels_of(pod)) for pod in pods))

    def drive(self, key: str, selector: Selector) -> None:
        self._selectors[key] = selector

    def find(self, group: str, kind: str) -> Gvr | None:
        served: Sequence[Served] = self._resources()
        return next((gvr for gvr, known, _ in served if known == kind and gvr.group == group), None)

    @property
    def resources(self) -> Callable[[], Sequence[Served]]:
        return self._resources


class _Look:
    """One look at one autoscaler."""

    def __init__(self, controller: Autoscalers, hpa: Object, view: View, now: float) -> None:
        self.controller = controller
        self.hpa = hpa
        self.view = view
        self.now = now
        self.key = key_of(hpa)
        self.namespace, self.name = split_key(self.key)
        self.spec: Mapping[str, Any] = hpa["spec"]
        self.status: dict[str, Any] = dict(hpa.get("status") or {})

    def run(self) -> Steps:
        try:
            yield from self._scale()
        except _Stop:
            yield from self._write()

    def _event(self, kind: Any, reason: str, message: str) -> Emit:
        reference = object_reference(self.hpa, "autoscaling/v2", "HorizontalPodAutoscaler")
        return Emit(reference, kind, reason, message)

    def _condition(self, kind: str, status: str, reason: str, message: str) -> None:
        conditions = self.status.get("conditions") or []
        self.status["conditions"] = set_meta_condition(conditions, kind, status, reason, message, self.now)

    def _write(self) -> Steps:
        if self.status == (self.hpa.get("status") or {}):
            return
        kind = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler"}
        try:
            yield Update(HORIZONTAL_POD_AUTOSCALERS, {**self.hpa, **kind, "status": self.status}, "status")
        except ApiError as error:
            yield self._event("Warning", "FailedUpdateStatus", str(error))
            raise

    def _set_status(self, current: int, desired: int, metrics: Sequence[Mapping[str, Any]]) -> None:
        old, self.status = self.status, {"desiredReplicas": desired}
        for name in ("lastScaleTime", "conditions"):
            if name in old:
                self.status[name] = old[name]
        if current:
            self.status["currentReplicas"] = current
        if metrics:
            self.status["currentMetrics"] = [dict(one) for one in metrics]

    # Steps.

    def _scale(self) -> Steps:
        gvr, scale = yield from self._read_scale()
        self._condition(
            "AbleToScale",
            "True",
            "SucceededGetScale",
            "the HPA controller was able to get the target's current scale",
        )
        current = int((scale.get("spec") or {}).get("replicas") or 0)
        history = self.controller.history(self.key, current, self.now)
        least, most = self.spec.get("minReplicas"), int(self.spec["maxReplicas"])
        least = 1 if least is None else int(least)
        metrics: list[dict[str, Any]] = []
        desired, why = current, ""
        if current == 0:
            message = "scaling is disabled since the replica count of the target is zero"
            self._condition("ScalingActive", "False", "ScalingDisabled", message)
        elif current > most:
            desired, why = most, "Current number of replicas above Spec.MaxReplicas"
        elif current < least:
            desired, why = least, "Current number of replicas below Spec.MinReplicas"
        else:
            proposal, metrics = yield from self._propose(scale, current)
            if proposal.replicas > current:
                why = f"{proposal.name} above target"
            elif proposal.replicas < current:
                why = "All metrics below target"
            behavior = self.spec.get("behavior")
            verdict = history.normalize(behavior, current, proposal.replicas, least, most, self.now)
            self._condition("AbleToScale", "True", *verdict.able)
            self._condition("ScalingLimited", str(verdict.is_limited), *verdict.limited)
            desired = verdict.replicas
        if desired != current:
            yield from self._rescale(gvr, scale, current, desired, why, metrics)
            history.scaled(self.spec.get("behavior"), current, desired, self.now)
        self._set_status(current, desired, metrics)
        if desired != current:
            self.status["lastScaleTime"] = format_time(self.now)
        yield from self._write()

    def _read_scale(self) -> Generator[Action, Any, tuple[Gvr, Object]]:
        reference = self.spec["scaleTargetRef"]
        version, kind = str(reference.get("apiVersion") or ""), str(reference.get("kind") or "")
        group = version.rpartition("/")[0]
        gvr = None
        if version.count("/") > 1:
            why = f"unexpected GroupVersion string: {version}"
        else:
            gvr = self.controller.find(group, kind)
            why = f'no matches for kind "{kind}" in group "{group}"'
        if gvr is not None:
            try:
                scale = yield Get(gvr, reference["name"], self.namespace, "scale")
            except (ApiError, ConnectionError) as error:
                why = str(error)
            else:
                return gvr, scale
        yield self._event("Warning", "FailedGetScale", why)
        message = f"the HPA controller was unable to get the target's current scale: {why}"
        self._condition("AbleToScale", "False", "FailedGetScale", message)
        raise _Stop

    def _propose(self, scale: Object, current: int) -> Generator[Action, Any, tuple[Proposal, list[dict[str, Any]]]]:
        """The largest size that a metric asks for, and the status of all. Raises _Stop when none may be followed."""
        specs = self.spec.get("metrics") or ()
        statuses: list[dict[str, Any]] = []
        try:
            target = yield from self._target(scale, current)
        except _Stop:
            self._set_status(current, int(self.status.get("desiredReplicas") or 0), ())
            raise
        best: Proposal | None = None
        failures: list[Failure] = []
        for spec in specs:
            try:
                proposal = yield from propose(spec, target)
            except Failure as failure:
                yield self._event("Warning", failure.reason, failure.cause)
                failures.append(failure)
                statuses.append({"type": ""})
                continue
            statuses.append(proposal.status)
            if best is None or proposal.replicas > best.replicas:
                best = proposal
        if best is None or (failures and best.replicas < current):
            first = failures[0] if failures else Failure("InvalidMetricSourceType", "no metrics", "no metrics")
            message = f"the HPA was unable to compute the replica count: {first.cause}"
            self._condition("ScalingActive", "False", first.reason, message)
            self._set_status(current, int(self.status.get("desiredReplicas") or 0), statuses)
            text = f"invalid metrics ({len(failures)} invalid out of {len(specs)}), first error is: {first}"
            yield self._event("Warning", "FailedComputeMetricsReplicas", text)
            raise _Stop
        message = f"the HPA was able to successfully calculate a replica count from {best.name}"
        self._condition("ScalingActive", "True", "ValidMetricFound", message)
        return best, statuses

    def _target(self, scale: Object, current: int) -> Generator[Action, Any, Target]:
        status = scale.get("status") or {}
        text = str(status.get("selector") or "")
        if not text:
            yield from self._refuse(
                "SelectorRequired",
                "selector is required",
                "InvalidSelector",
                "the HPA target's scale is missing a selector",
            )
        try:
            selector = Selector.parse(text)
        except SelectorError as error:
            why = f"couldn't convert selector into a corresponding internal selector object: {error}"
            yield from self._refuse("InvalidSelector", why, "InvalidSelector", why)
        self.controller.drive(self.key, selector)
        pods = matching_pods(self.view, self.namespace, selector)
        drivers = self.controller.drivers_of(pods, self.namespace)
        if len(drivers) > 1:
            listed = " ".join(f"{{{split_key(key)[1]} {split_key(key)[0]}}}" for key in drivers)
            why = f"pods by selector {text} are controlled by multiple HPAs: [{listed}]"
            yield from self._refuse("AmbiguousSelector", why, "AmbiguousSelector", why)
        return Target(
            self.namespace,
            selector,
            pods,
            current,
            int(status.get("replicas") or 0),
            self._tolerances(),
            self.now,
            self.controller.resources(),
        )

    def _refuse(self, event_reason: str, text: str, reason: str, message: str) -> Steps:
        yield self._event("Warning", event_reason, text)
        self._condition("ScalingActive", "False", reason, message)
        yield self._event("Warning", "FailedComputeMetricsReplicas", text)
        raise _Stop

    def _tolerances(self) -> Tolerances:
        behavior = self.spec.get("behavior") or {}

        def of(name: str) -> float:
            found = (behavior.get(name) or {}).get("tolerance")
            try:
                return TOLERANCE if found is None else parse(found).nanos / 1e9
            except QuantityError:
                return TOLERANCE

        return Tolerances(of("scaleDown"), of("scaleUp"))

    def _rescale(
        self, gvr: Gvr, scale: Object, current: int, desired: int, why: str, metrics: Sequence[Mapping[str, Any]]
    ) -> Steps:
        for attempt in range(CONFLICTS_MAX):
            changed = {**scale, "spec": {**(scale.get("spec") or {}), "replicas": desired}}
            try:
                yield Update(gvr, changed, "scale")
            except (ApiError, ConnectionError) as error:
                if is_conflict(error) and attempt < CONFLICTS_MAX - 1:
                    scale = yield Get(gvr, self.spec["scaleTargetRef"]["name"], self.namespace, "scale")
                    continue
                message = f"New size: {desired}; reason: {why}; error: {error}"
                yield self._event("Warning", "FailedRescale", message)
                text = f"the HPA controller was unable to update the target scale: {error}"
                self._condition("AbleToScale", "False", "FailedUpdateScale", text)
                self._set_status(current, int(self.status.get("desiredReplicas") or 0), metrics)
                raise _Stop from error
            break
        message = f"the HPA controller was able to update the target scale to {desired}"
        self._condition("AbleToScale", "True", "SucceededRescale", message)
        yield self._event("Normal", "SuccessfulRescale", f"New size: {desired}; reason: {why}")

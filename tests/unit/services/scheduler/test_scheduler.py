from __future__ import annotations

from typing import Any

import pytest
from schedulerworld import SCHEDULER, World, eventually, node, pod

from cybernetes.core.clock import ManualClock, Random
from cybernetes.core.errors import conflict
from cybernetes.core.objects import NODES, PODS, Gvr, Object, condition
from cybernetes.core.scheduling.profile import Profile
from cybernetes.services.common.directclient import DirectClient
from cybernetes.services.common.metrics import Metrics

HIGH = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "high"}, "value": 1000}
PRIORITY_CLASSES = Gvr("scheduling.k8s.io", "v1", "priorityclasses")


class Faulty:
    """The scheduler's client; ``fault`` is asked before each binding, and ``after`` after it."""

    def __init__(self, client: DirectClient) -> None:
        self._client = client
        self.fault: Any = None
        self.after: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def create(self, gvr: Gvr, obj: Object, namespace: str = "", **more: Any) -> Object:
        if more.get("subresource") == "binding" and self.fault is not None:
            fault, self.fault = self.fault, None
            raise fault
        answer = await self._client.create(gvr, obj, namespace, **more)
        if more.get("subresource") == "binding" and self.after is not None:
            after, self.after = self.after, None
            raise after
        return answer


@pytest.fixture
def faulty(world: World) -> Faulty:
    return Faulty(DirectClient(world.server, SCHEDULER, "scheduler"))


async def test_pods_are_bound_and_it_is_told(world: World) -> None:
    await world.add_nodes(node("n1"), node("n2"))
    await world.scheduler()
    await world.add_pods(pod("a"), pod("b"))
    assert {await eventually(lambda: world.node_of("a")), await eventually(lambda: world.node_of("b"))} == {"n1", "n2"}
    where = await world.node_of("a")
    events = await eventually(lambda: world.events("a"))
    assert events == [("Scheduled", f"Successfully assigned default/a to {where}")]
    found = await world.pod("a")
    assert found is not None
    scheduled = condition(found, "PodScheduled")
    assert scheduled is not None
    assert scheduled["status"] == "True"


async def test_pods_that_fit_nowhere_say_why_and_go_when_they_can(world: World) -> None:
    await world.add_nodes(node("n1", cpu="1"))
    service = await world.scheduler()
    await world.add_pods(pod("big", cpu="2"))
    message = (
        "0/1 nodes are available: 1 Insufficient cpu."
        " no new claims to deallocate,"
        " preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
    )

    async def unscheduled() -> Object | None:
        found = await world.pod("big")
        return None if found is None else condition(found, "PodScheduled")

    found = await eventually(unscheduled)
    assert (found["status"], found["reason"], found["message"]) == ("False", "Unschedulable", message)
    assert (await eventually(lambda: world.events("big")))[0] == ("FailedScheduling", message)
    assert service.engine.queue.counts["unschedulable"] == 1
    await world.add_nodes(node("n2"))
    assert await eventually(lambda: world.node_of("big")) == "n2"


async def test_a_deleted_pod_makes_room(world: World) -> None:
    await world.add_nodes(node("n1", cpu="1"))
    await world.scheduler()
    await world.add_pods(pod("a"))
    await eventually(lambda: world.node_of("a"))
    await world.add_pods(pod("b"))
    await eventually(lambda: world.events("b"))
    assert await world.node_of("b") == ""
    await world.client.delete(PODS, "a", "default", grace_period_s=0)
    assert await eventually(lambda: world.node_of("b")) == "n1"


async def test_gates(world: World) -> None:
    await world.add_nodes(node("n1"))
    await world.scheduler()
    await world.add_pods(pod("gated", schedulingGates=[{"name": "example.com/g"}]), pod("free"))
    await eventually(lambda: world.node_of("free"))
    assert await world.node_of("gated") == ""
    await world.client.patch(PODS, "gated", {"spec": {"schedulingGates": None}}, "default")
    assert await eventually(lambda: world.node_of("gated")) == "n1"


async def test_pods_of_other_schedulers_are_left_alone_but_count(world: World) -> None:
    await world.add_nodes(node("n1", cpu="2"))
    service = await world.scheduler()
    await world.add_pods(pod("theirs", schedulerName="other"), pod("ours"))
    await eventually(lambda: world.node_of("ours"))
    assert await world.node_of("theirs") == ""
    binding = {"metadata": {"name": "theirs"}, "target": {"kind": "Node", "name": "n1"}}
    await world.client.create(PODS, binding, "default", name="theirs", subresource="binding")

    async def is_full() -> bool:
        return service.engine.scheduler.nodes["n1"].requested.get("cpu") == 2000

    await eventually(is_full)
    await world.add_pods(pod("late"))
    reason, message = (await eventually(lambda: world.events("late")))[0]
    assert reason == "FailedScheduling"
    assert message.startswith("0/1 nodes are available: 1 Insufficient cpu.")


async def test_profiles_by_scheduler_name(world: World) -> None:
    await world.add_nodes(node("cordoned", unschedulable=True))
    disabled = [{"name": "NodeUnschedulable"}, {"name": "TaintToleration"}]
    careless = {"schedulerName": "careless", "plugins": {"filter": {"disabled": disabled}}}
    await world.scheduler(profiles=(Profile(), Profile.from_object(careless)))
    await world.add_pods(pod("careful"), pod("careless", schedulerName="careless"))
    assert await eventually(lambda: world.node_of("careless")) == "cordoned"
    assert await world.node_of("careful") == ""


async def test_a_binding_that_is_refused_is_tried_again(world: World, faulty: Faulty) -> None:
    await world.add_nodes(node("n1", cpu="1"))
    service = await world.scheduler(faulty)
    faulty.fault = conflict("", "pods", "a", "not now")
    await world.add_pods(pod("a"))
    events = await eventually(lambda: world.events("a"))
    assert events[0][0] == "FailedScheduling"
    assert "not now" in events[0][1]
    assert service.engine.queue.counts["backoff"] == 1
    assert service.engine.scheduler.nodes["n1"].requested == {}  # what was assumed is given back
    world.clock.advance(1)
    service._wake.set()
    assert await eventually(lambda: world.node_of("a")) == "n1"


async def test_a_binding_whose_answer_is_lost_is_looked_up(world: World, faulty: Faulty) -> None:
    await world.add_nodes(node("n1", cpu="1"), node("n2", cpu="1"))
    service = await world.scheduler(faulty)
    faulty.after = ConnectionError("the line was cut")
    await world.add_pods(pod("a"), pod("b"))
    nodes = {await eventually(lambda: world.node_of("a")), await eventually(lambda: world.node_of("b"))}
    assert nodes == {"n1", "n2"}

    async def all_confirmed() -> bool:
        table = service.engine.table
        return len(service.engine.queue) == 0 and all(not record.is_assumed for record in table.pods.values())

    await eventually(all_confirmed)
    assert len(service.engine.table.pods) == 2


async def test_a_binding_that_never_arrived_is_tried_again(world: World, faulty: Faulty) -> None:
    await world.add_nodes(node("n1", cpu="1"))
    service = await world.scheduler(faulty)
    faulty.fault = ConnectionError("the line was cut")
    await world.add_pods(pod("a"))
    await eventually(lambda: world.events("a"))
    world.clock.advance(1)
    service._wake.set()
    assert await eventually(lambda: world.node_of("a")) == "n1"


async def test_preemption(world: World) -> None:
    await world.add(PRIORITY_CLASSES, HIGH)
    await world.add_nodes(node("n1", cpu="1"))
    await world.scheduler()
    await world.add_pods(pod("low"))
    await eventually(lambda: world.node_of("low"))
    await world.add_pods(pod("high", priorityClassName="high"))
    assert await eventually(lambda: world.node_of("high")) == "n1"
    assert await world.pod("low") is None
    found = await world.pod("high")
    assert found is not None
    assert ("Preempted", f"Preempted by pod {found['metadata']['uid']} on node n1") in await world.events("low")


async def test_a_pod_that_waits_for_its_victims_is_nominated(world: World) -> None:
    await world.add(PRIORITY_CLASSES, HIGH)
    await world.add_nodes(node("n1", cpu="1"))
    service = await world.scheduler()
    low = pod("low")
    low["metadata"]["finalizers"] = ["example.com/hold"]
    await world.add_pods(low)
    await eventually(lambda: world.node_of("low"))
    await world.add_pods(pod("high", priorityClassName="high"))

    async def nominated() -> str:
        found = await world.pod("high")
        return "" if found is None else found["status"].get("nominatedNodeName", "")

    assert await eventually(nominated) == "n1"

    async def leaving() -> Object | None:
        found = await world.pod("low")
        return found if found is not None and "deletionTimestamp" in found["metadata"] else None

    victim = await eventually(leaving)
    disruption = condition(victim, "DisruptionTarget")
    assert disruption is not None
    assert disruption["reason"] == "PreemptionByScheduler"
    # the room is kept: a pod of lower priority does not take it when the victim has gone
    await world.add_pods(pod("sneaky"))
    await eventually(lambda: world.events("sneaky"))
    await world.client.patch(PODS, "low", {"metadata": {"finalizers": None}}, "default")
    assert await eventually(lambda: world.node_of("high")) == "n1"
    assert await world.node_of("sneaky") == ""
    assert not service.engine.table.nominations


async def test_a_node_that_makes_no_sense_takes_no_pods_and_stops_nobody(world: World) -> None:
    service = await world.scheduler()
    await world.add_nodes(node("good"))
    service._node(node("bad", cpu="lots"))
    await world.add_pods(pod("a"))
    assert await eventually(lambda: world.node_of("a")) == "good"
    assert list(service.engine.scheduler.nodes) == ["good"]


async def test_what_it_knows_is_there_after_a_restart(world: World) -> None:
    await world.add_nodes(node("n1", cpu="2"))
    first = await world.scheduler()
    await world.add_pods(pod("a"))
    await eventually(lambda: world.node_of("a"))
    await first.stop()
    await world.add_pods(pod("b"), pod("c"))
    second = await world.scheduler()

    async def one_of_two() -> bool:
        return len(second.engine.table.pods) == 2 and second.engine.queue.counts["unschedulable"] == 1

    async def one_is_bound() -> bool:
        return bool(await world.node_of("b")) != bool(await world.node_of("c"))

    await eventually(one_of_two)
    await eventually(one_is_bound)


async def test_nodes_that_leave(world: World) -> None:
    await world.add_nodes(node("n1"))
    service = await world.scheduler()
    await world.add_pods(pod("a"))
    await eventually(lambda: world.node_of("a"))
    await world.client.delete(NODES, "n1")

    async def is_gone() -> bool:
        return not service.engine.scheduler.nodes

    await eventually(is_gone)
    await world.add_pods(pod("b"))
    assert (await eventually(lambda: world.events("b")))[0] == (
        "FailedScheduling",
        "no nodes available to schedule pods",
    )


async def test_metrics_have_kube_schedulers_names(world: World) -> None:
    metrics = Metrics()
    await world.add_nodes(node("n1", cpu="1"))
    service = await world.scheduler(metrics=metrics)
    await world.add_pods(pod("a"), pod("b"))

    async def both_tried() -> bool:
        return service.engine.queue.counts["unschedulable"] == 1 and len(service.engine.table.pods) == 1

    await eventually(both_tried)
    await eventually(lambda: world.events("a"))
    text = metrics.text().decode()
    assert 'scheduler_schedule_attempts_total{profile="default-scheduler",result="scheduled"} 1' in text
    assert 'scheduler_pending_pods{queue="unschedulable"} 1' in text


def test_it_is_made_without_a_loop_running() -> None:
    from cybernetes.services.scheduler.scheduler import SchedulerService

    assert SchedulerService(None, ManualClock(), Random(1)).name == "scheduler"  # type: ignore[arg-type]

import pytest
from builders import cluster, node, pod

from cybernetes.core.objects import POD_DISRUPTION_BUDGETS
from cybernetes.core.scheduling.interface import Status
from cybernetes.core.scheduling.preemption import Budgets, Candidate, best, victims_on
from cybernetes.core.scheduling.profile import ProfileError
from cybernetes.core.scheduling.scheduler import Scheduler

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def victims(scheduler: Scheduler, wanted: dict, name: str = "n") -> list[str] | str:
    """Names of who must leave, or why that is of no use. The table is as before."""
    framework = scheduler.framework
    cycle = scheduler.cycle(wanted, scheduler.shape(wanted))
    before = (scheduler.table.requested.copy(), scheduler.table.columns.position, set(scheduler.table.pods))
    row = scheduler.table.rows[name]
    answer = victims_on(framework, cycle, row, Budgets(scheduler.cluster))
    template = framework.room_template(cycle)
    if template is not None and template.is_open(row):  # then arithmetic says the same
        assert victims_on(framework, cycle, row, Budgets(scheduler.cluster), needs_room_only=True) == answer
    assert (scheduler.table.requested == before[0]).all()
    assert scheduler.table.columns.position == before[1]
    assert set(scheduler.table.pods) == before[2]
    return answer.message if isinstance(answer, Status) else [record.name for record in answer.victims]


def budget(allowed: int, labels: dict, **status: object) -> dict:
    return {
        "metadata": {"name": "pdb", "namespace": "default"},
        "spec": {"selector": {"matchLabels": labels}},
        "status": {"disruptionsAllowed": allowed, **status},
    }


def test_only_as_many_leave_as_must_and_the_least_important_first() -> None:
    placed = [
        pod("low", on="n", cpu="1", priority=1),
        pod("mid", on="n", cpu="1", priority=5),
        pod("old", on="n", cpu="1", priority=1, status={"startTime": "2026-01-01T00:00:00Z"}),
        pod("same", on="n", cpu="1", priority=10),
    ]
    scheduler = cluster([node("n", cpu="4")], placed)
    assert victims(scheduler, pod(cpu="1", priority=10)) == ["low"]
    assert victims(scheduler, pod(cpu="2", priority=10)) == ["old", "low"]
    assert victims(scheduler, pod(cpu="3", priority=10)) == ["mid", "old", "low"]
    assert victims(scheduler, pod(cpu="4", priority=10)) == "Insufficient cpu"
    assert victims(scheduler, pod(cpu="1", priority=1)) == "No preemption victims found for incoming pod"


def test_pods_that_are_nominated_need_their_room() -> None:
    scheduler = cluster([node("n", cpu="4", pods="3")], [pod("a", on="n", cpu="1"), pod("b", on="n", cpu="2")])
    assert victims(scheduler, pod(cpu="2", priority=10)) == ["b"]
    waiting = pod("waiting", cpu="2", priority=10)
    scheduler.table.nominations.put(scheduler.record(waiting, scheduler.shape(waiting), "waiting"), "n")
    assert victims(scheduler, pod(cpu="2", priority=10)) == ["a", "b"]
    assert victims(scheduler, pod(cpu="2", priority=11)) == ["b"]
    assert victims(scheduler, pod(cpu="3", priority=10)) == "Insufficient cpu"


def test_budgets_are_spared_where_possible() -> None:
    placed = [pod("guarded", on="n", cpu="2", priority=1, labels={"a": "b"}), pod("free", on="n", cpu="2", priority=5)]
    scheduler = cluster([node("n", cpu="4")], placed, objects={POD_DISRUPTION_BUDGETS: [budget(0, {"a": "b"})]})
    assert victims(scheduler, pod(cpu="2", priority=10)) == ["free"]
    assert victims(scheduler, pod(cpu="3", priority=10)) == ["free", "guarded"]
    spent = budget(0, {"a": "b"}, disruptedPods={"guarded": "2026-01-01T00:00:00Z"})
    scheduler.cluster.put(POD_DISRUPTION_BUDGETS, spent)
    assert victims(scheduler, pod(cpu="2", priority=10)) == ["guarded"]


def test_anti_affinity_may_be_what_victims_stand_for() -> None:
    apart = {
        "podAntiAffinity": {
            REQUIRED: [{"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"a": "b"}}}]
        }
    }
    placed = [pod("x", on="n", labels={"a": "b"}), pod("y", on="n", labels={"c": "d"})]
    scheduler = cluster([node("n")], placed)
    assert victims(scheduler, pod(priority=10, affinity=apart)) == ["x"]


def test_ports_may_be_what_victims_hold() -> None:
    port = [{"containerPort": 80, "hostPort": 80}]
    scheduler = cluster([node("n")], [pod("x", on="n", ports=port), pod("y", on="n")])
    assert victims(scheduler, pod(priority=10, ports=port)) == ["x"]


def test_the_node_that_hurts_least() -> None:
    scheduler = cluster([node(name) for name in "abcde"])

    def candidate(name: str, violations: int, *pods: tuple[int, str]) -> Candidate:
        records = []
        for position, (priority, started) in enumerate(pods):
            given = pod(f"{name}{position}", on=name, priority=priority, status={"startTime": started})
            record = scheduler.put_pod(given)
            assert record is not None
            records.append(record)
        return Candidate(scheduler.table.rows[name], tuple(records), violations)

    def chosen(*candidates: Candidate) -> str:
        return scheduler.table.at(best(candidates).row).name

    base = candidate("a", 0, (5, "2026-01-01T00:00:00Z"), (1, "2026-01-01T00:00:00Z"))
    assert chosen(candidate("b", 1, (0, "")), base) == "a"
    assert chosen(base, candidate("b", 0, (4, ""), (4, ""), (4, ""))) == "b"
    assert chosen(base, candidate("c", 0, (5, ""), (0, ""))) == "c"
    assert chosen(base, candidate("d", 0, (5, "2026-01-02T00:00:00Z"), (1, "2026-01-02T00:00:00Z"))) == "d"
    assert chosen(base, candidate("e", 0, (5, ""))) == "e"


@pytest.mark.parametrize(
    "args", [{"minCandidateNodesPercentage": 101}, {"minCandidateNodesPercentage": 0, "minCandidateNodesAbsolute": 0}]
)
def test_arguments_that_make_no_sense(args: dict) -> None:
    with pytest.raises(ProfileError, match="not in valid range"):
        cluster([], profile={"pluginConfig": [{"name": "DefaultPreemption", "args": args}]})

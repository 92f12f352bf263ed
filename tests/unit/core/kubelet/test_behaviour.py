"""How simulated pods behave: annotations, stages files, and what is said about wrong ones."""

import pytest
from podhelpers import pod as make_pod

from cybernetes.core.clock import Random
from cybernetes.core.kubelet.behaviour import (
    Behaviour,
    StagesError,
    behaviour_of,
    is_finite,
    parse_duration,
    read_stages,
)


def behaviour(pod, rules=(), name="c"):
    container = next(
        c for c in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]] if c["name"] == name
    )
    return behaviour_of(pod, container, rules)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("2s", 2.0), ("1m30s", 90.0), ("1.5h", 5400.0), ("3", 3.0), (4, 4.0), (0.5, 0.5)],
)
def test_durations(text, seconds):
    assert parse_duration(text, "x") == seconds


@pytest.mark.parametrize("text", ["", "5x", "s", "1m 30s", None, [], True])
def test_what_is_no_duration(text):
    with pytest.raises(StagesError, match="x: expected a duration such as"):
        parse_duration(text, "x")


def test_without_anything_a_container_runs_on_and_a_job_s_ends():
    pod = make_pod()
    assert behaviour(pod) == Behaviour() and not is_finite(pod)
    pod["metadata"]["ownerReferences"] = [{"kind": "Job", "name": "j", "uid": "u"}]
    assert behaviour(pod).run_for_s == 1.0 and is_finite(pod)


def test_annotations_are_for_all_or_for_one_container():
    pod = make_pod()
    pod["metadata"]["annotations"] = {
        "cybernetes.io/run-for": "10s",
        "run-for.cybernetes.io/c": "5s",
        "exit-code.cybernetes.io/c": "3",
    }
    pod["spec"]["containers"].append({"name": "d", "image": "x"})
    assert behaviour(pod).run_for_s == 5.0 and behaviour(pod).exit_code == 3
    assert behaviour(pod, name="d").run_for_s == 10.0 and behaviour(pod, name="d").exit_code == 0


def test_what_an_annotation_says_wrongly_is_ignored():
    pod = make_pod()
    pod["metadata"]["annotations"] = {"cybernetes.io/run-for": "soon"}
    assert behaviour(pod) == Behaviour()


def test_init_containers_end_unless_they_are_sidecars():
    pod = make_pod(initContainers=[{"name": "i", "image": "x"}, {"name": "s", "image": "x", "restartPolicy": "Always"}])
    pod["metadata"]["annotations"] = {"cybernetes.io/exit-code": "1"}
    assert behaviour(pod, name="i").run_for_s == 1.0 and behaviour(pod, name="i").exit_code == 0
    assert behaviour(pod, name="s").run_for_s is None


STAGES = """
stages:
- match: {namespace: batch, labels: {app: crawler}}
  startDelay: 2s
  runFor: 30s
  jitter: 0.5
  exitCode: 1
  failureRate: 0.25
- match: {ownerKind: Job}
  runFor: 5s
- match: {image: "slow:*"}
  readyDelay: 1m
- stopDelay: 3s
"""


def test_the_first_rule_that_matches_counts():
    rules = read_stages(STAGES)
    pod = make_pod()
    assert behaviour(pod, rules) == Behaviour(stop_delay_s=3.0)
    pod["spec"]["containers"][0]["image"] = "slow:2"
    assert behaviour(pod, rules) == Behaviour(ready_delay_s=60.0)
    pod["metadata"]["namespace"] = "batch"
    pod["metadata"]["labels"] = {"app": "crawler"}
    found = behaviour(pod, rules)
    assert (found.start_delay_s, found.run_for_s, found.jitter, found.exit_code) == (2.0, 30.0, 0.5, 1)
    pod["metadata"]["annotations"] = {"cybernetes.io/run-for": "1s"}
    assert behaviour(pod, rules).run_for_s == 1.0 and behaviour(pod, rules).exit_code == 1


def test_a_share_of_runs_fails():
    random = Random(3)
    ends = [Behaviour(exit_code=1, failure_rate=0.25).ends_with(0, random) for _ in range(2000)]
    assert 400 < sum(ends) < 600
    assert [Behaviour(exit_code=2, failures=2).ends_with(attempt, random) for attempt in range(4)] == [2, 2, 0, 0]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[", "stages: "),
        ("stages: 5", "stages: expected a mapping with a list `stages`"),
        ("- 1", "stages: expected a mapping with a list `stages`"),
        ("stages: [5]", r"stages\[0\]: expected a mapping"),
        ("stages: [{runfor: 5s}]", r"stages\[0\]: unknown field 'runfor'"),
        ("stages: [{match: {name: x}}]", r"stages\[0\]: unknown field 'name'"),
        ("stages: [{runFor: soon}]", r"stages\[0\].run-for: expected a duration"),
        ("stages: [{exitCode: x}]", r"stages\[0\].exit-code: expected a number, got 'x'"),
    ],
)
def test_wrong_stages_are_refused_with_their_place(text, error):
    with pytest.raises(StagesError, match=error):
        read_stages(text)

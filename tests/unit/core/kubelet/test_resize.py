"""In-place resizes: what is given, what is left to do, and what is said of it."""

import pytest
from podhelpers import container, ran, seen
from podhelpers import pod as make_pod

from cybernetes.core.kubelet.conditions import resizing
from cybernetes.core.kubelet.resize import (
    NO_RESIZE,
    Pending,
    Progress,
    Resize,
    allocated,
    allocation_of,
    describe,
    differs,
    steps,
)


def sized(cpu="100m", memory="64Mi", **fields):
    amounts = {"cpu": cpu, "memory": memory}
    return container(resources={"requests": dict(amounts), "limits": dict(amounts)}, **fields)


def test_a_pod_is_run_with_what_it_was_given():
    before, after = make_pod(sized()), make_pod(sized(cpu="200m"))
    given = allocation_of(before)
    assert not differs(before, given) and allocated(before, given) is before
    assert differs(after, given)
    seen_by_node = allocated(after, given)
    assert seen_by_node["spec"]["containers"] == before["spec"]["containers"]
    assert after["spec"]["containers"][0]["resources"]["limits"]["cpu"] == "200m"  # the API's is left alone


RESTART = [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (sized(), []),
        (sized(cpu="0.1"), []),
        (sized(cpu="200m"), [False]),
        (sized(memory="128Mi"), [False]),
        (sized(cpu="200m", resizePolicy=RESTART), [False]),
        (sized(memory="128Mi", resizePolicy=RESTART), [True]),
    ],
)
def test_what_is_to_be_done(wanted, expected):
    actuated = {"c-0": sized()["resources"]}
    found = steps(make_pod(wanted), seen(ran()), actuated)
    assert [step.restarts for step in found] == expected


def test_only_running_containers_are_resized():
    pod = make_pod(sized(cpu="1"), inits=[sized(name="i", cpu="1"), sized(name="s", cpu="1", restartPolicy="Always")])
    actuated = {name: sized()["resources"] for name in ("c-0", "i-0", "s-0")}
    observed = seen(ran(state="exited"), ran("i"), ran("s"))
    assert [step.container_id for step in steps(pod, observed, actuated)] == ["s-0"]
    assert steps(pod, seen(ran("s")), {}) == []  # not known yet what it has


def test_conditions():
    assert resizing(NO_RESIZE) == []
    pending, progress = resizing(Resize(Pending("Deferred", "no room", 3), Progress(2, "refused")))
    assert pending == {
        "type": "PodResizePending",
        "status": "True",
        "reason": "Deferred",
        "message": "no room",
        "observedGeneration": 3,
    }
    assert progress == {
        "type": "PodResizeInProgress",
        "status": "True",
        "reason": "Error",
        "message": "refused",
        "observedGeneration": 2,
    }


def test_events_carry_the_resources():
    text = describe(make_pod(sized()), "Pod resize started")
    assert text.startswith('Pod resize started: {"containers":[{"name":"c","resources":{"requests":{"cpu":"100m"')
    assert text.endswith('"generation":1}')

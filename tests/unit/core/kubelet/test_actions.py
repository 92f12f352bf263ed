"""What a pod needs next, case by case (upstream: TestComputePodActions and its kin)."""

import pytest
from podhelpers import container, pod, ran, results, sandbox, seen

from cybernetes.core.kubelet.actions import pod_actions, should_restart_all
from cybernetes.core.kubelet.observed import NOTHING


def summary(actions):
    """The parts of an answer that are not their default, in short."""
    result = {}
    for name in ("kill_pod", "create_sandbox", "init_to_start", "to_start", "ephemeral_to_start"):
        if getattr(actions, name):
            result[name] = getattr(actions, name)
    if actions.to_kill:
        result["kill"] = sorted(kill.name for kill in actions.to_kill.values())
    if actions.to_reset:
        result["reset"] = [reset.name for reset in actions.to_reset]
    return result


THREE = [container("a"), container("b"), container("c")]
INITS = [container("i0"), container("i1"), container("i2")]
SIDECARS = [container("s0", restartPolicy="Always"), container("s1", restartPolicy="Always")]


@pytest.mark.parametrize(
    ("given", "observed", "expected"),
    [
        # Ordinary containers.
        (pod(*THREE), NOTHING, {"kill_pod": True, "create_sandbox": True, "to_start": [0, 1, 2]}),
        (pod(*THREE), seen(ran("a"), ran("b"), ran("c")), {}),
        (pod(*THREE), seen(ran("a"), ran("b", "exited", 1), ran("c")), {"to_start": [1]}),
        (pod(*THREE), seen(ran("a"), ran("b", "exited", 0), ran("c")), {"to_start": [1]}),
        (
            pod(*THREE, policy="OnFailure"),
            seen(ran("a"), ran("b", "exited", 0), ran("c", "exited", 1)),
            {"to_start": [2]},
        ),
        (pod(*THREE, policy="Never"), seen(ran("a"), ran("b", "exited", 1), ran("c", "exited", 0)), {}),
        (pod(*THREE, policy="Never"), seen(*(ran(n, "exited", 0) for n in "abc")), {"kill_pod": True}),
        (pod(*THREE, policy="OnFailure"), seen(*(ran(n, "exited", 0) for n in "abc")), {"kill_pod": True}),
        # Never begun: started whatever the policy.
        (pod(*THREE, policy="Never"), seen(ran("a"), ran("b")), {"to_start": [2]}),
        (pod(*THREE), seen(ran("a", "created"), ran("b"), ran("c")), {"to_start": [0]}),
        (pod(*THREE), seen(ran("a", "unknown"), ran("b"), ran("c")), {"to_start": [0], "kill": ["a"]}),
        # A changed image restarts, even with policy Never.
        (
            pod(*THREE, policy="Never"),
            seen(ran("a", image="i:0"), ran("b"), ran("c")),
            {"to_start": [0], "kill": ["a"]},
        ),
        # A pod that is being deleted restarts nothing.
        (pod(*THREE, metadata={"deletionTimestamp": "x"}), seen(ran("a"), ran("b", "exited", 1), ran("c")), {}),
        # Sandboxes.
        (
            pod(*THREE),
            seen(ran("a", "exited", 1), sandboxes=[sandbox(ready=False)]),
            {"kill_pod": True, "create_sandbox": True, "to_start": [0, 1, 2]},
        ),
        (
            pod(*THREE),
            seen(ran("a"), sandboxes=[sandbox(addresses=())]),
            {"kill_pod": True, "create_sandbox": True, "to_start": [0, 1, 2]},
        ),
        (
            pod(*THREE),
            seen(ran("a"), sandboxes=[sandbox(1), sandbox(0)]),
            {"kill_pod": True, "create_sandbox": True, "to_start": [0, 1, 2]},
        ),
        (
            pod(*THREE, hostNetwork=True),
            seen(ran("a"), ran("b"), ran("c"), sandboxes=[sandbox(addresses=(), host=True)]),
            {},
        ),
        (
            pod(*THREE, hostNetwork=True),
            seen(ran("a")),
            {"kill_pod": True, "create_sandbox": True, "to_start": [0, 1, 2]},
        ),
        # All done before the sandbox died: no new one.
        (
            pod(*THREE, policy="Never"),
            seen(ran("a", "exited", 1), ran("b"), sandboxes=[sandbox(ready=False)]),
            {"kill_pod": True},
        ),
        (
            pod(*THREE, policy="OnFailure"),
            seen(*(ran(n, "exited", 0) for n in "abc"), sandboxes=[sandbox(ready=False)]),
            {"kill_pod": True},
        ),
        (
            pod(*THREE, policy="OnFailure"),
            seen(ran("a", "exited", 0), ran("b", "exited", 1), ran("c", "exited", 0), sandboxes=[sandbox(ready=False)]),
            {"kill_pod": True, "create_sandbox": True, "to_start": [1]},
        ),
        # Nothing was ever created in the sandbox that died: try again, whatever the policy.
        (
            pod(*THREE, policy="Never"),
            seen(sandboxes=[sandbox(ready=False)]),
            {"kill_pod": True, "create_sandbox": True, "to_start": [0, 1, 2]},
        ),
        # Init containers, one after the other.
        (pod(*THREE, inits=INITS), NOTHING, {"kill_pod": True, "create_sandbox": True, "init_to_start": [0]}),
        (pod(*THREE, inits=INITS), seen(), {"init_to_start": [0]}),
        (pod(*THREE, inits=INITS), seen(ran("i0")), {}),
        (pod(*THREE, inits=INITS), seen(ran("i0", "exited", 0)), {"init_to_start": [1]}),
        (pod(*THREE, inits=INITS), seen(ran("i1", "exited", 0)), {"init_to_start": [2]}),
        (pod(*THREE, inits=INITS), seen(ran("i0", "exited", 0), ran("i1", "exited", 1)), {"init_to_start": [1]}),
        (pod(*THREE, inits=INITS), seen(ran("i0", "created")), {"init_to_start": [0]}),
        (pod(*THREE, inits=INITS), seen(ran("i0", "exited", 0, reason="OOMKilled")), {"init_to_start": [0]}),
        (pod(*THREE, policy="Never", inits=INITS), seen(ran("i0", "exited", 1)), {"kill_pod": True}),
        (pod(*THREE, policy="OnFailure", inits=INITS), seen(ran("i0", "exited", 1)), {"init_to_start": [0]}),
        (pod(*THREE, inits=INITS), seen(ran("i2", "exited", 0)), {"to_start": [0, 1, 2]}),
        # The records of finished init containers may be gone.
        (pod(*THREE, inits=INITS), seen(ran("a"), ran("b"), ran("c")), {}),
        (pod(*THREE, inits=INITS), seen(ran("a"), ran("b"), ran("c", "exited", 1)), {"to_start": [2]}),
        # Sidecars.
        (pod(*THREE, inits=SIDECARS), seen(), {"init_to_start": [0]}),
        (pod(*THREE, inits=SIDECARS), seen(ran("s0")), {"init_to_start": [1]}),
        (pod(*THREE, inits=SIDECARS), seen(ran("s0"), ran("s1")), {"to_start": [0, 1, 2]}),
        (
            pod(*THREE, inits=SIDECARS),
            seen(ran("s0", "exited", 0), ran("s1"), ran("a"), ran("b"), ran("c")),
            {"init_to_start": [0]},
        ),
        (pod(*THREE, inits=SIDECARS), seen(ran("a"), ran("b"), ran("c")), {"init_to_start": [0, 1]}),
        # Sidecars do not keep a pod alive.
        (
            pod(*THREE, policy="Never", inits=SIDECARS),
            seen(ran("s0", "exited", 1), ran("s1"), *(ran(n, "exited", 0) for n in "abc")),
            {"kill_pod": True},
        ),
        # A sidecar restarts even in a pod that never does.
        (
            pod(*THREE, policy="Never", inits=SIDECARS),
            seen(ran("s0", "exited", 1), ran("s1"), ran("a"), ran("b"), ran("c")),
            {"init_to_start": [0]},
        ),
        # Ephemeral containers start once, also before initialization is complete.
        (
            pod(*THREE, inits=INITS, ephemeralContainers=[container("e0"), container("e1")]),
            seen(ran("i0"), ran("e0", "exited", 1)),
            {"ephemeral_to_start": [1]},
        ),
    ],
)
def test_next_step(given, observed, expected):
    assert summary(pod_actions(given, observed, results())) == expected


@pytest.mark.parametrize("policy", ["Always", "OnFailure", "Never"])
def test_a_failed_liveness_probe_kills_and_the_policy_says_what_comes_then(policy):
    actions = pod_actions(
        pod(*THREE, policy=policy), seen(ran("a"), ran("b"), ran("c")), results(liveness={"b-0": False})
    )
    (kill,) = actions.to_kill.values()
    assert kill.because == "LivenessProbe"
    if policy == "Never":
        assert kill.message == "Container b failed liveness probe"
        assert actions.to_start == []
    else:
        assert kill.message == "Container b failed liveness probe, will be restarted"
        assert actions.to_start == [1]


def test_a_failed_startup_probe_kills():
    actions = pod_actions(pod(*THREE), seen(ran("a"), ran("b"), ran("c")), results(startup={"a-0": False}))
    assert [kill.because for kill in actions.to_kill.values()] == ["StartupProbe"]


def test_a_sidecar_counts_as_started_only_after_its_startup_probe():
    inits = [container("s0", restartPolicy="Always", startupProbe={"exec": {}}), container("i1")]
    given = pod(*THREE, inits=inits)
    assert summary(pod_actions(given, seen(ran("s0")), results())) == {}
    assert summary(pod_actions(given, seen(ran("s0")), results(startup={"s0-0": True}))) == {"init_to_start": [1]}
    assert summary(pod_actions(given, seen(ran("s0")), results(startup={"s0-0": False}))) == {
        "init_to_start": [0],
        "kill": ["s0"],
    }


def test_a_sidecar_that_is_not_alive_is_restarted_and_holds_up_nobody():
    inits = [container("s0", restartPolicy="Always", livenessProbe={"exec": {}}), container("i1")]
    actions = pod_actions(pod(*THREE, inits=inits), seen(ran("s0")), results(liveness={"s0-0": False}))
    assert summary(actions) == {"init_to_start": [0, 1], "kill": ["s0"]}


RULES = [{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]


@pytest.mark.parametrize(
    ("fields", "policy", "code", "restarts"),
    [
        ({"restartPolicy": "Never", "restartPolicyRules": RULES}, "Always", 42, True),
        ({"restartPolicy": "Never", "restartPolicyRules": RULES}, "Always", 1, False),
        ({"restartPolicy": "OnFailure"}, "Never", 1, True),
        ({"restartPolicy": "OnFailure"}, "Never", 0, False),
        ({"restartPolicy": "Always"}, "Never", 0, True),
        (
            {
                "restartPolicy": "Never",
                "restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "NotIn", "values": [0]}}],
            },
            "Never",
            7,
            True,
        ),
        ({}, "Never", 1, False),
    ],
)
def test_a_container_s_own_policy_and_rules_win(fields, policy, code, restarts):
    given = pod(container("a", **fields), container("b"), policy=policy)
    actions = pod_actions(given, seen(ran("a", "exited", code), ran("b")), results())
    assert (0 in actions.to_start) == restarts


def test_one_container_s_end_may_restart_all():
    rule = {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [9]}}
    given = pod(
        container("a", restartPolicy="Never", restartPolicyRules=[rule]), container("b"), inits=[container("i")]
    )
    observed = seen(ran("a", "exited", 9), ran("b"), ran("i", "exited", 0))
    assert should_restart_all(given, observed, {})
    actions = pod_actions(given, observed, results(), restart_all=True)
    # The one whose end asked for it goes last: until then it is remembered why.
    assert summary(actions) == {"reset": ["b", "i", "a"]}
    assert [reset.is_running for reset in actions.to_reset] == [True, False, False]
    assert not should_restart_all(given, seen(ran("a", "exited", 1), ran("b")), {})


def test_the_attempt_and_id_of_the_sandbox_are_named():
    actions = pod_actions(pod(), seen(sandboxes=[sandbox(3, ready=False)]), results())
    assert (actions.sandbox_attempt, actions.sandbox_id) == (4, "s3")
    actions = pod_actions(pod(), seen(sandboxes=[sandbox(3)]), results())
    assert (actions.sandbox_attempt, actions.sandbox_id) == (3, "s3")

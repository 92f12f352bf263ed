import pytest
from podhelpers import NOW, container, pod, ran, results, sandbox, seen

from cybernetes.core.clock import format_time
from cybernetes.core.kubelet import conditions
from cybernetes.core.kubelet.observed import NOTHING
from cybernetes.core.kubelet.phase import pod_phase
from cybernetes.core.kubelet.podstatus import Eviction, finish, patch, pod_status, rejected, to_publish

RUNNING = {"state": {"running": {}}}
SUCCEEDED = {"state": {"terminated": {"exitCode": 0}}}
FAILED = {"state": {"terminated": {"exitCode": 1}}}
WAITING = {"state": {"waiting": {}}}
RESTARTING = {"state": {"waiting": {}}, "lastState": {"terminated": {"exitCode": 1}}}


def phase(given, *, is_terminal=False, has_initialized=False, **statuses):
    listed = [{"name": name, **status} for name, status in statuses.items()]
    return pod_phase(given, listed, is_terminal=is_terminal, has_initialized=has_initialized)


TWO = (container("a"), container("b"))


@pytest.mark.parametrize(
    ("policy", "a", "b", "expected"),
    [
        ("Always", None, None, "Pending"),
        ("Always", RUNNING, RUNNING, "Running"),
        ("Always", RUNNING, WAITING, "Pending"),
        ("Always", RUNNING, RESTARTING, "Running"),
        ("Always", SUCCEEDED, SUCCEEDED, "Running"),
        ("Always", FAILED, FAILED, "Running"),
        ("Always", RUNNING, SUCCEEDED, "Running"),
        ("Always", RUNNING, None, "Pending"),
        ("Never", RUNNING, RUNNING, "Running"),
        ("Never", SUCCEEDED, SUCCEEDED, "Succeeded"),
        ("Never", FAILED, SUCCEEDED, "Failed"),
        ("Never", FAILED, FAILED, "Failed"),
        ("Never", RUNNING, FAILED, "Running"),
        ("OnFailure", SUCCEEDED, SUCCEEDED, "Succeeded"),
        ("OnFailure", FAILED, SUCCEEDED, "Running"),
        ("OnFailure", RUNNING, RESTARTING, "Running"),
    ],
)
def test_phase_of_ordinary_containers(policy, a, b, expected):
    given = {name: status for name, status in (("a", a), ("b", b)) if status}
    assert phase(pod(*TWO, policy=policy), **given) == expected


def test_phase_of_a_pod_whose_containers_are_stopped_for_good():
    assert phase(pod(*TWO), is_terminal=True, a=SUCCEEDED, b=SUCCEEDED) == "Succeeded"
    assert phase(pod(*TWO), is_terminal=True, a=SUCCEEDED, b=FAILED) == "Failed"
    static = pod(*TWO, metadata={"annotations": {"kubernetes.io/config.source": "file"}})
    assert phase(static, is_terminal=True, a=SUCCEEDED, b=SUCCEEDED) == "Running"


@pytest.mark.parametrize(
    ("policy", "init", "main", "expected"),
    [
        ("Always", RUNNING, WAITING, "Pending"),
        ("Always", FAILED, WAITING, "Pending"),
        ("Never", FAILED, WAITING, "Failed"),
        ("OnFailure", FAILED, WAITING, "Pending"),
        ("Always", SUCCEEDED, RUNNING, "Running"),
        ("Never", SUCCEEDED, SUCCEEDED, "Succeeded"),
        ("Always", WAITING, WAITING, "Pending"),
        ("Never", RESTARTING, WAITING, "Failed"),
    ],
)
def test_phase_with_an_init_container(policy, init, main, expected):
    assert phase(pod(container("a"), policy=policy, inits=[container("i")]), i=init, a=main) == expected


def test_phase_with_a_sidecar():
    given = pod(container("a"), inits=[container("s", restartPolicy="Always")])
    started = {**RUNNING, "started": True}
    assert phase(given, s=RUNNING, a=WAITING) == "Pending"
    assert phase(given, s=started, a=RUNNING) == "Running"
    assert phase(given, s=RESTARTING, a=RUNNING, has_initialized=True) == "Running"
    once = pod(container("a"), policy="Never", inits=[container("s", restartPolicy="Always")])
    assert phase(once, s=FAILED, a=SUCCEEDED) == "Succeeded"
    assert phase(once, s=started, a=SUCCEEDED) == "Running"


def make(given, observed, old=None, *, table=None, **options):
    options = {"failures": {}, "host_addresses": ["192.0.2.1"], "now": NOW, **options}
    return pod_status(given, observed, old or {}, probes=table or results(), runtime_name="docker", **options)


def by_type(status):
    return {condition["type"]: condition for condition in status["conditions"]}


def test_a_new_pod():
    status = make(pod(), NOTHING)
    assert status["phase"] == "Pending"
    assert {kind: c["status"] for kind, c in by_type(status).items()} == {
        "PodReadyToStartContainers": "False",
        "Initialized": "True",
        "Ready": "False",
        "ContainersReady": "False",
        "PodScheduled": "True",
    }
    ready = by_type(status)["Ready"]
    assert ready["reason"] == "ContainersNotReady"
    assert ready["message"] == "containers with unready status: [c]"
    assert ready["observedGeneration"] == 1 and status["observedGeneration"] == 1
    assert status["startTime"] == format_time(NOW) and status["hostIP"] == "192.0.2.1"
    assert "podIP" not in status and status["qosClass"] == "BestEffort"


def test_a_running_pod():
    status = make(pod(), seen(ran()))
    assert status["phase"] == "Running" and status["podIP"] == "10.0.0.5"
    assert all(condition["status"] == "True" for condition in status["conditions"])
    assert status["containerStatuses"][0]["ready"] is True


def test_readiness_and_gates():
    given = pod(container(readinessProbe={"exec": {}}), readinessGates=[{"conditionType": "example.com/ok"}])
    assert by_type(make(given, seen(ran())))["Ready"]["reason"] == "ContainersNotReady"
    ready = by_type(make(given, seen(ran()), table=results(readiness={"c-0": True})))
    assert ready["ContainersReady"]["status"] == "True"
    assert ready["Ready"]["reason"] == "ReadinessGatesNotReady"
    assert ready["Ready"]["message"] == 'corresponding condition of pod readiness gate "example.com/ok" does not exist.'
    given["status"] = {"conditions": [{"type": "example.com/ok", "status": "False"}]}
    assert by_type(make(given, seen(ran()), table=results(readiness={"c-0": True})))["Ready"]["message"] == (
        'the status of pod readiness gate "example.com/ok" is not "True", but False'
    )
    given["status"]["conditions"][0]["status"] = "True"
    status = make(given, seen(ran()), table=results(readiness={"c-0": True}))
    assert by_type(status)["Ready"]["status"] == "True"
    assert by_type(status)["example.com/ok"] == {"type": "example.com/ok", "status": "True"}


def test_initialization():
    given = pod(inits=[container("i"), container("j")])
    initialized = by_type(make(given, seen(ran("i", "exited", 0), ran("j"))))["Initialized"]
    assert initialized["reason"] == "ContainersNotInitialized"
    assert initialized["message"] == "containers with incomplete status: [j]"
    status = make(given, seen(ran("i", "exited", 0), ran("j", "exited", 0), ran()))
    assert by_type(status)["Initialized"]["status"] == "True" and status["phase"] == "Running"


def test_times_of_transition_are_kept_while_the_status_is_the_same():
    first = make(pod(), NOTHING)
    second = make(pod(), seen(ran()), first, now=NOW + 60)
    assert by_type(second)["PodScheduled"]["lastTransitionTime"] == format_time(NOW)
    assert by_type(second)["Ready"]["lastTransitionTime"] == format_time(NOW + 60)
    assert second["startTime"] == first["startTime"]
    third = make(pod(), seen(ran()), second, now=NOW + 120)
    assert third == second


def test_a_terminal_phase_is_never_left():
    given = pod(policy="Never", status={"phase": "Failed", "reason": "Evicted", "message": "m"})
    status = make(given, NOTHING, given["status"])
    assert (status["phase"], status["reason"], status["message"]) == ("Failed", "Evicted", "m")


def test_eviction_gives_phase_reason_and_message():
    status = make(pod(), seen(ran()), eviction=Eviction("DeadlineExceeded", "too long"))
    assert (status["phase"], status["reason"], status["message"]) == ("Failed", "DeadlineExceeded", "too long")


def test_a_stopped_pod_keeps_its_address():
    before = make(pod(), seen(ran()))
    status = make(
        pod(), seen(ran("c", "exited", 0), sandboxes=[sandbox(ready=False, addresses=())]), before, is_terminal=True
    )
    assert status["phase"] == "Succeeded" and status["podIP"] == "10.0.0.5"
    assert by_type(status)["Ready"]["reason"] == "PodCompleted"


def test_a_host_network_pod_has_the_node_s_addresses():
    given = pod(hostNetwork=True)
    status = make(given, seen(ran(), sandboxes=[sandbox(addresses=(), host=True)]))
    assert status["podIP"] == "192.0.2.1" and status["podIPs"] == [{"ip": "192.0.2.1"}]


def test_a_phase_becomes_terminal_only_when_nothing_runs():
    given = pod(policy="Never", status={"phase": "Running"})
    status = make(given, seen(ran("c", "exited", 1)))
    assert status["phase"] == "Failed"
    assert to_publish(given, status, may_run=True, now=NOW)["phase"] == "Running"
    assert to_publish(given, status, may_run=False, now=NOW)["phase"] == "Failed"


def test_a_terminal_pod_is_not_ready():
    given = pod(policy="Never", status={"phase": "Running"})
    ready = {"type": "Ready", "status": "True"}
    published = to_publish(given, {"phase": "Failed", "conditions": [ready]}, may_run=False, now=NOW)
    assert published["conditions"] == [
        {"type": "Ready", "status": "False", "reason": "PodFailed", "lastTransitionTime": format_time(NOW)}
    ]


def test_finishing_closes_the_record():
    given = pod(status={"phase": "Running"})
    status = finish(given, make(given, seen(ran())), NOW)
    assert status["phase"] == "Failed"
    assert status["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 137
    done = make(pod(policy="Never"), seen(ran("c", "exited", 0)))
    assert finish(pod(policy="Never"), done, NOW)["phase"] == "Succeeded"


def test_rejection():
    status = rejected(pod(), "OutOfcpu", "no room", NOW)
    assert (status["phase"], status["reason"]) == ("Failed", "OutOfcpu")
    assert status["message"] == "Pod was rejected: no room"


def test_a_patch_has_only_what_changed_and_merges_conditions():
    old = make(pod(), NOTHING)
    assert patch(old, old) is None
    new = make(pod(), seen(ran()), old, now=NOW + 1)
    changes = patch(old, new)
    assert set(changes) == {"phase", "containerStatuses", "conditions", "podIP", "podIPs"}
    assert {condition["type"] for condition in changes["conditions"]} == {
        "PodReadyToStartContainers",
        "Ready",
        "ContainersReady",
    }
    # What a condition no longer says is taken away from it.
    ready = next(condition for condition in changes["conditions"] if condition["type"] == "Ready")
    assert ready["reason"] is None and ready["message"] is None


def test_a_patch_replaces_lists_that_would_be_merged():
    old = {"podIPs": [{"ip": "10.0.0.1"}], "podIP": "10.0.0.1"}
    new = {"podIPs": [{"ip": "10.0.0.2"}], "podIP": "10.0.0.2"}
    assert patch(old, new) == {"podIP": "10.0.0.2", "podIPs": [{"ip": "10.0.0.2"}, {"$patch": "replace"}]}


def test_a_patch_leaves_others_conditions_alone():
    old = {"conditions": [{"type": "example.com/x", "status": "True"}, {"type": "PodResizePending", "status": "True"}]}
    new = {"conditions": [{"type": "example.com/x", "status": "False"}]}
    assert patch(old, new) == {"conditions": [{"$patch": "delete", "type": "PodResizePending"}]}


def test_conditions_of_the_kubelet_are_known():
    status = make(pod(), seen(ran()))
    assert {condition["type"] for condition in status["conditions"]} <= conditions.OWNED

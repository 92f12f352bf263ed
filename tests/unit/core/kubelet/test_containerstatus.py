import pytest
from podhelpers import NOW, container, pod, ran, seen

from cybernetes.core.clock import format_time
from cybernetes.core.kubelet.containerstatus import StartFailure, container_statuses, mark_lost, shorten_messages
from cybernetes.core.kubelet.observed import NOTHING


def statuses(given, observed, previous=(), failures=None, is_init=False):
    containers = given["spec"]["initContainers"] if is_init else given["spec"]["containers"]
    return container_statuses(
        given, observed, previous, containers, runtime_name="docker", failures=failures or {}, is_init=is_init
    )


def state(status, key="state"):
    """``running``, ``waiting: reason`` or ``terminated: code``."""
    value = status[key]
    if "waiting" in value:
        return f"waiting: {value['waiting'].get('reason', '')}"
    if "terminated" in value:
        return f"terminated: {value['terminated']['exitCode']}"
    return next(iter(value), "")


def test_a_running_container():
    requests = {"requests": {"cpu": "1"}}
    (status,) = statuses(pod(container(resources=requests)), seen(ran(attempt=2)))
    assert status == {
        "name": "c",
        "state": {"running": {"startedAt": format_time(NOW + 2)}},
        "lastState": {},
        "ready": False,
        "restartCount": 2,
        "image": "i:1",
        "imageID": "sha256:1",
        "containerID": "docker://c-2",
        "resources": requests,
        "allocatedResources": {"cpu": "1"},
    }


def test_the_attempt_before_is_the_last_state():
    (status,) = statuses(pod(), seen(ran(attempt=1), ran("c", "exited", 3, attempt=0, message="bye")))
    assert state(status) == "running"
    assert status["lastState"]["terminated"] == {
        "exitCode": 3,
        "reason": "Error",
        "message": "bye",
        "startedAt": format_time(NOW),
        "finishedAt": format_time(NOW + 5),
        "containerID": "docker://c-0",
    }


@pytest.mark.parametrize(("inits", "reason"), [((), "ContainerCreating"), ((container("i"),), "PodInitializing")])
def test_what_never_ran_waits(inits, reason):
    (status,) = statuses(pod(inits=inits), NOTHING)
    assert state(status) == f"waiting: {reason}"
    assert status["restartCount"] == 0 and status["imageID"] == ""


def test_a_failure_to_start_is_shown_and_the_end_before_it_kept():
    failures = {"c": StartFailure("CrashLoopBackOff", "back-off 10s")}
    (status,) = statuses(pod(), seen(ran("c", "exited", 1)), failures=failures)
    assert status["state"] == {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}
    assert state(status, "lastState") == "terminated: 1"


def test_a_failure_is_not_shown_of_what_will_not_be_started():
    failures = {"c": StartFailure("ErrImagePull", "no")}
    (status,) = statuses(pod(policy="Never"), seen(ran("c", "exited", 1)), failures=failures)
    assert state(status) == "terminated: 1"


def test_an_end_without_a_failure_yet_stays_terminated():
    (status,) = statuses(pod(), seen(ran("c", "exited", 1)))
    assert state(status) == "terminated: 1"


RUNNING_BEFORE = {
    "name": "c",
    "state": {"running": {"startedAt": "x"}},
    "lastState": {},
    "restartCount": 1,
    "containerID": "docker://c-1",
    "ready": True,
    "started": True,
}


def test_what_ran_and_is_forgotten_has_ended_unseen():
    (status,) = statuses(pod(), seen(), [RUNNING_BEFORE])
    assert state(status) == "waiting: ContainerCreating"
    assert status["lastState"]["terminated"]["reason"] == "ContainerStatusUnknown"
    assert status["lastState"]["terminated"]["exitCode"] == 137
    assert status["restartCount"] == 2
    (status,) = statuses(pod(metadata={"deletionTimestamp": "x"}), seen(), [RUNNING_BEFORE])
    assert status["restartCount"] == 1


def test_what_had_ended_and_is_forgotten_is_kept():
    ended = {**RUNNING_BEFORE, "state": {"terminated": {"exitCode": 0, "containerID": "docker://c-1"}}}
    (status,) = statuses(pod(policy="Never"), seen(), [ended])
    assert status == ended and status is not ended


def test_readiness_is_kept_by_the_same_container_only():
    (status,) = statuses(pod(), seen(ran(attempt=1)), [RUNNING_BEFORE])
    assert status["ready"] and status["started"]
    (status,) = statuses(pod(), seen(ran(attempt=2)), [RUNNING_BEFORE])
    assert not status["ready"] and "started" not in status


def test_an_unknown_state_counts_as_killed_when_it_ran():
    (status,) = statuses(pod(), seen(ran("c", "unknown", attempt=1)), [RUNNING_BEFORE])
    assert state(status) == "terminated: 137" and status["restartCount"] == 2


def test_ordinary_containers_are_sorted_and_init_containers_are_not():
    given = pod(container("b"), container("a"), inits=[container("z"), container("y")])
    assert [status["name"] for status in statuses(given, seen())] == ["a", "b"]
    assert [status["name"] for status in statuses(given, seen(), is_init=True)] == ["z", "y"]


def test_a_forgotten_init_container_has_succeeded_once_containers_exist():
    given = pod(inits=[container("i"), container("s", restartPolicy="Always")])
    init, sidecar = statuses(given, seen(ran()), is_init=True)
    assert init["state"]["terminated"] == {
        "exitCode": 0,
        "reason": "Completed",
        "message": "Unable to get init container status from container runtime and pod has been initialized, "
        "treat it as exited normally",
    }
    assert state(sidecar) == "waiting: PodInitializing"


def test_volume_mounts_are_published():
    mounts = [{"name": "v", "mountPath": "/v", "readOnly": True}, {"name": "w", "mountPath": "/w"}]
    (status,) = statuses(pod(container(volumeMounts=mounts)), seen())
    assert status["volumeMounts"] == [
        {"name": "v", "mountPath": "/v", "readOnly": True, "recursiveReadOnly": "Disabled"},
        {"name": "w", "mountPath": "/w"},
    ]


def test_messages_of_a_pod_share_twelve_kilobytes():
    given = pod(container("a"), container("b"))
    long = {"state": {"terminated": {"exitCode": 1, "message": "é" * 5000}}}
    status = {"containerStatuses": [long]}
    shorten_messages(given, status)
    message = status["containerStatuses"][0]["state"]["terminated"]["message"]
    assert len(message.encode()) <= 6 * 1024 and message == "é" * 3072


def test_at_the_end_nothing_stays_open():
    status = {
        "containerStatuses": [
            {"name": "a", "state": {"running": {}}},
            {"name": "b", "state": {"terminated": {"exitCode": 0}}},
        ],
        "initContainerStatuses": [
            {"name": "i", "state": {"waiting": {}}, "lastState": {"terminated": {"exitCode": 1}}},
            {"name": "j", "state": {"waiting": {}}},
        ],
    }
    mark_lost(pod(), status, initialized=True)
    assert state(status["containerStatuses"][0]) == "terminated: 137"
    assert state(status["containerStatuses"][1]) == "terminated: 0"
    assert state(status["initContainerStatuses"][0]) == "terminated: 137"
    assert state(status["initContainerStatuses"][1]) == "waiting: "

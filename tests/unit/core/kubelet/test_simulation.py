"""Runs of simulated pods: histories told as (seconds after the beginning, what changed)."""

import pytest
from podhelpers import NOW, container
from podhelpers import pod as make_pod

from cybernetes.core.clock import Random
from cybernetes.core.kubelet.simulation import SimulatedRun


class History:
    """Runs a pod as PodSimulator does, with time that jumps from one event to the next."""

    def __init__(self, pod, *, until=10_000.0):
        self.pod = pod
        self.run = SimulatedRun.adopt(pod)
        self.run.address = "10.0.0.5"
        self.random = Random(1)
        self.now = NOW
        self.until = until
        self.phases = []
        self.notes = []

    def step(self):
        wake_at = self.run.step(self.pod, (), self.random, self.now)
        self.notes += [(self.at, note.reason) for note in self.run.noted]
        self.run.noted = []
        self.pod["status"] = self.run.status(self.pod, ("192.0.2.1",), self.now)
        seen = self.summary()
        if not self.phases or self.phases[-1][1] != seen:
            self.phases.append((self.at, seen))
        return wake_at

    @property
    def at(self):
        return round(self.now - NOW, 3)

    def summary(self):
        status = self.pod["status"]
        statuses = status.get("containerStatuses") or [{}]
        state = statuses[0].get("state") or {}
        kind = next(iter(state), "")
        reason = state.get(kind, {}).get("reason", "") if kind else ""
        return status["phase"], kind, reason, statuses[0].get("restartCount", 0)

    def go(self):
        while (wake_at := self.step()) != float("inf") and wake_at - NOW <= self.until:
            assert wake_at > self.now, "time does not stand still"
            self.now = wake_at
        return self.phases


def annotated(annotations, **fields):
    return make_pod(metadata={"annotations": annotations}, **fields)


def test_a_pod_runs_on():
    history = History(make_pod())
    assert history.go() == [(0.0, ("Running", "running", "", 0))]
    assert [reason for _, reason in history.notes] == ["Pulled", "Created", "Started"]
    status = history.pod["status"]
    assert status["podIP"] == "10.0.0.5" and status["hostIP"] == "192.0.2.1"
    assert {c["type"]: c["status"] for c in status["conditions"]}["Ready"] == "True"


def test_a_pod_that_starts_late_is_pending_until_then():
    history = History(annotated({"cybernetes.io/start-delay": "5s"}))
    assert history.go() == [
        (0.0, ("Pending", "waiting", "ContainerCreating", 0)),
        (5.0, ("Running", "running", "", 0)),
    ]


def test_a_job_s_pod():
    history = History(annotated({"cybernetes.io/run-for": "30s"}, policy="Never"))
    assert history.go() == [
        (0.0, ("Running", "running", "", 0)),
        (30.0, ("Succeeded", "terminated", "Completed", 0)),
    ]


def test_a_crash_loop_has_a_kubelet_s_waits():
    history = History(annotated({"cybernetes.io/run-for": "1s", "cybernetes.io/exit-code": "2"}), until=400)
    history.go()
    starts = [at for at, reason in history.notes if reason == "Started"]
    # The first restart is at once; then 10, 20, 40, 80 and 160 s after each end.
    assert starts == [0.0, 1.0, 12.0, 33.0, 74.0, 155.0, 316.0]
    assert ("Running", "waiting", "CrashLoopBackOff", 1) in [seen for _, seen in history.phases]


def test_failures_that_end():
    annotations = {"cybernetes.io/run-for": "1s", "cybernetes.io/exit-code": "1", "cybernetes.io/failures": "2"}
    history = History(annotated(annotations, policy="OnFailure"))
    assert history.go()[-1][1] == ("Succeeded", "terminated", "Completed", 2)


def test_an_image_that_cannot_be_had():
    history = History(annotated({"cybernetes.io/image-error": "not found"}), until=60)
    seen = [state for _, state in history.go()]
    assert seen[0] == ("Pending", "waiting", "ErrImagePull", 0)
    assert seen[1] == ("Pending", "waiting", "ImagePullBackOff", 0)
    assert [at for at, reason in history.notes if reason == "Pulling"] == [0.0, 10.0, 30.0]


def test_readiness_comes_late():
    history = History(annotated({"cybernetes.io/ready-delay": "20s"}))
    history.step()
    assert history.pod["status"]["containerStatuses"][0]["ready"] is False
    history.now += 20
    history.step()
    assert history.pod["status"]["containerStatuses"][0]["ready"] is True


def test_a_deadline():
    history = History(make_pod(activeDeadlineSeconds=100))
    assert history.go()[-1] == (100.0, ("Failed", "terminated", "Completed", 0))
    assert history.pod["status"]["reason"] == "DeadlineExceeded"


@pytest.mark.parametrize(("stop", "grace", "ends_at", "code"), [(0, 30, 0, 0), (4, 30, 4, 0), (60, 30, 30, 137)])
def test_a_deletion(stop, grace, ends_at, code):
    history = History(annotated({"cybernetes.io/stop-delay": f"{stop}s"}))
    history.go()
    history.pod["metadata"] |= {"deletionTimestamp": "2023-11-14T22:13:20Z", "deletionGracePeriodSeconds": grace}
    history.go()
    assert history.at == ends_at and history.run.is_over
    ended = history.pod["status"]["containerStatuses"][0]["state"]["terminated"]
    assert ended["exitCode"] == code
    assert [reason for _, reason in history.notes].count("Killing") == 1


def test_init_containers_and_sidecars():
    inits = [container("i"), container("s", restartPolicy="Always")]
    annotations = {"run-for.cybernetes.io/i": "3s", "run-for.cybernetes.io/c": "5s"}
    history = History(annotated(annotations, inits=inits, policy="Never"))
    history.go()
    assert history.at == 8.0 and history.pod["status"]["phase"] == "Succeeded"
    sidecar = history.pod["status"]["initContainerStatuses"][1]
    assert "terminated" in sidecar["state"]


@pytest.mark.parametrize("moment", [0.0, 0.5, 1.0, 5.0, 12.5, 33.0, 100.0])
def test_a_run_goes_on_from_what_was_published(moment):
    """A process that ends and comes back continues each pod where its status in the API says it is."""
    annotations = {"cybernetes.io/run-for": "1s", "cybernetes.io/exit-code": "2"}
    straight = History(annotated(annotations), until=moment)
    straight.go()
    broken = History(straight.pod, until=400)
    broken.now = max(straight.now, NOW + moment)
    before = straight.pod["status"]["containerStatuses"][0]["restartCount"]
    broken.go()
    counts = [seen[3] for _, seen in broken.phases]
    assert counts == sorted(counts) and counts[0] in (before, before + 1) and counts[-1] > before


def test_the_published_status_needs_no_second_write():
    history = History(make_pod())
    history.go()
    again = SimulatedRun.adopt(history.pod)
    again.step(history.pod, (), history.random, NOW + 50)
    assert again.status(history.pod, ("192.0.2.1",), NOW + 50) == history.pod["status"]

"""Jobs: completions, parallelism, indexes, limits, policies, suspension, and counting that survives crashes."""

from itertools import pairwise

import pytest
from world import World, run_pod

from cybernetes.core.clock import format_time
from cybernetes.core.controllers.interface import Update
from cybernetes.core.controllers.job import Jobs
from cybernetes.core.controllers.job_indexes import COMPLETION_INDEX, Indexes
from cybernetes.core.controllers.job_policies import Backoff, backoff_wait_s, index_of
from cybernetes.core.objects import JOBS, PODS, condition, controller_of

FINALIZER = "batch.kubernetes.io/job-tracking"


def job(name="j", template=None, **spec):
    pod = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}], **(template or {})}
    metadata = {"labels": {"job-name": name}}
    defaults = {"parallelism": 1, "completions": 1, "backoffLimit": 6, "completionMode": "NonIndexed"}
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            **defaults,
            "selector": {"matchLabels": {"job-name": name}},
            "template": {"metadata": metadata, "spec": pod},
            **spec,
        },
    }


class Cluster(World):
    def __init__(self, seed=1):
        super().__init__(Jobs, seed=seed)
        self.most = 0
        self.observers.append(self.look)

    def look(self, gvr, old, new):
        self.most = max(self.most, len(self.running()))

    def running(self):
        return [
            pod
            for pod in self.all(PODS)
            if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")
            and "deletionTimestamp" not in pod["metadata"]
        ]

    def status(self, name="j"):
        return self.read(JOBS, name).get("status") or {}

    def verdict(self):
        for kind in ("Complete", "Failed"):
            found = condition(self.read(JOBS, "j"), kind)
            if found is not None and found["status"] == "True":
                return kind, found["reason"]
        return None

    def finish(self, pod, code=0, **status):
        if not pod["spec"].get("nodeName"):
            run_pod(self, pod)
        terminated = {"exitCode": code, "finishedAt": format_time(self.now)}
        state = [{"name": "c", "restartCount": 0, "state": {"terminated": terminated}}]
        phase = "Succeeded" if code == 0 else "Failed"
        patch = {"status": {"phase": phase, "conditions": None, "containerStatuses": state, **status}}
        self.change(PODS, pod["metadata"]["name"], patch, subresource="status")

    def finish_all(self, code=lambda pod: 0):
        for pod in self.running():
            self.finish(pod, code(pod))
        self.settle()

    def kubelet(self):
        """What is being deleted ends; without the finalizer it goes."""
        for pod in [pod for pod in self.all(PODS) if "deletionTimestamp" in pod["metadata"]]:
            if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed"):
                self.change(PODS, pod["metadata"]["name"], {"status": {"phase": "Failed"}}, subresource="status")
            current = self.stored[PODS].get(f"default/{pod['metadata']['name']}")
            if current is not None:
                self.delete(PODS, current, grace_period_s=0)
        self.settle()


@pytest.fixture
def cluster():
    return Cluster()


def test_one_pod_runs_to_completion(cluster):
    cluster.create(JOBS, job())
    cluster.settle()
    (pod,) = cluster.all(PODS)
    assert pod["metadata"]["name"].startswith("j-")
    assert pod["metadata"]["finalizers"] == [FINALIZER]
    assert controller_of(pod)["kind"] == "Job"
    assert cluster.status()["active"] == 1
    assert cluster.status()["startTime"] == format_time(cluster.now)
    cluster.pass_time(5)
    cluster.finish_all()
    status = cluster.status()
    assert cluster.verdict() == ("Complete", "CompletionsReached")
    assert condition(cluster.read(JOBS, "j"), "SuccessCriteriaMet")["status"] == "True"
    assert (status["succeeded"], status.get("active"), status["ready"]) == (1, None, 0)
    assert status["completionTime"] == format_time(cluster.now)
    assert status["uncountedTerminatedPods"] == {}
    assert cluster.all(PODS)[0]["metadata"].get("finalizers") in (None, [])
    assert cluster.messages("Completed") == ["Job completed"]


def test_parallelism_and_completions(cluster):
    cluster.create(JOBS, job(parallelism=3, completions=8))
    for _ in range(20):
        cluster.settle()
        for pod in cluster.running()[:2]:
            cluster.finish(pod)
    assert cluster.verdict() == ("Complete", "CompletionsReached")
    assert cluster.status()["succeeded"] == 8
    assert len(cluster.all(PODS)) == 8
    assert cluster.most <= 3


def test_a_work_queue_is_done_when_one_has_succeeded_and_all_have_ended(cluster):
    cluster.create(JOBS, job(parallelism=3, completions=None))
    cluster.settle()
    assert len(cluster.running()) == 3
    cluster.finish(cluster.running()[0])
    cluster.settle()
    assert cluster.verdict() is None and len(cluster.all(PODS)) == 3
    cluster.finish_all()
    assert cluster.verdict() == ("Complete", "CompletionsReached")


def test_a_changed_parallelism_removes_and_adds_without_counting(cluster):
    cluster.create(JOBS, job(parallelism=4, completions=10))
    cluster.settle()
    cluster.change(JOBS, "j", {"spec": {"parallelism": 1}})
    cluster.settle()
    assert len(cluster.running()) == 1
    assert cluster.status().get("failed") is None
    cluster.change(JOBS, "j", {"spec": {"parallelism": 2}})
    cluster.settle()
    assert len(cluster.running()) == 2


def test_failures_are_retried_with_growing_delays_up_to_the_limit(cluster):
    cluster.create(JOBS, job(backoffLimit=2))
    starts = []
    for _ in range(10):
        cluster.settle()
        if cluster.running():
            starts.append(cluster.now)
            cluster.finish_all(lambda pod: 1)
        cluster.pass_time(10)
    assert cluster.verdict() == ("Failed", "BackoffLimitExceeded")
    assert cluster.status()["failed"] == 3
    gaps = [round(later - earlier) for earlier, later in pairwise(starts)]
    assert gaps == [10, 20]
    assert cluster.messages("BackoffLimitExceeded") == ["Job has reached the specified backoff limit"]


def test_restarts_of_containers_count_with_on_failure(cluster):
    cluster.create(JOBS, job(template={"restartPolicy": "OnFailure"}, backoffLimit=2))
    cluster.settle()
    (pod,) = cluster.all(PODS)
    run_pod(cluster, pod)
    entries = [{"name": "c", "restartCount": 2, "state": {"running": {}}}]
    cluster.change(PODS, pod["metadata"]["name"], {"status": {"containerStatuses": entries}}, subresource="status")
    cluster.settle()
    cluster.kubelet()
    assert cluster.verdict() == ("Failed", "BackoffLimitExceeded")


def test_the_deadline_ends_the_job_once_its_pods_are_gone(cluster):
    cluster.create(JOBS, job(activeDeadlineSeconds=30))
    cluster.settle()
    run_pod(cluster, cluster.all(PODS)[0])
    cluster.pass_time(29)
    assert cluster.verdict() is None
    cluster.pass_time(2)
    assert condition(cluster.read(JOBS, "j"), "FailureTarget")["reason"] == "DeadlineExceeded"
    assert cluster.verdict() is None, "a pod is still ending"
    cluster.kubelet()
    assert cluster.verdict() == ("Failed", "DeadlineExceeded")
    assert cluster.all(PODS) == []


def test_indexes(cluster):
    cluster.create(JOBS, job(parallelism=2, completions=5, completionMode="Indexed"))
    for _ in range(20):
        cluster.settle()
        for pod in cluster.running()[:1]:
            cluster.finish(pod)
    assert cluster.verdict() == ("Complete", "CompletionsReached")
    assert cluster.status()["completedIndexes"] == "0-4"
    pods = {index_of(pod): pod for pod in cluster.all(PODS)}
    assert sorted(pods) == [0, 1, 2, 3, 4]
    pod = pods[3]
    assert pod["metadata"]["name"].startswith("j-3-")
    assert pod["spec"]["hostname"] == "j-3"
    assert pod["metadata"]["labels"][COMPLETION_INDEX] == "3"
    (variable,) = pod["spec"]["containers"][0]["env"]
    assert variable["name"] == "JOB_COMPLETION_INDEX"
    assert variable["valueFrom"]["fieldRef"]["fieldPath"] == f"metadata.labels['{COMPLETION_INDEX}']"


def test_a_failed_index_is_tried_again_and_others_go_on(cluster):
    cluster.create(JOBS, job(parallelism=3, completions=3, completionMode="Indexed"))
    cluster.settle()
    cluster.finish_all(lambda pod: 1 if index_of(pod) == 1 else 0)
    assert cluster.status()["completedIndexes"] == "0,2"
    cluster.pass_time(11)
    assert [index_of(pod) for pod in cluster.running()] == [1]
    cluster.finish_all()
    assert cluster.verdict() == ("Complete", "CompletionsReached")
    assert cluster.status()["failed"] == 1


def test_a_backoff_limit_per_index(cluster):
    spec = {"parallelism": 3, "completions": 3, "completionMode": "Indexed", "backoffLimitPerIndex": 1}
    cluster.create(JOBS, job(**spec, backoffLimit=2**31 - 1))
    for _ in range(10):
        cluster.settle()
        cluster.finish_all(lambda pod: 1 if index_of(pod) == 0 else 0)
        cluster.pass_time(30)
    assert cluster.verdict() == ("Failed", "FailedIndexes")
    status = cluster.status()
    assert (status["completedIndexes"], status["failedIndexes"]) == ("1,2", "0")
    assert status["failed"] == 2
    counts = sorted(
        pod["metadata"]["annotations"]["batch.kubernetes.io/job-index-failure-count"]
        for pod in cluster.all(PODS)
        if index_of(pod) == 0
    )
    assert counts == ["0", "1"]


def test_too_many_failed_indexes_end_the_job_early(cluster):
    spec = {"parallelism": 5, "completions": 5, "completionMode": "Indexed", "backoffLimitPerIndex": 0}
    cluster.create(JOBS, job(**spec, maxFailedIndexes=1, backoffLimit=2**31 - 1))
    cluster.settle()
    for pod in cluster.running()[:2]:
        cluster.finish(pod, 1)
    cluster.settle()
    cluster.kubelet()
    assert cluster.verdict() == ("Failed", "MaxFailedIndexesExceeded")


def policy(*rules):
    return {"rules": list(rules)}


def exit_codes(action, operator, *values):
    return {"action": action, "onExitCodes": {"operator": operator, "values": list(values)}}


DISRUPTED = {"onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}


def test_pod_failure_policy_fails_the_job(cluster):
    cluster.create(JOBS, job(podFailurePolicy=policy(exit_codes("FailJob", "In", 42))))
    cluster.settle()
    (pod,) = cluster.all(PODS)
    cluster.finish(pod, 42)
    cluster.settle()
    assert cluster.verdict() == ("Failed", "PodFailurePolicy")
    message = condition(cluster.read(JOBS, "j"), "Failed")["message"]
    name = pod["metadata"]["name"]
    assert message == f"Container c for pod default/{name} failed with exit code 42 matching FailJob rule at index 0"


def test_pod_failure_policy_ignores_disruptions(cluster):
    cluster.create(JOBS, job(backoffLimit=0, podFailurePolicy=policy({"action": "Ignore", **DISRUPTED})))
    cluster.settle()
    (pod,) = cluster.all(PODS)
    disrupted = [{"type": "DisruptionTarget", "status": "True"}]
    cluster.finish(pod, 137, conditions=disrupted)
    cluster.pass_time(20)
    assert cluster.status().get("failed") is None
    cluster.finish_all()
    assert cluster.verdict() == ("Complete", "CompletionsReached")


def test_pod_failure_policy_fails_an_index(cluster):
    rule = exit_codes("FailIndex", "In", 7)
    spec = {"completions": 2, "parallelism": 2, "completionMode": "Indexed", "backoffLimitPerIndex": 5}
    cluster.create(JOBS, job(**spec, backoffLimit=2**31 - 1, podFailurePolicy=policy(rule)))
    cluster.settle()
    cluster.finish_all(lambda pod: 7 if index_of(pod) == 0 else 0)
    assert cluster.verdict() == ("Failed", "FailedIndexes")


def test_a_success_policy_ends_the_job_before_all_indexes_are_done(cluster):
    rules = {"rules": [{"succeededIndexes": "0-1", "succeededCount": 1}]}
    cluster.create(JOBS, job(parallelism=4, completions=4, completionMode="Indexed", successPolicy=rules))
    cluster.settle()
    cluster.finish(next(pod for pod in cluster.running() if index_of(pod) == 1))
    for pod in cluster.running():
        run_pod(cluster, pod)
    cluster.settle()
    assert condition(cluster.read(JOBS, "j"), "SuccessCriteriaMet")["reason"] == "SuccessPolicy"
    cluster.kubelet()
    assert cluster.verdict() == ("Complete", "SuccessPolicy")
    assert cluster.status().get("failed") is None


def test_suspension(cluster):
    cluster.create(JOBS, job(parallelism=2, completions=4, suspend=True))
    cluster.settle()
    assert cluster.all(PODS) == []
    assert "startTime" not in cluster.status()
    assert condition(cluster.read(JOBS, "j"), "Suspended")["reason"] == "JobSuspended"
    cluster.pass_time(100)
    cluster.change(JOBS, "j", {"spec": {"suspend": False}})
    cluster.settle()
    assert len(cluster.running()) == 2
    assert cluster.status()["startTime"] == format_time(cluster.now)
    cluster.change(JOBS, "j", {"spec": {"suspend": True}})
    cluster.settle()
    assert cluster.running() == []
    assert cluster.status().get("failed") is None
    assert [event for event in cluster.messages() if event.startswith("Job ")] == [
        "Job suspended",
        "Job resumed",
        "Job suspended",
    ]


def test_pod_replacement_policy_waits_until_a_pod_has_really_failed(cluster):
    cluster.create(JOBS, job(podReplacementPolicy="Failed"))
    cluster.settle()
    (pod,) = cluster.all(PODS)
    run_pod(cluster, pod)
    cluster.delete(PODS, cluster.all(PODS)[0])
    cluster.pass_time(60)
    assert len(cluster.all(PODS)) == 1, "it is still ending"
    cluster.kubelet()
    cluster.pass_time(60)
    assert len(cluster.running()) == 1


def test_jobs_of_others_are_left_alone(cluster):
    cluster.create(JOBS, job(managedBy="example.com/kueue"))
    cluster.settle()
    assert cluster.writes == []


def test_pods_of_a_job_that_is_gone_are_let_go(cluster):
    cluster.create(JOBS, job())
    cluster.settle()
    cluster.drop(JOBS, cluster.read(JOBS, "j"))
    cluster.settle()
    assert cluster.all(PODS)[0]["metadata"].get("finalizers") in (None, [])


def test_a_finished_job_is_left_alone(cluster):
    cluster.create(JOBS, job())
    cluster.settle()
    cluster.finish_all()
    cluster.writes.clear()
    cluster.start_controllers()
    cluster.pass_time(10_000)
    assert cluster.writes == []


@pytest.mark.parametrize("indexed", [False, True])
@pytest.mark.parametrize("seed", range(25))
def test_every_pod_is_counted_once_whatever_crashes(indexed, seed):
    """Crashes between any two writes, lost writes, failures: the counters are exact in the end."""
    cluster = Cluster(seed)
    mode = "Indexed" if indexed else "NonIndexed"
    cluster.create(JOBS, job(parallelism=4, completions=12, backoffLimit=1000, completionMode=mode))
    cluster.crash = lambda action: cluster.random.uniform() < 0.1
    lost = []

    def refuse(action):
        if cluster.random.uniform() < 0.05:
            lost.append(action)
            raise ConnectionError("lost")

    cluster.refuse = refuse
    ended = {"Succeeded": set(), "Failed": set()}

    def note(gvr, old, new):
        if gvr == PODS and new is not None:
            phase = (new.get("status") or {}).get("phase")
            if phase in ended:
                ended[phase].add(new["metadata"]["uid"])

    cluster.observers.append(note)
    for _ in range(400):
        cluster.pass_time(5)
        if cluster.verdict():
            break
        for pod in cluster.running():
            if cluster.random.below(3) == 0:
                cluster.finish(pod, 1 if cluster.random.below(4) == 0 else 0)
    cluster.pass_time(2000)
    assert cluster.verdict() == ("Complete", "CompletionsReached")
    status = cluster.status()
    assert status["succeeded"] == 12
    assert status.get("failed", 0) == len(ended["Failed"])
    if not indexed:
        assert len(ended["Succeeded"]) == 12
    assert cluster.most <= 4
    assert all(not pod["metadata"].get("finalizers") for pod in cluster.all(PODS))
    assert any(isinstance(action, Update) for action in cluster.writes)


@pytest.mark.parametrize(
    ("text", "completions", "count", "again"),
    [
        ("", 5, 0, ""),
        ("0", 5, 1, "0"),
        ("1,3-5,7", 10, 5, "1,3-5,7"),
        ("0-9", 5, 5, "0-4"),
        ("1,2", 5, 2, "1,2"),
        ("x,2,y-3", 5, 1, "2"),
        ("7", 5, 0, ""),
    ],
)
def test_index_sets(text, completions, count, again):
    indexes = Indexes.parse(text, completions)
    assert len(indexes) == count
    assert str(indexes) == again
    assert [index for index in range(completions) if index in indexes] == [
        index for first, last in indexes.intervals for index in range(first, last + 1)
    ]


def test_missing_indexes_and_overlaps():
    indexes = Indexes.parse("0-2,5", 8)
    assert indexes.missing(10, 8) == [3, 4, 6, 7]
    assert indexes.missing(1, 8) == [3]
    assert indexes.overlap(Indexes.parse("2-6", 8)) == 2
    assert str(indexes.with_all([3, 4])) == "0-5"


def test_backoff():
    assert Backoff().wait_s(100.0) == 0.0
    assert [backoff_wait_s(failures, 100.0, 100.0) for failures in (1, 2, 3, 10)] == [10.0, 20.0, 40.0, 600.0]
    assert backoff_wait_s(1, 100.0, 105.0) == 5.0

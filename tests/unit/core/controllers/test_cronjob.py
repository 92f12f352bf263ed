"""Cron schedules and the CronJobs that follow them; finished Jobs that go by their TTL."""

import datetime
from zoneinfo import ZoneInfo

import pytest
from world import World

from cybernetes.core.clock import format_time, parse_time
from cybernetes.core.controllers.cron import CronError, parse, zone_of
from cybernetes.core.controllers.cronjob import CronJobs, missed_times
from cybernetes.core.controllers.ttl_after_finished import TtlAfterFinished
from cybernetes.core.objects import CRON_JOBS, JOBS

UTC = datetime.UTC
BERLIN = ZoneInfo("Europe/Berlin")
NEW_YORK = ZoneInfo("America/New_York")


@pytest.mark.parametrize(
    ("text", "after", "expected"),
    [
        ("* * * * *", "2024-01-01T00:00:30Z", "2024-01-01T00:01:00Z"),
        ("*/15 * * * *", "2024-01-01T00:16:00Z", "2024-01-01T00:30:00Z"),
        ("5/20 * * * *", "2024-01-01T00:00:00Z", "2024-01-01T00:05:00Z"),
        ("0 0 * * *", "2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z"),
        ("30 9 * * mon-fri", "2024-01-06T00:00:00Z", "2024-01-08T09:30:00Z"),
        ("0 12 1 jan ?", "2024-01-01T12:00:00Z", "2025-01-01T12:00:00Z"),
        ("0 0 29 2 *", "2024-02-29T00:00:00Z", "2028-02-29T00:00:00Z"),
        ("0 0 13 * 5", "2024-01-01T00:00:00Z", "2024-01-05T00:00:00Z"),
        ("0 0 13 * *", "2024-01-01T00:00:00Z", "2024-01-13T00:00:00Z"),
        ("0 0 31 * *", "2024-01-31T00:00:00Z", "2024-03-31T00:00:00Z"),
        ("@hourly", "2024-01-01T00:00:00Z", "2024-01-01T01:00:00Z"),
        ("@weekly", "2024-01-01T00:00:00Z", "2024-01-07T00:00:00Z"),
        ("@every 1h30m", "2024-01-01T00:00:10Z", "2024-01-01T01:30:10Z"),
        ("0,30 8-10/2 * * *", "2024-01-01T08:30:00Z", "2024-01-01T10:00:00Z"),
    ],
)
def test_the_next_time(text, after, expected):
    assert format_time(parse(text).next(parse_time(after))) == expected


def test_a_date_that_never_comes():
    assert parse("0 0 31 2 *").next(parse_time("2024-01-01T00:00:00Z")) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty spec string"),
        ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
        ("60 * * * *", "end of range (60) above maximum (59): 60"),
        ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
        ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("1/2/3 * * * *", "too many slashes: 1/2/3"),
        ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
        ("x * * * *", 'failed to parse int from x: strconv.Atoi: parsing "x": invalid syntax'),
        ("@fortnightly", "unrecognized descriptor: @fortnightly"),
        ("@every soon", 'failed to parse duration @every soon: time: invalid duration "soon"'),
        ("TZ=UTC 0 0 * * *", "cannot use TZ or CRON_TZ in the schedule, use timeZone instead"),
    ],
)
def test_what_is_refused(text, message):
    with pytest.raises(CronError) as caught:
        parse(text)
    assert str(caught.value) == message


def times(text, start, count, zone):
    at_s, found = parse_time(start), []
    for _ in range(count):
        at_s = parse(text).next(at_s, zone)
        found.append(datetime.datetime.fromtimestamp(at_s, zone).strftime("%m-%d %H:%M %z"))
    return found


def test_a_time_that_summer_time_skips_does_not_happen():
    assert times("30 2 * * *", "2024-03-30T12:00:00Z", 2, BERLIN) == ["04-01 02:30 +0200", "04-02 02:30 +0200"]


def test_a_time_that_comes_twice_happens_twice():
    found = times("30 1 * * *", "2024-11-02T12:00:00Z", 3, NEW_YORK)
    assert found == ["11-03 01:30 -0400", "11-03 01:30 -0500", "11-04 01:30 -0500"]


def test_hours_go_on_through_the_change():
    assert times("0 * * * *", "2024-03-31T00:30:00Z", 2, BERLIN) == ["03-31 03:00 +0200", "03-31 04:00 +0200"]


def test_unknown_zones():
    with pytest.raises(CronError, match="unknown time zone Mars/Olympus"):
        zone_of("Mars/Olympus")
    assert zone_of(None) is UTC


def test_missed_times_are_not_walked_through():
    schedule = parse("* * * * *")
    missed = missed_times(schedule, UTC, parse_time("2000-01-01T00:00:00Z"), parse_time("2024-01-01T00:00:30Z"))
    assert format_time(missed.latest) == "2024-01-01T00:00:00Z"
    assert missed.count > 12_000_000


def cron_job(schedule="0 * * * *", **spec):
    template = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}}}
    return {
        "metadata": {"name": "c", "namespace": "default"},
        "spec": {
            "schedule": schedule,
            "concurrencyPolicy": "Allow",
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 1,
            "jobTemplate": template,
            **spec,
        },
    }


class Cluster(World):
    """Starts on the hour."""

    def __init__(self, *makers, seed=1):
        super().__init__(CronJobs, *makers, seed=seed)
        self.now = parse_time("2024-01-01T00:00:00Z")

    def jobs(self):
        return sorted(self.all(JOBS), key=lambda job: job["metadata"]["name"])

    def finish(self, job, kind="Complete"):
        done = {"type": kind, "status": "True", "lastTransitionTime": format_time(self.now)}
        status = {"conditions": [done], "startTime": job["metadata"]["creationTimestamp"]}
        if kind == "Complete":
            status["completionTime"] = format_time(self.now)
        self.change(JOBS, job["metadata"]["name"], {"status": status}, subresource="status")
        self.settle()

    def running(self):
        return [job for job in self.jobs() if not (job.get("status") or {}).get("conditions")]

    def status(self):
        return self.read(CRON_JOBS, "c").get("status") or {}


@pytest.fixture
def cluster():
    return Cluster()


def test_a_job_at_every_time(cluster):
    cluster.create(CRON_JOBS, cron_job())
    cluster.pass_time(3599)
    assert cluster.jobs() == []
    cluster.pass_time(2)
    (job,) = cluster.jobs()
    due = parse_time("2024-01-01T01:00:00Z")
    assert job["metadata"]["name"] == f"c-{int(due // 60)}"
    assert job["metadata"]["annotations"] == {"batch.kubernetes.io/cronjob-scheduled-timestamp": "2024-01-01T01:00:00Z"}
    assert job["metadata"]["ownerReferences"][0]["kind"] == "CronJob"
    status = cluster.status()
    assert status["lastScheduleTime"] == "2024-01-01T01:00:00Z"
    assert [one["name"] for one in status["active"]] == [job["metadata"]["name"]]
    cluster.finish(job)
    assert "active" not in cluster.status()
    assert cluster.status()["lastSuccessfulTime"] == format_time(cluster.now)
    assert f"Saw completed job: {job['metadata']['name']}, condition: Complete" in cluster.messages("SawCompletedJob")


def test_a_year_in_seconds(cluster):
    cluster.create(CRON_JOBS, cron_job("30 */6 * * *", timeZone="Europe/Berlin"))
    made = []
    cluster.observers.append(lambda gvr, old, new: made.append(new) if gvr == JOBS and old is None else None)
    for _ in range(366):
        cluster.pass_time(86_400)
        for job in cluster.running():
            cluster.finish(job)
    assert len(made) == 366 * 4
    assert len(cluster.jobs()) <= 3 + 4
    assert cluster.reconciles < 20_000


def test_concurrency_policies():
    for policy, names in (("Allow", 3), ("Forbid", 1), ("Replace", 1)):
        cluster = Cluster()
        cluster.create(CRON_JOBS, cron_job(concurrencyPolicy=policy))
        cluster.pass_time(3 * 3600 + 10)
        assert len(cluster.jobs()) == names
        if policy == "Replace":
            assert cluster.jobs()[0]["metadata"]["annotations"].popitem()[1] == "2024-01-01T03:00:00Z"
            assert len(cluster.messages("SuccessfulDelete")) == 2
        if policy == "Forbid":
            assert cluster.messages("JobAlreadyActive")
            cluster.finish(cluster.jobs()[0])
            cluster.pass_time(1)
            assert len(cluster.running()) == 1, "the missed time is made up for"


def test_suspension_and_making_up_for_the_latest_only(cluster):
    cluster.create(CRON_JOBS, cron_job(suspend=True))
    cluster.pass_time(5 * 3600 + 60)
    assert cluster.jobs() == []
    cluster.change(CRON_JOBS, "c", {"spec": {"suspend": False}})
    cluster.pass_time(1)
    (job,) = cluster.jobs()
    assert job["metadata"]["annotations"].popitem()[1] == "2024-01-01T05:00:00Z"


def test_a_starting_deadline(cluster):
    cluster.create(CRON_JOBS, cron_job(suspend=True, startingDeadlineSeconds=30))
    cluster.pass_time(3600 + 60)
    cluster.change(CRON_JOBS, "c", {"spec": {"suspend": False}})
    cluster.pass_time(1)
    assert cluster.jobs() == []
    cluster.pass_time(3600)
    assert len(cluster.jobs()) == 1


def test_many_missed_times_are_told(cluster):
    cluster.create(CRON_JOBS, cron_job("* * * * *", suspend=True))
    cluster.pass_time(3 * 86_400)
    cluster.change(CRON_JOBS, "c", {"spec": {"suspend": False}})
    cluster.settle()
    assert len(cluster.jobs()) == 1
    assert cluster.messages("TooManyMissedTimes")


def test_histories_are_cut(cluster):
    cluster.create(CRON_JOBS, cron_job())
    for hour in range(12):
        cluster.pass_time(3600 + 1)
        for job in cluster.running():
            cluster.finish(job, "Failed" if hour % 2 else "Complete")
    kinds = [job["status"]["conditions"][0]["type"] for job in cluster.jobs()]
    assert (kinds.count("Complete"), kinds.count("Failed")) == (3, 1)


@pytest.mark.parametrize(
    ("spec", "reason", "message"),
    [
        (
            {"timeZone": "Mars/Olympus"},
            "UnknownTimeZone",
            'invalid timeZone: "Mars/Olympus": unknown time zone Mars/Olympus',
        ),
        (
            {"schedule": "sometimes"},
            "UnparseableSchedule",
            'unparseable schedule: "sometimes" : expected exactly 5 fields, found 1: [sometimes]',
        ),
        (
            {"schedule": "59 23 31 2 *"},
            "InvalidSchedule",
            "invalid schedule: 59 23 31 2 * : time difference between two schedules is less than 1 second",
        ),
    ],
)
def test_impossible_schedules_are_told_and_not_retried(cluster, spec, reason, message):
    cluster.create(CRON_JOBS, cron_job(**spec))
    cluster.pass_time(100_000)
    assert cluster.messages(reason) == [message]
    assert cluster.reconciles == 1


def test_jobs_that_vanish_or_appear_are_told(cluster):
    cluster.create(CRON_JOBS, cron_job())
    cluster.pass_time(3601)
    (job,) = cluster.jobs()
    cluster.drop(JOBS, job)
    cluster.settle()
    assert cluster.messages("MissingJob") == [f"Active job went missing: {job['metadata']['name']}"]
    assert "active" not in cluster.status()
    stranger = {"metadata": {**job["metadata"], "name": "stranger"}, "spec": {}}
    stranger["metadata"].pop("uid")
    cluster.create(JOBS, stranger)
    cluster.settle()
    assert cluster.messages("UnexpectedJob")


@pytest.mark.parametrize("seed", range(20))
def test_one_time_makes_one_job_whatever_crashes(seed):
    cluster = Cluster(seed=seed)
    cluster.crash = lambda action: cluster.random.uniform() < 0.2
    cluster.create(CRON_JOBS, cron_job(successfulJobsHistoryLimit=1000))
    for _ in range(48):
        cluster.pass_time(3600)
        for job in cluster.running():
            cluster.finish(job)
    cluster.pass_time(60)
    scheduled = [
        job["metadata"]["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"] for job in cluster.jobs()
    ]
    assert len(scheduled) == len(set(scheduled)) == 48


def test_a_finished_job_goes_by_its_ttl():
    cluster = Cluster(TtlAfterFinished)
    cluster.create(JOBS, {"metadata": {"name": "j", "namespace": "default"}, "spec": {"ttlSecondsAfterFinished": 100}})
    cluster.create(JOBS, {"metadata": {"name": "k", "namespace": "default"}, "spec": {}})
    cluster.pass_time(1000)
    for name in ("j", "k"):
        cluster.finish(cluster.read(JOBS, name))
    cluster.pass_time(99)
    assert len(cluster.jobs()) == 2
    cluster.change(JOBS, "j", {"spec": {"ttlSecondsAfterFinished": 200}})
    cluster.pass_time(50)
    assert len(cluster.jobs()) == 2, "prolonged in time"
    cluster.pass_time(60)
    left = {job["metadata"]["name"]: job for job in cluster.jobs()}
    assert "deletionTimestamp" in left["j"]["metadata"] and left["j"]["metadata"]["finalizers"] == [
        "foregroundDeletion"
    ]
    assert "deletionTimestamp" not in left["k"]["metadata"]

import pytest
import samples
from apiobjects import changed, made, matches, refusals, status_refusals, update_refusals

from cybernetes.core.api.validation.indexes import BadIndexes, count_indexes, find_overlap

JOB, CRON_JOB = samples.JOB, samples.CRON_JOB
INDEXED = changed(JOB, {"spec.completionMode": "Indexed", "spec.completions": 5})


@pytest.mark.parametrize(
    ("base", "changes", "expected"),
    [
        (
            JOB,
            {"spec.template.spec.restartPolicy": None},
            ['spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"'],
        ),
        (
            JOB,
            {"spec.template.metadata": {"labels": {"job-name": "z"}}},
            ["spec.template.metadata.labels[job-name]: Invalid value: {…"],
        ),
        (JOB, {"spec.completions": -1}, ["spec.completions: Invalid value: -1: must be greater than or equal to 0"]),
        (
            JOB,
            {"spec.maxFailedIndexes": 1},
            [
                "spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified",
                "spec.maxFailedIndexes: Invalid value: 1: requires indexed completion mode",
            ],
        ),
        (JOB, {"spec.managedBy": "x"}, ['spec.managedBy: Invalid value: "x": must be a domain-prefixed path…']),
        (
            JOB,
            {"spec.successPolicy": {"rules": []}},
            ['spec.successPolicy: Invalid value: {"rules":null}: requires indexed completion mode'],
        ),
        (
            INDEXED,
            {"spec.parallelism": 100_001},
            [
                "spec.parallelism: Invalid value: 100001: must be less than or equal to 100000 when completion mode is"
                " Indexed"
            ],
        ),
        (
            INDEXED,
            {"metadata.name": "a" * 62},
            ['metadata.name: Invalid value: "aaa…'],
        ),
        (
            INDEXED,
            {"spec.successPolicy": {"rules": [{"succeededIndexes": "1-3,2"}, {"succeededCount": 9}, {}]}},
            [
                'spec.successPolicy.rules[0].succeededIndexes: Invalid value: "1-3,2": error parsing'
                " succeededIndexes: non-increasing order, previous: 3, current: 2",
                "spec.successPolicy.rules[1].succeededCount: Invalid value: 9: must be less than or equal to 5 (the"
                " number of specified completions)",
                "spec.successPolicy.rules[2]: Required value: at least one of succeededCount or succeededIndexes must"
                " be specified",
            ],
        ),
        (
            JOB,
            {
                "spec.podFailurePolicy": {
                    "rules": [
                        {"action": "X"},
                        {"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [3, 0, 3]}},
                    ]
                }
            },
            [
                'spec.podFailurePolicy.rules[0].action: Unsupported value: "X": supported values: "Count",'
                ' "FailIndex", "FailJob", "Ignore"',
                "spec.podFailurePolicy.rules[0]: Invalid value: specifying one of OnExitCodes and OnPodConditions is"
                " required",
                'spec.podFailurePolicy.rules[1].action: Invalid value: "FailIndex": requires the backoffLimitPerIndex'
                " to be set",
                "spec.podFailurePolicy.rules[1].onExitCodes.values[1]: Invalid value: 0: must not be 0 for the In"
                " operator",
                "spec.podFailurePolicy.rules[1].onExitCodes.values[2]: Duplicate value: 3",
                "spec.podFailurePolicy.rules[1].onExitCodes.values: Invalid value: [3,0,3]: must be ordered",
            ],
        ),
        (
            CRON_JOB,
            {"spec.schedule": "x"},
            ['spec.schedule: Invalid value: "x": expected exactly 5 fields, found 1: [x]'],
        ),
        (
            CRON_JOB,
            {"spec.schedule": "TZ=UTC 0 0 * * *"},
            [
                'spec.schedule: Invalid value: "TZ=UTC 0 0 * * *": cannot use TZ or CRON_TZ in schedule, use timeZone'
                " field instead"
            ],
        ),
        (
            CRON_JOB,
            {"spec.timeZone": "Mars/Olympus"},
            ['spec.timeZone: Invalid value: "Mars/Olympus": unknown time zone Mars/Olympus'],
        ),
        (
            CRON_JOB,
            {"spec.timeZone": "local"},
            ['spec.timeZone: Invalid value: "local": timeZone must be an explicit…'],
        ),
        (
            CRON_JOB,
            {"spec.concurrencyPolicy": "X"},
            ['spec.concurrencyPolicy: Unsupported value: "X": supported values: "Allow", "Forbid", "Replace"'],
        ),
        (CRON_JOB, {"metadata.name": "a" * 53}, ['metadata.name: Invalid value: "aaa…']),
        (
            CRON_JOB,
            {"spec.jobTemplate.spec.manualSelector": True},
            ['spec.jobTemplate.spec.manualSelector: Unsupported value: true: supported values: "nil", "false"'],
        ),
    ],
)
def test_refused(base, changes, expected):
    matches(refusals(changed(base, changes)), expected)


def test_the_template_of_a_job_stays_unless_it_waits_suspended():
    job = made(JOB)
    image = {"spec.template.spec.containers.0.image": "other"}
    (text,) = update_refusals(changed(job, image), job)
    assert text.startswith("spec.template: Invalid value: ")
    waiting = changed(job, {"spec.suspend": True})
    placed = changed(waiting, {"spec.template.spec.nodeSelector": {"a": "b"}})
    sized = changed(waiting, {"spec.template.spec.containers.0.resources": {"limits": {"cpu": "1"}}})
    assert update_refusals(placed, waiting) == []
    assert update_refusals(sized, waiting) == []
    assert update_refusals(changed(waiting, image), waiting)


def test_completions_of_an_indexed_job_change_with_its_parallelism():
    job = made(INDEXED)
    assert update_refusals(changed(job, {"spec.completions": 7, "spec.parallelism": 7}), job) == []
    text = "spec.completions: Invalid value: 7: can only be modified in tandem with spec.parallelism"
    assert update_refusals(changed(job, {"spec.completions": 7}), job) == [text]


def condition(kind):
    return {"type": kind, "status": "True"}


def test_a_job_is_done_only_with_all_that_goes_with_it():
    job = made(JOB)
    done = changed(job, {"status": {"conditions": [condition("Complete")]}})
    matches(
        status_refusals(done, job),
        [
            "status.completionTime: Required value: completionTime is required for Complete jobs",
            "status.conditions: Invalid value: cannot set Complete=True condition without the SuccessCriteriaMet=true"
            " condition",
            "status.startTime: Required value: startTime is required for finished job",
        ],
    )
    whole = {
        "startTime": "2024-01-01T00:00:00Z",
        "completionTime": "2024-01-01T00:00:09Z",
        "succeeded": 1,
        "conditions": [condition("SuccessCriteriaMet"), condition("Complete")],
    }
    assert status_refusals(changed(job, {"status": whole}), job) == []


def test_what_a_job_has_counted_is_not_taken_back():
    job = made(JOB)
    before = changed(job, {"status": {"failed": 2, "succeeded": 3}})
    after = changed(job, {"status": {"failed": 1, "succeeded": 2}})
    matches(
        status_refusals(after, before),
        [
            "status.failed: Invalid value: 1: cannot decrease the failed counter",
            "status.succeeded: Invalid value: 2: cannot decrease the succeeded counter",
        ],
    )


@pytest.mark.parametrize(("text", "count"), [("", 0), ("0", 1), ("0-3", 4), ("0-3,5,7-9", 8), ("4", 1)])
def test_indexes_are_counted(text, count):
    assert count_indexes(text, 10) == count


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("3-1", "non-increasing order, previous: 3, current: 1"),
        ("1,1", "non-increasing order, previous: 1, current: 1"),
        ("10", 'too large index: "10"'),
        ("x", 'cannot convert string to integer for index: "x"'),
        ("1-2-3", 'the fragment "1-2-3" violates the requirement that an index interval can have at most two parts…'),
    ],
)
def test_what_is_no_set_of_indexes(text, message):
    with pytest.raises(BadIndexes) as refused:
        count_indexes(text, 10)
    matches([str(refused.value)], [message])


@pytest.mark.parametrize(
    ("one", "other", "first"), [("0-3,7", "4-6", None), ("0-3,7", "3", 3), ("5", "0-9", 5), ("", "1", None)]
)
def test_the_first_index_that_is_in_both(one, other, first):
    assert find_overlap(one, other, 10) == first

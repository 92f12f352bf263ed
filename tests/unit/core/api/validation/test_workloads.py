import pytest
import samples
from apiobjects import changed, made, matches, refusals, status_refusals, update_refusals

DEPLOYMENT, STATEFUL_SET, DAEMON_SET = samples.DEPLOYMENT, samples.STATEFUL_SET, samples.DAEMON_SET
NO_MATCH = "`selector` does not match template `labels`"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"spec.selector": None},
            [
                "spec.selector: Required value",
                f'spec.template.metadata.labels: Invalid value: {{"a":"b"}}: {NO_MATCH}',
            ],
        ),
        ({"spec.selector": {}}, ["spec.selector: Invalid value: {}: empty selector is invalid for deployment"]),
        (
            {"spec.template.metadata.labels": {"z": "1", "a": "c"}},
            [f'spec.template.metadata.labels: Invalid value: {{"a":"c","z":"1"}}: {NO_MATCH}'],
        ),
        ({"spec.replicas": -1}, ["spec.replicas: Invalid value: -1: must be greater than or equal to 0"]),
        (
            {"spec.strategy": {"type": "Foo"}},
            ['spec.strategy: Unsupported value: {"type":"Foo"}: supported values: "Recreate", "RollingUpdate"'],
        ),
        (
            {"spec.strategy": {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}},
            ["spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"],
        ),
        (
            {"spec.strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}},
            [
                'spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "0%": may not be 0 when `maxSurge` is 0',
            ],
        ),
        (
            {"spec.strategy": {"rollingUpdate": {"maxSurge": "x", "maxUnavailable": "150%"}}},
            [
                'spec.strategy.rollingUpdate.maxSurge: Invalid value: "x": a valid percent string must be a numeric…',
                'spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "150%": must not be greater than 100%',
            ],
        ),
        (
            {"spec.template.spec.restartPolicy": "Never", "spec.template.spec.activeDeadlineSeconds": 5},
            [
                'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"',
                "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not…",
            ],
        ),
        (
            {"spec.minReadySeconds": 10, "spec.progressDeadlineSeconds": 10},
            ["spec.progressDeadlineSeconds: Invalid value: 10: must be greater than minReadySeconds"],
        ),
        ({"spec.template.spec.containers": []}, ["spec.template.spec.containers: Required value"]),
        ({"metadata.name": "A"}, ['metadata.name: Invalid value: "A": a lowercase RFC 1123 subdomain must consist…']),
    ],
)
def test_deployments(changes, expected):
    matches(refusals(changed(DEPLOYMENT, changes)), expected)


def test_the_selector_of_a_deployment_stays():
    other = changed(DEPLOYMENT, {"spec.selector.matchLabels": {"a": "c"}, "spec.template.metadata.labels": {"a": "c"}})
    matches(
        update_refusals(other, DEPLOYMENT),
        ['spec.selector: Invalid value: {"matchLabels":{"a":"c"}}: field is immutable'],
    )


def test_a_template_that_stays_is_not_checked_again():
    bad = changed(DEPLOYMENT, {"spec.template.spec.containers.0.name": "A"})
    assert refusals(bad)
    assert update_refusals(changed(bad, {"spec.replicas": 3}), bad) == []
    assert update_refusals(bad, DEPLOYMENT)


def test_a_count_below_zero_makes_all_others_too_large():
    new = changed(DEPLOYMENT, {"status": {"replicas": -1, "updatedReplicas": -1, "readyReplicas": -1}})
    matches(
        status_refusals(new, DEPLOYMENT),
        [
            "status.replicas: Invalid value: -1: must be greater than or equal to 0",
            "status.updatedReplicas: Invalid value: -1: must be greater than or equal to 0",
            "status.readyReplicas: Invalid value: -1: must be greater than or equal to 0",
            "status.availableReplicas: Invalid value: 0: cannot be greater than status.replicas",
            "status.availableReplicas: Invalid value: 0: cannot be greater than readyReplicas",
        ],
    )


def test_the_status_of_a_deployment_adds_up():
    status = {"replicas": 1, "updatedReplicas": -1, "readyReplicas": 2, "availableReplicas": 3, "collisionCount": 1}
    new = changed(DEPLOYMENT, {"status": status})
    old = changed(DEPLOYMENT, {"status": {"collisionCount": 2}})
    matches(
        status_refusals(new, old),
        [
            "status.updatedReplicas: Invalid value: -1: must be greater than or equal to 0",
            "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas",
            "status.availableReplicas: Invalid value: 3: cannot be greater than status.replicas",
            "status.availableReplicas: Invalid value: 3: cannot be greater than readyReplicas",
            "status.collisionCount: Invalid value: 1: cannot be decremented",
        ],
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"metadata.name": "a.b"}, ['metadata.name: Invalid value: "a.b": must not contain dots']),
        (
            {"spec.podManagementPolicy": "Both"},
            ["spec.podManagementPolicy: Invalid value: \"Both\": must be 'OrderedReady' or 'Parallel'"],
        ),
        (
            {"spec.updateStrategy": {"type": "OnDelete", "rollingUpdate": {"partition": 1}}},
            [
                'spec.updateStrategy.rollingUpdate: Invalid value: {"partition":1}: only allowed for updateStrategy'
                " 'RollingUpdate'"
            ],
        ),
        ({"spec.serviceName": "A"}, ['spec.serviceName: Invalid value: "A": a lowercase RFC 1123 label must consist…']),
        (
            {"spec.volumeClaimTemplates.0.spec.accessModes": ["Some"]},
            ['spec.volumeClaimTemplates[0].spec.accessModes: Unsupported value: "Some": supported values: …'],
        ),
        (
            {"spec.persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Keep"}},
            [
                'spec.persistentVolumeClaimRetentionPolicy.whenDeleted: Unsupported value: "Keep": supported values:'
                ' "Retain", "Delete"'
            ],
        ),
        (
            {"spec.ordinals": {"start": -1}},
            ["spec.ordinals.start: Invalid value: -1: must be greater…"],
        ),
    ],
)
def test_stateful_sets(changes, expected):
    matches(refusals(changed(STATEFUL_SET, changes)), expected)


def test_the_claims_of_a_stateful_set_are_volumes_of_its_pods():
    mount = [{"name": "v", "mountPath": "/v"}]
    mounted = changed(STATEFUL_SET, {"spec.template.spec.containers.0.volumeMounts": mount})
    assert refusals(mounted) == []
    path = "spec.template.spec.containers[0].volumeMounts[0].name"
    matches(refusals(changed(mounted, {"spec.volumeClaimTemplates": None})), [f'{path}: Not found: "v"'])


def test_little_of_a_stateful_set_may_change():
    assert update_refusals(changed(STATEFUL_SET, {"spec.replicas": 5, "spec.minReadySeconds": 3}), STATEFUL_SET) == []
    matches(
        update_refusals(changed(STATEFUL_SET, {"spec.serviceName": "t"}), STATEFUL_SET),
        [
            "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template',"
            " 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds'"
            " are forbidden"
        ],
    )


def test_surge_or_unavailable_but_not_both_in_a_daemon_set():
    path = "spec.updateStrategy.rollingUpdate"
    both = changed(DAEMON_SET, {path: {"maxSurge": 1, "maxUnavailable": 1}})
    none = changed(DAEMON_SET, {path: {"maxSurge": 0, "maxUnavailable": 0}})
    matches(refusals(both), [f"{path}.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero"])
    matches(refusals(none), [f"{path}.maxUnavailable: Required value: cannot be 0 when maxSurge is 0"])


def test_replication_controllers_select_by_plain_labels():
    other = changed(samples.REPLICATION_CONTROLLER, {"spec.selector": {"q": "r"}})
    matches(refusals(other), [f'spec.template.metadata.labels: Invalid value: {{"a":"b"}}: {NO_MATCH}'])
    assert made(samples.REPLICATION_CONTROLLER)["spec"]["selector"] == {"a": "b"}


def test_revisions_hold_an_object():
    revision = samples.kind("apps/v1", "ControllerRevision", revision=-1)
    matches(
        refusals(revision),
        [
            "revision: Invalid value: -1: must be greater than or equal to 0",
            "data: Required value: data is mandatory",
        ],
    )

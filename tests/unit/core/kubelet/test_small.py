"""The small decisions: back-off, expansion, durations, grace periods, quality of service, names of images."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from podhelpers import container, pod

from cybernetes.core.kubelet import spec
from cybernetes.core.kubelet.backoff import Backoff, format_duration
from cybernetes.core.kubelet.expansion import expand_from, expand_sub_path
from cybernetes.core.kubelet.images import credentials, parse_image, pull_policy, with_default_tag
from cybernetes.core.kubelet.qos import oom_score_adjust, qos_class
from cybernetes.core.kubelet.resources import container_limit, container_request, pod_limit, pod_limits, pod_requests


def test_a_crash_loop_waits_ten_seconds_doubling_to_five_minutes():
    backoff = Backoff(10, 300, 600)
    now, waits = 0.0, []
    for _ in range(8):
        wait = backoff.remaining_since("k", now, now)
        waits.append(wait)
        backoff.next("k", now, now + wait)
        now += wait + 1
    assert waits == [0, 10, 20, 40, 80, 160, 300, 300]


def test_ten_good_minutes_forgive():
    backoff = Backoff(10, 300, 600)
    backoff.next("k", 0, 0)
    backoff.next("k", 5, 5)
    assert backoff.get("k") == 20
    assert backoff.remaining_since("k", 606, 606) == 0
    backoff.next("k", 606, 606)
    assert backoff.get("k") == 10


def test_a_pull_waits_from_its_failure():
    backoff = Backoff(10, 300)
    backoff.next("k", 100, 100)
    assert backoff.remaining("k", 104) == 6 and backoff.remaining("k", 111) == 0
    assert backoff.remaining("other", 104) == 0


def test_old_entries_are_dropped():
    backoff = Backoff(1, 10)
    for number in range(100):
        backoff.next(str(number), 0, 0)
    backoff.next("new", 1000, 1000)
    assert len(backoff) == 1
    backoff.next("new/1", 1000, 1000)
    backoff.forget_prefix("new/")
    assert len(backoff) == 1


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (10, "10s"),
        (160, "2m40s"),
        (300, "5m0s"),
        (3600, "1h0m0s"),
        (1.5, "1.5s"),
        (0.35, "350ms"),
        (0, "0s"),
        (0.0005, "500µs"),
    ],
)
def test_durations_are_printed_as_go_does(seconds, text):
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)", "1"),
        ("$$(A)", "$(A)"),
        ("$(A)-$$(A)-$(MISSING)-$(A", "1-$(A)-$(MISSING)-$(A"),
        ("$$$(A)", "$1"),
        ("$$$$(A)", "$$(A)"),
        ("$A ${A} $", "$A ${A} $"),
        ("$(A)$(B)", "12"),
        ("plain", "plain"),
        ("$()", "$()"),
        ("$((A))", "$((A))"),
        ("foo$(A)bar$", "foo1bar$"),
    ],
)
def test_expansion(text, expected):
    assert expand_from(text, {"A": "1"}, {"A": "x", "B": "2"}) == expected


@given(st.text(alphabet="$()AB x"))
def test_expansion_without_variables_only_folds_dollars(text):
    assert expand_from(text) == text.replace("$$", "$") or "$$" in text


def test_a_sub_path_needs_all_its_variables():
    assert expand_sub_path("$(A)/x", {"A": "1"}) == "1/x"
    with pytest.raises(ValueError, match="missing value for B, C"):
        expand_sub_path("$(C)/$(B)/$(A)", {"A": "1", "B": ""})


@pytest.mark.parametrize(
    ("metadata", "spec_fields", "probe_grace", "because", "expected"),
    [
        ({"deletionGracePeriodSeconds": 5}, {"terminationGracePeriodSeconds": 30}, None, "", 5),
        ({}, {"terminationGracePeriodSeconds": 30}, None, "", 30),
        ({}, {"terminationGracePeriodSeconds": 30}, 7, "LivenessProbe", 7),
        ({}, {"terminationGracePeriodSeconds": 30}, 7, "", 30),
        ({}, {}, None, "", 2),
    ],
)
def test_grace_periods(metadata, spec_fields, probe_grace, because, expected):
    probe = {"livenessProbe": {"terminationGracePeriodSeconds": probe_grace}} if probe_grace else {}
    given_pod = pod(container(**probe), metadata=metadata, **spec_fields)
    assert spec.grace_period_s(given_pod, given_pod["spec"]["containers"][0], because) == expected


def resources(requests=None, limits=None):
    return {"resources": {k: v for k, v in (("requests", requests), ("limits", limits)) if v}}


FULL = {"cpu": "1", "memory": "1Gi"}


@pytest.mark.parametrize(
    ("given_pod", "expected"),
    [
        (pod(container()), "BestEffort"),
        (pod(container(**resources(FULL, FULL))), "Guaranteed"),
        (pod(container(**resources({"cpu": "1000m", "memory": "1Gi"}, FULL))), "Guaranteed"),
        (pod(container(**resources({"cpu": "1"}, FULL))), "Burstable"),
        (pod(container("a", **resources(FULL, FULL)), container("b")), "Burstable"),
        (pod(container(**resources({"cpu": "0"}))), "BestEffort"),
        (pod(container(**resources({"example.com/gpu": "1"}, {"example.com/gpu": "1"}))), "BestEffort"),
        (pod(container(**resources(FULL, FULL)), inits=[container("i")]), "Burstable"),
        (pod(container(), resources={"requests": FULL, "limits": FULL}), "Guaranteed"),
    ],
)
def test_quality_of_service(given_pod, expected):
    assert qos_class(given_pod) == expected


def test_oom_scores():
    gigabyte = 1 << 30
    best_effort, guaranteed = pod(container()), pod(container(**resources(FULL, FULL)))
    burstable = pod(container(**resources({"memory": "4Gi"})))
    tiny = pod(container(**resources({"memory": "1"})))

    def score(given_pod):
        return oom_score_adjust(given_pod, given_pod["spec"]["containers"][0], 8 * gigabyte)

    assert (score(best_effort), score(guaranteed), score(burstable), score(tiny)) == (1000, -997, 500, 999)


def test_requests_of_a_pod_are_its_height():
    given_pod = pod(
        container("a", **resources({"cpu": "1", "memory": "1Gi"})),
        container("b", **resources({"cpu": "500m"})),
        inits=[
            container("i", **resources({"cpu": "3"})),
            container("s", restartPolicy="Always", **resources({"cpu": "200m"})),
            container("j", **resources({"memory": "4Gi"})),
        ],
        overhead={"cpu": "100m"},
    )
    assert pod_requests(given_pod) == {"cpu": 3100, "memory": 4 << 30}
    given_pod["spec"]["resources"] = {"requests": {"cpu": "7"}}
    assert pod_requests(given_pod)["cpu"] == 7100


def test_limits_add_up_over_sidecars_and_the_height_of_init_containers():
    given_pod = pod(
        container("a", **resources(None, {"cpu": "1"})),
        inits=[
            container("s", restartPolicy="Always", **resources(None, {"cpu": "1"})),
            container("i", **resources(None, {"cpu": "3"})),
        ],
        overhead={"cpu": "100m", "memory": "1Mi"},
    )
    assert pod_limits(given_pod) == {"cpu": 4100}
    given_pod["spec"]["resources"] = {"limits": {"cpu": "2"}}
    assert pod_limits(given_pod) == {"cpu": 2100}


def test_limits():
    given_pod = pod(container("a", **resources(None, FULL)), container("b"))
    a, b = given_pod["spec"]["containers"]
    assert container_limit(given_pod, a, "cpu") == 1000 and container_limit(given_pod, b, "cpu") == 0
    assert container_request(a, "memory") == 1 << 30 and container_request(b, "memory") == 0
    assert pod_limit(given_pod, "cpu") == 0  # b has none, so the pod has none
    given_pod["spec"]["containers"][1]["resources"] = {"limits": FULL}
    assert pod_limit(given_pod, "cpu") == 2000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nginx", ("docker.io", "library/nginx", "latest", "")),
        ("nginx:1.27", ("docker.io", "library/nginx", "1.27", "")),
        ("library/nginx", ("docker.io", "library/nginx", "latest", "")),
        ("registry.k8s.io/pause:3.10", ("registry.k8s.io", "pause", "3.10", "")),
        ("localhost:5000/a/b", ("localhost:5000", "a/b", "latest", "")),
        ("localhost/a", ("localhost", "a", "latest", "")),
        ("a@sha256:" + "0" * 64, ("docker.io", "library/a", "", "sha256:" + "0" * 64)),
        ("a:t@sha256:" + "0" * 64, ("docker.io", "library/a", "t", "sha256:" + "0" * 64)),
    ],
)
def test_names_of_images(text, expected):
    assert tuple(parse_image(text)) == expected


@pytest.mark.parametrize("text", ["", "UPPER", "a b", "a:", "a@sha256:short", "-a", "a//b", "http://a/b"])
def test_what_is_no_image(text):
    with pytest.raises(ValueError, match="couldn't parse image name"):
        parse_image(text)


def test_default_tags_and_policies():
    assert with_default_tag("nginx") == "nginx:latest"
    assert with_default_tag("nginx:1") == "nginx:1"
    assert with_default_tag("localhost:5000/a") == "localhost:5000/a:latest"
    assert pull_policy("nginx", None) == "Always" and pull_policy("nginx:1", None) == "IfNotPresent"
    assert pull_policy("nginx", "Never") == "Never"


def test_credentials_of_the_best_fitting_registry_come_first():
    import base64
    import json

    def secret(auths):
        return {"data": {".dockerconfigjson": base64.b64encode(json.dumps({"auths": auths}).encode()).decode()}}

    auth = base64.b64encode(b"hub:h").decode()
    secrets = [
        secret({"https://index.docker.io/v1/": {"auth": auth}, "*.example.com": {"username": "w", "password": "1"}}),
        secret({"r.example.com/team": {"username": "t", "password": "2"}, "r.example.com:5000": {"username": "p"}}),
        {"data": {".dockerconfigjson": "!!!"}},
    ]
    assert credentials("nginx", secrets) == [("hub", "h")]
    assert credentials("r.example.com/team/app", secrets) == [("t", "2"), ("w", "1")]
    assert credentials("r.example.com/other", secrets) == [("w", "1")]
    assert credentials("r.example.com:5000/other", secrets) == [("p", "")]
    assert credentials("quay.io/x", secrets) == []

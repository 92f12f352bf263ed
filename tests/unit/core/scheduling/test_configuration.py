from __future__ import annotations

from typing import Any

import pytest

from cybernetes.core.scheduling.configuration import Configuration, ConfigurationError
from cybernetes.core.scheduling.extender import Extender, ExtenderError
from cybernetes.core.scheduling.interface import Code

HEAD = {"apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration"}

WHOLE = """
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
parallelism: 16
leaderElection: {leaderElect: false}
podInitialBackoffSeconds: 2
podMaxBackoffSeconds: 20
profiles:
- schedulerName: default-scheduler
- schedulerName: packed
  plugins:
    score:
      disabled: [{name: ImageLocality}]
      enabled: [{name: NodeResourcesFit, weight: 5}]
  pluginConfig:
  - name: NodeResourcesFit
    args:
      apiVersion: kubescheduler.config.k8s.io/v1
      kind: NodeResourcesFitArgs
      scoringStrategy: {type: MostAllocated, resources: [{name: cpu, weight: 1}]}
extenders:
- urlPrefix: http://127.0.0.1:8888/scheduler/
  filterVerb: filter
  prioritizeVerb: prioritize
  weight: 2
  httpTimeout: 1m30s
  nodeCacheCapable: true
  managedResources: [{name: example.com/gpu, ignoredByScheduler: true}]
  ignorable: true
"""


def test_a_whole_file() -> None:
    found = Configuration.from_text(WHOLE)
    assert [profile.scheduler_name for profile in found.profiles] == ["default-scheduler", "packed"]
    assert (found.initial_backoff_s, found.max_backoff_s) == (2, 20)
    (extender,) = found.extenders
    assert (extender.url_prefix, extender.timeout_s) == ("http://127.0.0.1:8888/scheduler", 90)
    assert extender.knows_nodes
    assert extender.is_ignorable
    # What an extender counts is none of the fit's business, whatever the profile.
    assert [profile.args["NodeResourcesFit"]["ignoredResources"] for profile in found.profiles] == [
        ["example.com/gpu"],
        ["example.com/gpu"],
    ]


def test_an_empty_one_is_the_default() -> None:
    found = Configuration.from_object(HEAD)
    assert [profile.scheduler_name for profile in found.profiles] == ["default-scheduler"]
    assert (found.initial_backoff_s, found.max_backoff_s, found.extenders) == (1, 10, ())


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"apiVersion": "kubescheduler.config.k8s.io/v1beta3"}, 'no kind "KubeSchedulerConfiguration" is registered'),
        ({"profile": []}, 'unknown field "profile"'),
        ({"parallelism": 0}, "parallelism: Invalid value: 0: should be an integer value greater than zero"),
        (
            {"percentageOfNodesToScore": 101},
            r"percentageOfNodesToScore: Invalid value: 101: not in valid range \[0-100\]",
        ),
        ({"podInitialBackoffSeconds": 0}, "podInitialBackoffSeconds: Invalid value: 0: must be greater than 0"),
        ({"podMaxBackoffSeconds": -1}, "must be greater than or equal to PodInitialBackoffSeconds"),
        ({"profiles": [{}, {"schedulerName": "b"}]}, r"profiles\[0\]\.schedulerName: Required value"),
        ({"profiles": [{"schedulerName": "a"}] * 2}, r"profiles\[1\]\.schedulerName: Duplicate value"),
        ({"profiles": [{"pluginConfig": [{"name": "NodeResourcesFit", "args": {"x": 1}}]}]}, 'unknown field "x"'),
        ({"profiles": [{"pluginConfig": [{"name": "EBSLimits"}]}]}, '"EBSLimits": was invalid in version'),
        (
            {"profiles": [{"plugins": {"filter": {"enabled": [{"weight": 1}]}}}]},
            r"filter\.enabled\[0\]\.name: Required",
        ),
        ({"profiles": [{"plugins": 7}]}, r"profiles\[0\]"),
        ({"extenders": [{"prioritizeVerb": "p"}]}, r"extenders\[0\]\.weight: Invalid value: 0: must have a positive"),
        ({"extenders": [{"bindVerb": "b"}] * 2}, "only one extender can implement bind"),
        ({"extenders": [{"httpTimeout": "5"}]}, r'extenders\[0\]\.httpTimeout: time: invalid duration "5"'),
        ({"extenders": [{"managedResources": [{"name": "cpu"}]}]}, "is an invalid extended resource name"),
    ],
)
def test_what_a_file_gets_wrong(more: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        Configuration.from_object({**HEAD, **more})


def test_every_mistake_is_named_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Configuration.from_object({**HEAD, "parallelism": -1, "podInitialBackoffSeconds": -1, "extenders": [{"a": 1}]})
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize("text", ["a: [", "- a", "", "kind: 3"])
def test_what_is_no_configuration(text: str) -> None:
    with pytest.raises(ConfigurationError):
        Configuration.from_text(text)


NAMES = ["a", "b", "c"]


@pytest.mark.parametrize("knows_nodes", [True, False])
def test_what_an_extender_refuses(knows_nodes: bool) -> None:
    extender = Extender("http://x", filter_verb="f", knows_nodes=knows_nodes)
    kept = {"NodeNames": ["a"]} if knows_nodes else {"nodes": {"items": [{"metadata": {"name": "a"}}]}}
    refused = extender.read_filtered(
        {**kept, "FailedNodes": {"b": "too hot"}, "failedAndUnresolvableNodes": {"c": "burnt"}}, NAMES
    )
    assert {name: (status.code, status.message) for name, status in refused.items()} == {
        "b": (Code.UNSCHEDULABLE, "too hot"),
        "c": (Code.UNRESOLVABLE, "burnt"),
    }


@pytest.mark.parametrize("answer", [{"Error": "out of order"}, {"NodeNames": ["elsewhere"]}])
def test_an_extender_that_fails(answer: dict[str, Any]) -> None:
    with pytest.raises(ExtenderError):
        Extender("http://x", filter_verb="f", knows_nodes=True).read_filtered(answer, NAMES)


def test_what_an_extender_prefers() -> None:
    extender = Extender("http://x", prioritize_verb="p", weight=3)
    assert extender.read_priorities([{"Host": "a", "Score": 10}, {"host": "b", "score": 1}]) == {"a": 300, "b": 30}
    with pytest.raises(ExtenderError):
        extender.read_priorities({"Host": "a"})


def test_an_extender_is_asked_about_what_it_manages() -> None:
    extender = Extender.from_object({"managedResources": [{"name": "example.com/gpu"}]})
    plain = {"spec": {"containers": [{"name": "c"}]}}
    wants = {"spec": {"containers": [{"name": "c", "resources": {"limits": {"example.com/gpu": "1"}}}]}}
    assert not extender.is_interested(plain)
    assert extender.is_interested(wants)
    assert Extender("http://x").is_interested(plain)

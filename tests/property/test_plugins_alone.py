"""Each plugin alone, by columns and node by node: a profile with it and nothing else, on random clusters.

All together are in ``test_scheduling.py``; alone, none hides behind another that refuses first or scores more.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from randomclusters import OBJECTS, check_counts, check_pod, nodes, pods

from cybernetes.core.clock import Random
from cybernetes.core.scheduling.plugins.registry import DEFAULT_PLUGINS
from cybernetes.core.scheduling.scheduler import Scheduler

#: Those that judge nodes by what random pods and nodes have; claims and devices have tests of their own.
PLUGINS = (
    "NodeUnschedulable",
    "NodeName",
    "TaintToleration",
    "NodeAffinity",
    "NodePorts",
    "NodeResourcesFit",
    "PodTopologySpread",
    "InterPodAffinity",
    "NodeResourcesBalancedAllocation",
    "ImageLocality",
    "NodeDeclaredFeatures",
)

ARGS: dict[str, list[dict[str, Any]]] = {
    "NodeResourcesFit": [
        {},
        {"scoringStrategy": {"type": "MostAllocated", "resources": [{"name": "memory", "weight": 3}]}},
        {"ignoredResources": ["example.com/gpu"]},
        {
            "scoringStrategy": {
                "type": "RequestedToCapacityRatio",
                "resources": [{"name": "cpu", "weight": 1}, {"name": "example.com/gpu", "weight": 5}],
                "requestedToCapacityRatio": {
                    "shape": [{"utilization": 0, "score": 0}, {"utilization": 80, "score": 9}]
                },
            }
        },
    ],
    "NodeAffinity": [
        {},
        {
            "addedAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [{"matchExpressions": [{"key": "disk", "operator": "Exists"}]}]
                }
            }
        },
    ],
    "PodTopologySpread": [
        {},
        {
            "defaultingType": "List",
            "defaultConstraints": [
                {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway"}
            ],
        },
    ],
    "InterPodAffinity": [{}, {"hardPodAffinityWeight": 30}, {"ignorePreferredTermsOfExistingPods": True}],
    "NodeResourcesBalancedAllocation": [{}, {"resources": [{"name": "cpu", "weight": 1}]}],
}


def test_the_list_is_whole() -> None:
    elsewhere = {
        "SchedulingGates",
        "PrioritySort",
        "VolumeRestrictions",
        "NodeVolumeLimits",
        "VolumeBinding",
        "VolumeZone",
        "DynamicResources",
        "DefaultPreemption",
        "DefaultBinder",
    }
    assert {name for name, _ in DEFAULT_PLUGINS} == {*PLUGINS, *elsewhere}


@pytest.mark.parametrize("plugin", PLUGINS)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_plugin_alone(plugin: str, data: st.DataObject) -> None:
    enabled = [{"name": "PrioritySort"}, {"name": "DefaultBinder"}, {"name": plugin, "weight": 3}]
    args = data.draw(st.sampled_from(ARGS.get(plugin, [{}])))
    profile = {
        "plugins": {"multiPoint": {"disabled": [{"name": "*"}], "enabled": enabled}},
        "pluginConfig": [{"name": plugin, "args": args}],
    }
    scheduler = Scheduler(
        [data.draw(nodes(f"n{i}")) for i in range(data.draw(st.integers(2, 5)))],
        profile=profile,
        objects=OBJECTS,
        random=Random(data.draw(st.integers(0, 99))),
    )
    for step in range(data.draw(st.integers(1, 8))):
        if data.draw(st.integers(0, 4)) == 0:
            scheduler.put_node(data.draw(nodes(f"n{data.draw(st.integers(0, 5))}")))
        pod = data.draw(pods(f"p{step}"))
        check_pod(scheduler, pod)
        scheduler.schedule(pod)
        check_counts(scheduler)

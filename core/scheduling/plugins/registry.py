"""Every plugin that ships, by name, and the default profile of kube-scheduler 1.36 (GangScheduling is not in it).

A plugin of your own is a callable of (its args from the profile, the ``Handle``) that returns the plugin: given to the
scheduler by name, or found by entry point in the group ``cybernetes.scheduler_plugins``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cybernetes.core.scheduling.handle import Handle
from cybernetes.core.scheduling.interface import Plugin
from cybernetes.core.scheduling.plugins.balancedallocation import NodeResourcesBalancedAllocation
from cybernetes.core.scheduling.plugins.defaultbinder import DefaultBinder
from cybernetes.core.scheduling.plugins.defaultpreemption import DefaultPreemption
from cybernetes.core.scheduling.plugins.dynamicresources import DynamicResources
from cybernetes.core.scheduling.plugins.gangscheduling import GangScheduling
from cybernetes.core.scheduling.plugins.imagelocality import ImageLocality
from cybernetes.core.scheduling.plugins.interpodaffinity import InterPodAffinity
from cybernetes.core.scheduling.plugins.nodeaffinity import NodeAffinity
from cybernetes.core.scheduling.plugins.nodedeclaredfeatures import NodeDeclaredFeatures
from cybernetes.core.scheduling.plugins.nodename import NodeName
from cybernetes.core.scheduling.plugins.nodeports import NodePorts
from cybernetes.core.scheduling.plugins.noderesourcesfit import NodeResourcesFit
from cybernetes.core.scheduling.plugins.nodeunschedulable import NodeUnschedulable
from cybernetes.core.scheduling.plugins.nodevolumelimits import NodeVolumeLimits
from cybernetes.core.scheduling.plugins.podtopologyspread import PodTopologySpread
from cybernetes.core.scheduling.plugins.prioritysort import PrioritySort
from cybernetes.core.scheduling.plugins.schedulinggates import SchedulingGates
from cybernetes.core.scheduling.plugins.tainttoleration import TaintToleration
from cybernetes.core.scheduling.plugins.volumebinding import VolumeBinding
from cybernetes.core.scheduling.plugins.volumerestrictions import VolumeRestrictions
from cybernetes.core.scheduling.plugins.volumezone import VolumeZone

Args = Mapping[str, Any]
Factory = Callable[[Args, Handle], Plugin]

PLUGINS: Mapping[str, Factory] = {
    "SchedulingGates": lambda args, handle: SchedulingGates(),
    "PrioritySort": lambda args, handle: PrioritySort(),
    "NodeUnschedulable": lambda args, handle: NodeUnschedulable(),
    "NodeName": lambda args, handle: NodeName(),
    "TaintToleration": lambda args, handle: TaintToleration(),
    "NodeAffinity": lambda args, handle: NodeAffinity(args),
    "NodePorts": lambda args, handle: NodePorts(),
    "NodeResourcesFit": lambda args, handle: NodeResourcesFit(args),
    "NodeResourcesBalancedAllocation": lambda args, handle: NodeResourcesBalancedAllocation(args),
    "ImageLocality": lambda args, handle: ImageLocality(),
    "VolumeRestrictions": lambda args, handle: VolumeRestrictions(handle.table),
    "NodeVolumeLimits": lambda args, handle: NodeVolumeLimits(handle.cluster),
    "VolumeBinding": VolumeBinding,
    "VolumeZone": lambda args, handle: VolumeZone(),
    "PodTopologySpread": lambda args, handle: PodTopologySpread(args, handle.tracker),
    "InterPodAffinity": lambda args, handle: InterPodAffinity(args, handle.tracker),
    "DynamicResources": DynamicResources,
    "DefaultPreemption": lambda args, handle: DefaultPreemption(args, handle),
    "DefaultBinder": lambda args, handle: DefaultBinder(handle.write_binding),
    "GangScheduling": GangScheduling,
    "NodeDeclaredFeatures": lambda args, handle: NodeDeclaredFeatures(),
}

#: (name, weight of its score), in the order in which they run.
DEFAULT_PLUGINS: tuple[tuple[str, int], ...] = (
    ("SchedulingGates", 0),
    ("PrioritySort", 0),
    ("NodeUnschedulable", 0),
    ("NodeName", 0),
    ("TaintToleration", 3),
    ("NodeAffinity", 2),
    ("NodePorts", 0),
    ("NodeResourcesFit", 1),
    ("VolumeRestrictions", 0),
    ("NodeVolumeLimits", 0),
    ("VolumeBinding", 0),
    ("VolumeZone", 0),
    ("PodTopologySpread", 2),
    ("InterPodAffinity", 2),
    ("DynamicResources", 2),
    ("DefaultPreemption", 0),
    ("NodeResourcesBalancedAllocation", 1),
    ("ImageLocality", 1),
    ("DefaultBinder", 0),
    ("NodeDeclaredFeatures", 0),
)

"""Versions of the same objects: how a second version is kept in the storage version and given back.

Only two resources are served twice: events (the core group's and events.k8s.io) and HorizontalPodAutoscalers (v2 and
v1). Each conversion takes and gives a whole object with its apiVersion, and changes neither the argument nor what it
shares with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from cybernetes.core.api.conversion import autoscaling, events
from cybernetes.core.objects import EVENTS, Gvr, Object


class Stored(NamedTuple):
    """The collection under which objects of another version are kept, and the way there and back.

    ``fields`` gives for the names that the version's field selectors use those of the stored version.
    """

    gvr: Gvr
    to_storage: Callable[[Object], Object]
    from_storage: Callable[[Object], Object]
    fields: Mapping[str, str]


#: The resources that are not kept as they are served.
STORED_AS: Mapping[Gvr, Stored] = {
    Gvr("events.k8s.io", "v1", "events"): Stored(EVENTS, events.to_core, events.from_core, events.FIELDS),
    Gvr("autoscaling", "v1", "horizontalpodautoscalers"): Stored(
        Gvr("autoscaling", "v2", "horizontalpodautoscalers"), autoscaling.to_v2, autoscaling.to_v1, {}
    ),
}

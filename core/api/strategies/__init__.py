"""What is done to objects of each kind on their way into the store: one module a group, and here all of them.

A strategy names the functions; what they do stands in ``defaulting``, ``validation`` and ``warnings``. Parts of an
object that have a subresource of their own are in ``PARTS``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from cybernetes.core.api.fielderror import FieldError
from cybernetes.core.api.resource import Context, Strategy
from cybernetes.core.api.strategies import apps, batch, cluster, core, extension, pods
from cybernetes.core.api.validation import certificates, configuration, podupdate
from cybernetes.core.objects import Gvk, Object

#: Kinds that are not listed are stored as they come.
ALL: Mapping[Gvk, Strategy] = {
    **core.STRATEGIES,
    **apps.STRATEGIES,
    **batch.STRATEGIES,
    **cluster.STRATEGIES,
    **extension.STRATEGIES,
}


class Part(NamedTuple):
    """A subresource by which a part of an object is changed: what it restores of the stored one, and what it refuses.
    Both take the new object and the old."""

    prepare: Callable[[Object, Object, Context], None]
    check: Callable[[Object, Object], Sequence[FieldError]]


#: (group, resource, subresource) of what is neither ``status`` nor ``scale``.
PARTS: Mapping[tuple[str, str, str], Part] = {
    ("", "pods", "ephemeralcontainers"): Part(pods.prepare_ephemeral_containers, podupdate.check_ephemeral_update),
    ("", "pods", "resize"): Part(pods.prepare_resize, podupdate.check_resize),
    ("", "namespaces", "finalize"): Part(core.prepare_finalize, configuration.check_namespace_finalize),
    ("certificates.k8s.io", "certificatesigningrequests", "approval"): Part(
        cluster.prepare_approval, certificates.check_request_approval
    ),
}

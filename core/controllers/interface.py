"""What a controller is: a decision about one key, told as steps.

1. ``reconcile(key, view, now)`` looks at a ``View`` (what has been observed) and yields *actions*. It does no I/O,
   reads no clock, draws no random number and awaits nothing: the same view, time and answers give the same steps. So it
   runs on virtual time, can be replayed, and a test stops it between any two writes as a crash would.
2. Each ``yield`` gives back the action's answer, or raises what was refused (``ApiError``) or could not be reached
   (``ConnectionError``) at that place. ``Together`` does several at once and gives one answer or exception each.
3. What it writes is in the view at the next ``reconcile`` of any key, at the latest (informers absorb own writes).
   A controller therefore counts what it sees and keeps no expectations.
4. Nothing may depend on a step after a write being reached: the next ``reconcile`` starts from what there is.
5. A reconcile that raises is tried again with a growing delay. ``Again`` asks for another look at a certain time;
   nothing is polled.
6. What a controller remembers between calls (when a Lease was last seen to change) is observation that a restart may
   lose, never a record of what was done.

A controller is listed in ``registry``, with the resources that it watches and how a change maps to keys. The loop
around it is written once, in services/controllers.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

from cybernetes.core.client.interface import MERGE_PATCH
from cybernetes.core.objects import Gvr, Object

# Actions. Every write may be repeated: a creation by its name, an update by its resourceVersion, a deletion by its uid.


class Get(NamedTuple):
    """Read one object from the server, not from the view. Answer: the object. Refused with NotFound."""

    gvr: Gvr
    name: str
    namespace: str = ""
    subresource: str = ""


class List(NamedTuple):
    """Read from the server. Answer: a ListPage of at most ``limit`` (0: all)."""

    gvr: Gvr
    namespace: str = ""
    label_selector: str = ""
    field_selector: str = ""
    limit: int = 0
    continue_token: str = ""


class Create(NamedTuple):
    """Answer: the created object. With ``generateName`` and no name, a name is drawn before the first try."""

    gvr: Gvr
    obj: Object
    namespace: str = ""
    name: str = ""
    subresource: str = ""


class Update(NamedTuple):
    """Replace. Answer: the new object. The resourceVersion in ``obj`` is a precondition."""

    gvr: Gvr
    obj: Object
    subresource: str = ""


class Patch(NamedTuple):
    """Answer: the new object. A uid or resourceVersion in the patch's metadata is a precondition."""

    gvr: Gvr
    name: str
    patch: Object
    namespace: str = ""
    patch_type: str = MERGE_PATCH
    subresource: str = ""


class Delete(NamedTuple):
    """Answer: what the server sent. ``uid`` and ``resource_version`` are preconditions."""

    gvr: Gvr
    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    propagation: str = ""
    grace_period_s: int | None = None


class DeleteCollection(NamedTuple):
    """Delete all that match. Answer: None."""

    gvr: Gvr
    namespace: str = ""
    label_selector: str = ""
    field_selector: str = ""
    propagation: str = ""


class Emit(NamedTuple):
    """Record an event about the object of ``reference``. Answer: None, at once."""

    reference: Mapping[str, Any]
    kind: Literal["Normal", "Warning"]
    reason: str
    message: str
    annotations: Mapping[str, str] | None = None


class Erase(NamedTuple):
    """Delete a directory below ``Settings.host_path_root``, with all that is in it. Answer: what went wrong, or "".

    A directory that is not there has been deleted.
    """

    path: str


class Again(NamedTuple):
    """Reconcile ``key`` (this one when empty) again after ``after_s`` seconds. Answer: None, at once."""

    after_s: float
    key: str = ""


class Together(NamedTuple):
    """Several actions at once. Answer: a list with, for each in order, its answer or the exception that it raised."""

    actions: Sequence[Action]


Action = Get | List | Create | Update | Patch | Delete | DeleteCollection | Erase | Emit | Again | Together


class TryAgain(Exception):
    """Raised by ``reconcile``: what has to be there first is not. The key comes back after a growing delay."""


#: What ``reconcile`` returns.
Steps = Generator[Action, Any, None]


class View(Protocol):
    """What has been observed. Objects are read-only."""

    @property
    def now(self) -> float:
        """When a change is mapped to keys: the time at which it was observed."""
        ...

    def get(self, gvr: Gvr, namespace: str, name: str) -> Object | None: ...

    def list(self, gvr: Gvr, namespace: str = "") -> Sequence[Object]:
        """All objects, or those of one namespace."""
        ...

    def count(self, gvr: Gvr, namespace: str) -> int:
        """How many objects a namespace has, without looking at them."""
        ...

    def by_index(self, gvr: Gvr, index: str, value: str) -> Sequence[Object]:
        """Those that an index of ``indexes.INDEXES`` lists under ``value``."""
        ...


#: Maps a change (old, new; None for before an addition and after a deletion) to the keys to reconcile.
KeysOf = Callable[[Object | None, Object | None, View], Iterable[str]]


@dataclass(frozen=True, slots=True)
class Watch:
    """One resource that a controller observes. Without ``keys_of`` it only reads it.

    ``old`` is a projection and ``new`` the whole object (``core/client/informer``): compare only what is projected.
    """

    gvr: Gvr
    keys_of: KeysOf | None = None
    #: True: nothing but names, owners, finalizers and deletion is read; every resource can be watched like that.
    metadata_only: bool = False
    #: True: what this controller wrote itself is no change to look at: its every write is the whole answer.
    ignores_own: bool = False


class Controller(Protocol):
    """One entry of the registry. ``name`` is upstream's, as ``--controllers`` takes it."""

    @property
    def name(self) -> str: ...

    @property
    def service_account(self) -> str:
        """Whose rights it acts with, in kube-system; also the source of its events. Empty: the manager's own."""
        ...

    @property
    def watches(self) -> Sequence[Watch]:
        """May change when a custom resource is added or removed: ``Settings.resources``."""
        ...

    @property
    def workers(self) -> int:
        """How many keys are reconciled at once."""
        ...

    def reconcile(self, key: str, view: View, now: float) -> Steps: ...


@dataclass(frozen=True, slots=True)
class Settings:
    """What the cluster's operator decides; the defaults are those of kube-controller-manager 1.36."""

    cluster_cidrs: tuple[str, ...] = ("10.244.0.0/16",)
    node_cidr_mask_sizes: tuple[int, ...] = (24,)
    root_ca: str = ""
    #: Upstream waits 5 s before it empties a namespace, for API servers that have not heard of its deletion yet.
    namespace_deletion_delay_s: float = 0.5
    node_monitor_grace_period_s: float = 50.0
    node_startup_grace_period_s: float = 60.0
    node_eviction_rate: float = 0.1
    secondary_node_eviction_rate: float = 0.01
    unhealthy_zone_threshold: float = 0.55
    large_cluster_size_threshold: int = 50
    terminated_pod_gc_threshold: int = 12500
    max_endpoints_per_slice: int = 100
    mirroring_max_endpoints_per_subset: int = 1000
    signer_key: bytes = field(default=b"", repr=False)
    signer_certificate: bytes = b""
    signing_lifetime_s: int = 365 * 24 * 3600
    #: Makes the token of (account, name of its Secret); None: Secrets with tokens are left alone.
    issue_token: Callable[[Object, str], str] | None = field(default=None, repr=False)
    #: Subnets and ranges of addresses for Services of type LoadBalancer; none: they are left to somebody else.
    load_balancer_pool: tuple[str, ...] = ()
    #: Where the provisioner kubernetes.io/host-path makes its directories; empty: it makes none.
    host_path_root: str = ""
    #: Every resource of the API: (gvr, kind, is namespaced); what the garbage collector and namespaces clean.
    resources: Callable[[], Sequence[tuple[Gvr, str, bool]]] = lambda: ()


def own_key(old: Object | None, new: Object | None, view: View) -> Iterable[str]:
    """The key of the changed object itself."""
    obj = new if new is not None else old
    if obj is None:
        return ()
    metadata = obj["metadata"]
    namespace = metadata.get("namespace")
    return (f"{namespace}/{metadata['name']}" if namespace else metadata["name"],)

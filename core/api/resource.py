"""What the API knows about one resource: a descriptor, and the rules that the schema does not say.

The generic path of the API server is driven by these; there is no handler for a kind. Built-in resources are listed in
``registry``; custom resources make theirs from a CustomResourceDefinition.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from cybernetes.core.api.fielderror import FieldError
from cybernetes.core.auth.user import User
from cybernetes.core.clock import Clock, Random
from cybernetes.core.objects import Gvk, Gvr, Object

if TYPE_CHECKING:
    from cybernetes.core.api.custom.kind import Custom

#: The verbs of an ordinary resource, in discovery's order.
ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


#: Plurals that are something else in the store's keys, some from names that resources had before their first release
#: (upstream: SpecialDefaultResourcePrefixes).
_PLURALS_IN_KEYS = {
    ("", "endpoints"): "services/endpoints",
    ("", "nodes"): "minions",
    ("", "replicationcontrollers"): "controllers",
    ("", "services"): "services/specs",
    ("networking.k8s.io", "ingresses"): "ingress",
}
#: Groups whose name is in the keys, as it is for custom resources: upstream serves them from servers of their own.
_GROUPS_IN_KEYS = frozenset({"apiextensions.k8s.io", "apiregistration.k8s.io"})


class Context(NamedTuple):
    """What a strategy may know beyond the object: the time, chance, and who asks."""

    clock: Clock
    random: Random
    user: User
    namespace: str


def _nothing(obj: Object) -> None: ...


def _keep(new: Object, old: Object) -> None: ...


def _no_errors(obj: Object) -> Sequence[FieldError]:
    return ()


def _no_update_errors(new: Object, old: Object) -> Sequence[FieldError]:
    return ()


def _no_warnings(obj: Object) -> Sequence[str]:
    return ()


def _prepare_nothing(obj: Object, context: Context) -> None: ...


def _prepare_keep(new: Object, old: Object, context: Context) -> None: ...


@dataclass(frozen=True, slots=True)
class Strategy:
    """What is done to an object of one kind on its way into the store (upstream: registry/rest strategies).

    The order of a write: defaults, prepare, admission, validate. All functions change the object in place or return
    what is wrong. ``prepare_update`` restores what this path may not change (status, for the main resource) and
    ``prepare_status`` everything but the status.
    """

    default: Callable[[Object], None] = _nothing
    prepare_create: Callable[[Object, Context], None] = _prepare_nothing
    prepare_update: Callable[[Object, Object, Context], None] = _prepare_keep
    prepare_status: Callable[[Object, Object, Context], None] = _prepare_keep
    validate_create: Callable[[Object], Sequence[FieldError]] = _no_errors
    validate_update: Callable[[Object, Object], Sequence[FieldError]] = _no_update_errors
    validate_status: Callable[[Object, Object], Sequence[FieldError]] = _no_update_errors
    #: What a version that is not the stored one says of an object: of the new one in its stored form, the old one when
    #: it is an update, and what the stored version's strategy found.
    validate_version: Callable[[Object, Object | None, Sequence[FieldError]], Sequence[FieldError]] | None = None
    #: Of a new object; ``update_warnings`` (new and old) of an update, None where those are the same.
    warnings: Callable[[Object], Sequence[str]] = _no_warnings
    update_warnings: Callable[[Object, Object], Sequence[str]] | None = None
    status_warnings: Callable[[Object], Sequence[str]] = _no_warnings
    #: True: an update whose resourceVersion is absent is accepted (upstream: AllowUnconditionalUpdate).
    allows_unconditional_update: bool = True
    #: True: PUT to a name that does not exist creates it (upstream: AllowCreateOnUpdate).
    allows_create_on_update: bool = False
    #: How long a deletion waits by default; None: the object is deleted at once.
    grace_period_s: Callable[[Object], int | None] | None = None


@dataclass(frozen=True, slots=True)
class Subresource:
    """``pods/status``, ``deployments/scale``, ``pods/exec``. ``gvk`` is the kind that it takes and gives."""

    name: str
    verbs: tuple[str, ...]
    gvk: Gvk


@dataclass(frozen=True, slots=True)
class Resource:
    """One version of one resource as it is served.

    ``type_name`` names its type in the schema (``io.k8s.api.core.v1.Pod``). ``storage`` is the Gvr under which it is
    kept, which differs for a second version of the same objects; ``to_storage`` and ``from_storage`` convert.
    """

    gvr: Gvr
    kind: str
    singular: str
    is_namespaced: bool
    type_name: str
    verbs: tuple[str, ...] = ALL_VERBS
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: Mapping[str, Subresource] = field(default_factory=dict)
    #: Extra field selectors beyond metadata.name and metadata.namespace: path text -> value of an object.
    selectable_fields: Mapping[str, Callable[[Object], str]] = field(default_factory=dict)
    strategy: Strategy = Strategy()
    storage: Gvr | None = None
    to_storage: Callable[[Object], Object] | None = None
    from_storage: Callable[[Object], Object] | None = None
    #: False for what is answered and never kept: reviews, bindings.
    is_stored: bool = True
    #: True for custom resources: items of their lists keep apiVersion and kind.
    is_custom: bool = False
    #: What a custom resource is decoded, defaulted, shown and converted by.
    custom: Custom | None = None
    #: The kind of its lists, when that is not the kind with List behind it.
    own_list_kind: str = ""

    @property
    def gvk(self) -> Gvk:
        return Gvk(self.gvr.group, self.gvr.version, self.kind)

    @property
    def list_kind(self) -> str:
        return self.own_list_kind or self.kind + "List"

    @property
    def storage_gvr(self) -> Gvr:
        return self.storage or self.gvr

    @property
    def has_status(self) -> bool:
        return "status" in self.subresources

    @property
    def storage_prefix(self) -> bytes:
        """Where its objects lie, as kube-apiserver lays them out: ``/registry/pods/``, ``/registry/services/specs/``,
        ``/registry/example.com/widgets/``."""
        group, _, plural = self.storage_gvr
        if self.is_custom or group in _GROUPS_IN_KEYS:
            return f"/registry/{group}/{plural}/".encode()
        return f"/registry/{_PLURALS_IN_KEYS.get((group, plural), plural)}/".encode()

    def storage_key(self, namespace: str, name: str) -> bytes:
        middle = f"{namespace}/" if self.is_namespaced else ""
        return self.storage_prefix + f"{middle}{name}".encode()

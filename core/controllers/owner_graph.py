"""Who owns what, over all resources: the observation on which garbage collection decides.

A node an object, by uid, with the uids that its ownerReferences name; and for each uid the nodes that name it. An owner
that is named but was never seen has no node: whether it exists has to be asked. About 200 bytes an object.

    add Pod p (owner r)         r unknown: p has to be looked at
    add ReplicaSet r            nothing to do
    delete r                    p lost an owner: look at p; r is known to be gone (a uid never comes back)
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from cybernetes.core.objects import Gvr, Object, is_deleting, key_of, uid_of

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
_GONE_MAX = 5000


class Node:
    __slots__ = ("blocks", "gvr", "key", "owners", "policy")

    def __init__(self, gvr: Gvr, key: str) -> None:
        self.gvr = gvr
        self.key = key
        #: uids of the owners that it names.
        self.owners: tuple[str, ...] = ()
        #: Those of them whose deletion in the foreground waits for it.
        self.blocks: frozenset[str] = frozenset()
        #: The finalizer that tells how its dependents are dealt with, once it is being deleted.
        self.policy = ""

    @property
    def namespace(self) -> str:
        return self.key.rpartition("/")[0]


def deletion_policy(obj: Object) -> str:
    """``orphan``, ``foregroundDeletion`` or nothing, of an object that is being deleted."""
    if not is_deleting(obj):
        return ""
    finalizers = obj["metadata"].get("finalizers") or ()
    if ORPHAN in finalizers:
        return ORPHAN
    return FOREGROUND if FOREGROUND in finalizers else ""


class OwnerGraph:
    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self._dependents: dict[str, dict[str, None]] = {}
        self._gone: OrderedDict[str, None] = OrderedDict()

    def put(self, gvr: Gvr, obj: Object) -> tuple[Node, bool]:
        """Take in an object as it is now. Returns its node and whether its owners or its policy have changed."""
        uid = uid_of(obj)
        node = self.nodes.get(uid)
        is_new = node is None
        if node is None:
            node = self.nodes[uid] = Node(gvr, key_of(obj))
        references = obj["metadata"].get("ownerReferences") or ()
        owners = tuple(reference["uid"] for reference in references)
        blocks = frozenset(reference["uid"] for reference in references if reference.get("blockOwnerDeletion"))
        policy = deletion_policy(obj)
        if not is_new and (owners, blocks, policy) == (node.owners, node.blocks, node.policy):
            return node, False
        for owner in node.owners:
            if owner not in owners:
                self._forget_dependent(owner, uid)
        for owner in owners:
            self._dependents.setdefault(owner, {})[uid] = None
        node.owners, node.blocks, node.policy = owners, blocks, policy
        return node, True

    def remove(self, uid: str) -> Node | None:
        node = self.nodes.pop(uid, None)
        if node is not None:
            for owner in node.owners:
                self._forget_dependent(owner, uid)
            self.note_gone(uid)
        return node

    def _forget_dependent(self, owner: str, uid: str) -> None:
        found = self._dependents.get(owner)
        if found is not None:
            found.pop(uid, None)
            if not found:
                del self._dependents[owner]

    def dependents(self, uid: str) -> Iterable[tuple[str, Node]]:
        for dependent in self._dependents.get(uid, ()):
            node = self.nodes.get(dependent)
            if node is not None:
                yield dependent, node

    def note_gone(self, uid: str) -> None:
        """Nothing with this uid exists, nor will it again."""
        self._gone[uid] = None
        if len(self._gone) > _GONE_MAX:
            self._gone.popitem(last=False)

    def is_known_gone(self, uid: str) -> bool:
        return uid in self._gone

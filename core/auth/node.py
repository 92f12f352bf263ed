"""Authorization of nodes: each may do what an agent must, to its own Node, its own pods and what those name.

RBAC cannot say "its own". So nodes are judged here, by name and by the graph of what pods name; where upstream's rules
are the same for all nodes, the default role ``system:node`` says them. It is bound to nobody.

What an authorizer cannot see - the content of what is written - the admission plugin NodeRestriction judges.

Source: documentation "Using Node Authorization".
"""

from __future__ import annotations

from collections.abc import Iterable

from cybernetes.core.auth.attributes import NO_OPINION, Attributes, Decision
from cybernetes.core.auth.nodegraph import GVRS, Graph
from cybernetes.core.auth.rbac import Rules
from cybernetes.core.auth.user import User, node_of
from cybernetes.core.errors import quoted
from cybernetes.core.objects import Gvr, Object

__all__ = ["GVRS", "Authorizer"]

_ALLOWED = Decision(True)
_LEASES_NAMESPACE = "kube-node-lease"
_OWN_VERBS = frozenset({"get", "create", "update", "patch", "delete"})
_READ = frozenset({"get", "list", "watch"})
#: What an agent may write of nodes and pods; whose they are NodeRestriction sees.
_NODE_WRITES = frozenset({("create", ""), ("update", ""), ("patch", ""), ("update", "status"), ("patch", "status")})
_POD_WRITES = frozenset(
    {("create", ""), ("delete", ""), ("update", "status"), ("patch", "status"), ("create", "eviction")}
)


class Authorizer:
    """Told of the objects of ``GVRS`` by ``put``, ``discard`` and ``replace``."""

    def __init__(self) -> None:
        self._graph = Graph()
        self._rules: Rules | None = None
        self._subdivided = {
            ("", "secrets"): self._namespaced_read,
            ("", "configmaps"): self._namespaced_read,
            ("", "persistentvolumeclaims"): self._claim,
            ("", "persistentvolumes"): self._get,
            ("", "serviceaccounts"): self._service_account,
            ("", "nodes"): self._node,
            ("", "pods"): self._pod,
            ("resource.k8s.io", "resourceclaims"): self._get,
            ("resource.k8s.io", "resourceslices"): self._slice,
            ("storage.k8s.io", "volumeattachments"): self._get,
            ("storage.k8s.io", "csinodes"): self._csi_node,
            ("coordination.k8s.io", "leases"): self._lease,
        }

    def put(self, gvr: Gvr, obj: Object) -> None:
        """An object of ``GVRS`` as it is now."""
        self._graph.put(gvr, obj)

    def discard(self, gvr: Gvr, namespace: str, name: str) -> None:
        """An object is gone."""
        self._graph.discard(gvr, namespace, name)

    def replace(self, gvr: Gvr, objects: Iterable[Object]) -> None:
        """All objects of a collection as they are now."""
        self._graph.replace(gvr, objects)

    def authorize(self, user: User, attributes: Attributes) -> Decision:
        """No opinion of anyone who is no node."""
        node = node_of(user)
        if node is None:
            return NO_OPINION
        if not node:
            return Decision(False, f"unknown node for user {quoted(user.name)}")
        judge = None if attributes.path else self._subdivided.get((attributes.group, attributes.resource))
        if judge is not None:
            return judge(node, attributes)
        if self._rules is None:
            self._rules = _node_rules()
        return _ALLOWED if self._rules.allow(attributes) else NO_OPINION

    def _related(self, node: str, attributes: Attributes) -> Decision:
        if not attributes.name:
            return Decision(False, "No Object name found")
        if self._graph.leads_to(node, attributes.resource, attributes.namespace, attributes.name):
            return _ALLOWED
        return Decision(False, f"no relationship found between node '{node}' and this object")

    def _get(self, node: str, attributes: Attributes) -> Decision:
        if attributes.verb != "get":
            return Decision(False, "can only get individual resources of this type")
        if attributes.subresource:
            return Decision(False, "cannot get subresource")
        return self._related(node, attributes)

    def _namespaced_read(self, node: str, attributes: Attributes) -> Decision:
        if attributes.verb not in _READ:
            return Decision(False, "can only read resources of this type")
        if attributes.subresource:
            return Decision(False, "cannot read subresource")
        if not attributes.namespace:
            return Decision(False, "can only read namespaced object of this type")
        return self._related(node, attributes)

    def _claim(self, node: str, attributes: Attributes) -> Decision:
        if attributes.subresource != "status":
            return self._get(node, attributes)
        if attributes.verb not in ("update", "patch"):
            return Decision(False, "can only get/update/patch this type")
        return self._related(node, attributes)

    def _service_account(self, node: str, attributes: Attributes) -> Decision:
        if attributes.verb == "get" and not attributes.subresource:
            return self._namespaced_read(node, attributes)
        if attributes.verb != "create" or not attributes.name:
            return Decision(False, "can only create tokens for individual service accounts")
        if attributes.subresource != "token":
            return Decision(False, "can only create token subresource of serviceaccount")
        return self._related(node, attributes)

    def _lease(self, node: str, attributes: Attributes) -> Decision:
        if attributes.verb not in _OWN_VERBS:
            return Decision(False, "can only get, create, update, patch, or delete a node lease")
        if attributes.namespace != _LEASES_NAMESPACE:
            return Decision(False, f"can only access leases in the {quoted(_LEASES_NAMESPACE)} system namespace")
        if attributes.verb != "create" and attributes.name != node:
            return Decision(False, "can only access node lease with the same name as the requesting node")
        return _ALLOWED

    def _csi_node(self, node: str, attributes: Attributes) -> Decision:
        if attributes.verb not in _OWN_VERBS:
            return Decision(False, "can only get, create, update, patch, or delete a CSINode")
        if attributes.subresource:
            return Decision(False, "cannot authorize CSINode subresources")
        if attributes.verb != "create" and attributes.name != node:
            return Decision(False, "can only access CSINode with the same name as the requesting node")
        return _ALLOWED

    def _slice(self, node: str, attributes: Attributes) -> Decision:
        if attributes.subresource:
            return Decision(False, "cannot authorize ResourceSlice subresources")
        if attributes.verb == "create":
            return _ALLOWED
        if attributes.verb in _OWN_VERBS:
            return self._related(node, attributes)
        if attributes.verb not in ("watch", "list", "deletecollection"):
            verbs = "get, watch, list, create, update, patch, delete, deletecollection"
            return Decision(False, f"only the following verbs are allowed for a ResourceSlice: {verbs}")
        if ("spec.nodeName", "=", node) in attributes.field_selector:
            return _ALLOWED
        return Decision(False, "can only list/watch/deletecollection resourceslices with nodeName field selector")

    def _node(self, node: str, attributes: Attributes) -> Decision:
        if (attributes.verb, attributes.subresource) in _NODE_WRITES:
            return _ALLOWED
        if attributes.subresource or attributes.verb not in _READ:
            return NO_OPINION
        if not attributes.name:
            return Decision(False, f"node '{node}' cannot read all nodes, only its own Node object")
        # Not by the graph: a node looks whether it exists before it does.
        if attributes.name != node:
            return Decision(False, f"node '{node}' cannot read '{attributes.name}', only its own Node object")
        return _ALLOWED

    def _pod(self, node: str, attributes: Attributes) -> Decision:
        if (attributes.verb, attributes.subresource) in _POD_WRITES:
            return _ALLOWED
        if attributes.subresource or attributes.verb not in _READ:
            return NO_OPINION
        if attributes.verb == "get":
            return self._related(node, attributes)
        if ("spec.nodeName", "=", node) in attributes.field_selector:
            return _ALLOWED
        if attributes.name:
            return self._related(node, attributes)
        return Decision(False, "can only list/watch pods with spec.nodeName field selector")


def _node_rules() -> Rules:
    from cybernetes.core.auth.bootstrap_policy import cluster_role

    return Rules(cluster_role("system:node")["rules"])

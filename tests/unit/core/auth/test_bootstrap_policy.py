import hashlib
import json

from cybernetes.core.auth import User, bootstrap_policy
from cybernetes.core.auth.attributes import Attributes
from cybernetes.core.auth.rbac import Authorizer
from cybernetes.core.objects import clone

# Of upstream's own golden files for 1.36 (as sorted JSON, without aggregated rules), compared once in full.
DIGEST = "6d27816a2b6d96d94f76d957d715848e3db5fdd34627b8108416f2ac0e8877ab"


def named(kind, name):
    return next(o for _, o in bootstrap_policy.objects() if (o["kind"], o["metadata"]["name"]) == (kind, name))


def authorizer():
    result = Authorizer()
    for gvr, obj in bootstrap_policy.objects():
        result.put(gvr, obj)
    return result


def test_they_are_upstreams():
    plain = []
    for _, obj in bootstrap_policy.objects():
        if "aggregationRule" in obj:
            obj["rules"] = None
        plain.append(json.dumps(obj, sort_keys=True))
    assert len(plain) == 133
    assert hashlib.sha256("\n".join(sorted(plain)).encode()).hexdigest() == DIGEST


def test_what_they_allow():
    rbac = authorizer()
    anonymous = User("system:anonymous", groups=("system:unauthenticated",))
    someone = User("jane", groups=("system:authenticated",))
    scheduler = User("system:kube-scheduler", groups=("system:authenticated",))
    replicas = User("system:serviceaccount:kube-system:replicaset-controller")
    assert rbac.authorize(anonymous, Attributes("get", path="/livez")).allowed
    assert not rbac.authorize(anonymous, Attributes("get", path="/api")).allowed
    assert rbac.authorize(someone, Attributes("get", path="/openapi/v3")).allowed
    assert not rbac.authorize(someone, Attributes("list", "", "v1", "pods", "", "default")).allowed
    assert rbac.authorize(
        someone, Attributes("create", "authorization.k8s.io", "v1", "selfsubjectaccessreviews")
    ).allowed
    assert rbac.authorize(scheduler, Attributes("create", "", "v1", "pods", "binding", "default", "p")).allowed
    assert rbac.authorize(
        scheduler, Attributes("update", "coordination.k8s.io", "v1", "leases", "", "kube-system", "kube-scheduler")
    ).allowed
    assert not rbac.authorize(
        scheduler, Attributes("update", "coordination.k8s.io", "v1", "leases", "", "kube-node-lease", "n")
    ).allowed
    assert rbac.authorize(replicas, Attributes("create", "", "v1", "pods", "", "default")).allowed
    assert not rbac.authorize(replicas, Attributes("create", "", "v1", "services", "", "default")).allowed


def test_aggregated_roles_are_whole_from_the_start():
    view, edit, admin = (len(named("ClusterRole", name)["rules"]) for name in ("view", "edit", "admin"))
    assert 0 < view < edit < admin


def test_they_are_the_callers_own():
    first = named("ClusterRole", "view")
    first["rules"].clear()
    assert named("ClusterRole", "view")["rules"]


def test_reconciling():
    role = named("ClusterRole", "system:kube-dns")
    assert bootstrap_policy.reconciled(role, clone(role)) is None
    changed = clone(role)
    changed["rules"] = [{"verbs": ["list"], "apiGroups": [""], "resources": ["services"]}]
    changed["metadata"]["labels"]["mine"] = "yes"
    mended = bootstrap_policy.reconciled(role, changed)
    assert mended["metadata"]["labels"] == {"kubernetes.io/bootstrapping": "rbac-defaults", "mine": "yes"}
    assert mended["rules"][0] == changed["rules"][0]
    assert bootstrap_policy.uncovered(mended["rules"], role["rules"]) == []
    changed["metadata"]["annotations"]["rbac.authorization.kubernetes.io/autoupdate"] = "false"
    assert bootstrap_policy.reconciled(role, changed) is None


def test_reconciling_bindings():
    binding = named("ClusterRoleBinding", "system:discovery")
    mine = clone(binding)
    mine["subjects"] = [{"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"}]
    mended = bootstrap_policy.reconciled(binding, mine)
    assert [subject["name"] for subject in mended["subjects"]] == ["jane", "system:authenticated"]
    mine["roleRef"]["name"] = "other"
    assert bootstrap_policy.reconciled(binding, mine) == binding
    unbound = named("ClusterRoleBinding", "system:node")
    assert bootstrap_policy.reconciled(unbound, clone(unbound)) is None


def test_reconciling_aggregated_roles():
    role = named("ClusterRole", "view")
    mine = clone(role)
    mine["rules"] = []
    assert bootstrap_policy.reconciled(role, mine) is None, "the rules are the controller's"
    mine["aggregationRule"] = {"clusterRoleSelectors": [{"matchLabels": {"x": "y"}}]}
    assert len(bootstrap_policy.reconciled(role, mine)["aggregationRule"]["clusterRoleSelectors"]) == 2

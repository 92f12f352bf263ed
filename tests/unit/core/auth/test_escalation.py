import pytest

from cybernetes.core.auth import User, escalation
from cybernetes.core.auth.rbac import Authorizer
from cybernetes.core.errors import ApiError
from cybernetes.core.objects import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES

JANE = User("jane", groups=("dev",))
PODS = {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]}


def world(*rules):
    rbac = Authorizer()
    rbac.put(CLUSTER_ROLES, {"metadata": {"name": "held"}, "rules": list(rules)})
    rbac.put(
        CLUSTER_ROLES,
        {"metadata": {"name": "big"}, "rules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]},
    )
    subjects = [{"kind": "User", "name": "jane"}]
    rbac.put(
        CLUSTER_ROLE_BINDINGS,
        {"metadata": {"name": "b"}, "roleRef": {"kind": "ClusterRole", "name": "held"}, "subjects": subjects},
    )
    return rbac


def write(rbac, gvr, obj, old=None, user=JANE, namespace=""):
    escalation.check_write(rbac, rbac.authorize, user, gvr, namespace, obj, old)


def role(*rules, name="new"):
    return {"metadata": {"name": name}, "rules": list(rules)}


def test_what_is_held_may_be_granted():
    write(world(PODS), CLUSTER_ROLES, role(PODS))
    write(world(PODS), CLUSTER_ROLES, role())
    write(
        world(PODS),
        CLUSTER_ROLES,
        role({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["a"]}),
    )


def test_what_is_not_held_is_refused_with_all_that_is_missing():
    more = {"verbs": ["get", "delete", "watch"], "apiGroups": ["", "apps"], "resources": ["pods"]}
    with pytest.raises(ApiError) as caught:
        write(world(PODS), ROLES, role(more, {"verbs": ["get"], "nonResourceURLs": ["/x"]}), namespace="default")
    assert caught.value.code == 403
    assert caught.value.message == (
        'roles.rbac.authorization.k8s.io "new" is forbidden: user "jane" (groups=["dev"]) is attempting to grant RBAC '
        "permissions not currently held:\n"
        '{APIGroups:[""], Resources:["pods"], Verbs:["delete" "watch"]}\n'
        '{APIGroups:["apps"], Resources:["pods"], Verbs:["get" "delete" "watch"]}\n'
        '{NonResourceURLs:["/x"], Verbs:["get"]}'
    )


@pytest.mark.parametrize(
    ("held", "wanted", "lacking"),
    [
        (
            {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
            {"verbs": ["x"], "apiGroups": ["g"], "resources": ["r/s"]},
            0,
        ),
        (
            {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*/s"]},
            {"verbs": ["x"], "apiGroups": ["g"], "resources": ["r/s"]},
            0,
        ),
        (
            {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*/s"]},
            {"verbs": ["x"], "apiGroups": ["g"], "resources": ["r"]},
            1,
        ),
        (
            {"verbs": ["get"], "apiGroups": [""], "resources": ["a"], "resourceNames": ["n"]},
            {"verbs": ["get"], "apiGroups": [""], "resources": ["a"]},
            1,
        ),
        (
            {"verbs": ["get"], "apiGroups": [""], "resources": ["a"], "resourceNames": ["n"]},
            {"verbs": ["get"], "apiGroups": [""], "resources": ["a"], "resourceNames": ["n", "m"]},
            1,
        ),
        ({"verbs": ["get"], "nonResourceURLs": ["/a/*"]}, {"verbs": ["get"], "nonResourceURLs": ["/a/b", "/a"]}, 1),
        ({"verbs": ["get"], "nonResourceURLs": ["*"]}, {"verbs": ["get"], "nonResourceURLs": ["/a/b", "/*"]}, 0),
        (
            {"verbs": ["get"], "apiGroups": [""], "resources": ["a"]},
            {"verbs": ["*"], "apiGroups": [""], "resources": ["a"]},
            1,
        ),
    ],
)
def test_covering(held, wanted, lacking):
    assert len(escalation.uncovered([held], [wanted])) == lacking


def test_the_verb_escalate_allows():
    allowed = {"verbs": ["escalate"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"]}
    everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
    write(world(allowed), CLUSTER_ROLES, role(everything))
    with pytest.raises(ApiError):
        write(world(allowed), ROLES, role(everything), namespace="default")


def test_masters_are_exempt():
    root = User("root", groups=("system:masters",))
    write(world(), CLUSTER_ROLES, role({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}), user=root)


def binding(role_name, kind="ClusterRole"):
    return {
        "metadata": {"name": "nb"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role_name},
    }


def test_bindings():
    write(world(PODS), ROLE_BINDINGS, binding("held"), namespace="default")
    with pytest.raises(ApiError) as caught:
        write(world(PODS), ROLE_BINDINGS, binding("big"), namespace="default")
    assert caught.value.code == 403
    assert '{APIGroups:["*"], Resources:["*"], Verbs:["*"]}' in caught.value.message
    with pytest.raises(ApiError) as caught:
        write(world(PODS), CLUSTER_ROLE_BINDINGS, binding("gone"))
    assert (caught.value.code, caught.value.message) == (404, 'clusterrole.rbac.authorization.k8s.io "gone" not found')
    bind = {
        "verbs": ["bind"],
        "apiGroups": ["rbac.authorization.k8s.io"],
        "resources": ["clusterroles"],
        "resourceNames": ["big"],
    }
    write(world(bind), CLUSTER_ROLE_BINDINGS, binding("big"))


def test_the_collectors_changes_are_no_grant():
    old = {**role({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]})}
    old["metadata"] = {"name": "new", "finalizers": ["x"]}
    new = {**old, "metadata": {"name": "new"}}
    write(world(), CLUSTER_ROLES, new, old)
    with pytest.raises(ApiError):
        write(world(), CLUSTER_ROLES, {**new, "metadata": {"name": "new", "labels": {"a": "b"}}}, old)

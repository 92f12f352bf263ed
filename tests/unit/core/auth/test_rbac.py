import pytest
from hypothesis import given
from hypothesis import strategies as st

from cybernetes.core.auth import User, rbac
from cybernetes.core.auth.attributes import Attributes, Decision, chain, refusal, refusal_text
from cybernetes.core.auth.rbac import Authorizer
from cybernetes.core.objects import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES

JANE = User("jane", groups=("dev", "system:authenticated"))


def role(name, *rules, namespace=""):
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"metadata": metadata, "rules": list(rules)}


def rule(verbs, resources="", groups="", names="", paths=""):
    result = {"verbs": verbs.split()}
    if paths:
        return {**result, "nonResourceURLs": paths.split()}
    result |= {"apiGroups": groups.split() or [""], "resources": resources.split()}
    return {**result, "resourceNames": names.split()} if names else result


def binding(name, role_kind, role_name, *subjects, namespace=""):
    kinds = {"U": "User", "G": "Group", "S": "ServiceAccount"}
    listed = []
    for text in subjects:
        kind, who = text.split(" ")
        home, _, short = who.rpartition("/")
        listed.append({"kind": kinds[kind], "name": short, **({"namespace": home} if home else {})})
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"metadata": metadata, "roleRef": {"kind": role_kind, "name": role_name}, "subjects": listed}


def cluster(*rules, subjects=("G dev",)):
    authorizer = Authorizer()
    authorizer.put(CLUSTER_ROLES, role("r", *rules))
    authorizer.put(CLUSTER_ROLE_BINDINGS, binding("b", "ClusterRole", "r", *subjects))
    return authorizer


READ_PODS = rule("get list", "pods")


@pytest.mark.parametrize(
    ("held", "asked", "allowed"),
    [
        (READ_PODS, Attributes("get", "", "v1", "pods", "", "default", "p"), True),
        (READ_PODS, Attributes("list", "", "v1", "pods"), True),
        (READ_PODS, Attributes("delete", "", "v1", "pods", "", "default", "p"), False),
        (READ_PODS, Attributes("get", "apps", "v1", "pods", "", "default", "p"), False),
        (READ_PODS, Attributes("get", "", "v1", "pods", "log", "default", "p"), False),
        (rule("get", "pods/log"), Attributes("get", "", "v1", "pods", "log", "default", "p"), True),
        (rule("get", "pods/log"), Attributes("get", "", "v1", "pods", "", "default", "p"), False),
        (rule("get", "*/scale", "*"), Attributes("get", "apps", "v1", "deployments", "scale", "d", "x"), True),
        (rule("get", "*/scale", "*"), Attributes("get", "apps", "v1", "deployments", "status", "d", "x"), False),
        (rule("get", "*/scale", "*"), Attributes("get", "apps", "v1", "deployments", "", "d", "x"), False),
        (rule("*", "*", "*"), Attributes("escalate", "x.io", "v1", "things", "status", "d", "x"), True),
        (rule("*", "*", "apps"), Attributes("get", "batch", "v1", "jobs"), False),
        (rule("get", "secrets", names="a b"), Attributes("get", "", "v1", "secrets", "", "d", "b"), True),
        (rule("get", "secrets", names="a b"), Attributes("get", "", "v1", "secrets", "", "d", "c"), False),
        (rule("get list", "secrets", names="a b"), Attributes("list", "", "v1", "secrets", "", "d"), False),
        (rule("get", paths="/healthz /api/*"), Attributes("get", path="/healthz"), True),
        (rule("get", paths="/healthz /api/*"), Attributes("get", path="/api/v1"), True),
        (rule("get", paths="/healthz /api/*"), Attributes("get", path="/api"), False),
        (rule("get", paths="/healthz /api/*"), Attributes("post", path="/healthz"), False),
        (rule("*", paths="*"), Attributes("post", path="/anything"), True),
        (rule("*", "*", "*"), Attributes("get", path="/metrics"), False),
    ],
)
def test_rules(held, asked, allowed):
    authorizer = cluster(held)
    for _ in range(2):  # the second answer is the kept one
        assert authorizer.authorize(JANE, asked).allowed is allowed
    assert authorizer.authorize(User("eve"), asked).allowed is False


def test_names_of_two_rules_add_up_and_are_not_kept_for_other_names():
    authorizer = cluster(rule("get", "secrets", names="a"), rule("get", "secrets", names="b"))
    for name, allowed in [("a", True), ("c", False), ("b", True), ("c", False), ("a", True)]:
        assert authorizer.authorize(JANE, Attributes("get", "", "v1", "secrets", "", "d", name)).allowed is allowed


def test_reasons():
    authorizer = cluster(READ_PODS, subjects=("U jane",))
    asked = Attributes("get", "", "v1", "pods", "", "default", "p")
    assert authorizer.authorize(JANE, asked).reason == (
        'RBAC: allowed by ClusterRoleBinding "b" of ClusterRole "r" to User "jane"'
    )
    authorizer = Authorizer()
    authorizer.put(ROLE_BINDINGS, binding("b", "Role", "r", "S app", namespace="default"))
    authorizer.put(ROLES, role("r", READ_PODS, namespace="default"))
    app = User("system:serviceaccount:default:app")
    assert authorizer.authorize(app, asked).reason == (
        'RBAC: allowed by RoleBinding "b/default" of Role "r" to ServiceAccount "app/default"'
    )


def test_missing_roles_are_named_only_when_nothing_allows():
    authorizer = cluster(READ_PODS)
    authorizer.put(CLUSTER_ROLE_BINDINGS, binding("a", "ClusterRole", "gone", "G dev"))
    authorizer.put(ROLE_BINDINGS, binding("c", "Role", "lost", "U jane", namespace="default"))
    assert authorizer.authorize(JANE, Attributes("get", "", "v1", "pods", "", "default")).allowed
    assert authorizer.authorize(JANE, Attributes("get", "", "v1", "nodes")) == Decision(
        False, 'RBAC: clusterrole.rbac.authorization.k8s.io "gone" not found'
    )
    assert authorizer.authorize(JANE, Attributes("get", "", "v1", "services", "", "default")) == Decision(
        False,
        'RBAC: [clusterrole.rbac.authorization.k8s.io "gone" not found, '
        'role.rbac.authorization.k8s.io "lost" not found]',
    )


def test_a_role_binding_holds_in_its_namespace_only():
    authorizer = Authorizer()
    authorizer.put(CLUSTER_ROLES, role("r", READ_PODS))
    authorizer.put(ROLE_BINDINGS, binding("b", "ClusterRole", "r", "U jane", namespace="dev"))
    assert authorizer.authorize(JANE, Attributes("get", "", "v1", "pods", "", "dev")).allowed
    assert not authorizer.authorize(JANE, Attributes("get", "", "v1", "pods", "", "prod")).allowed
    assert not authorizer.authorize(JANE, Attributes("get", "", "v1", "pods")).allowed


def test_changes_count_at_once():
    asked = Attributes("get", "", "v1", "pods", "", "default", "p")
    authorizer = cluster(READ_PODS)
    assert authorizer.authorize(JANE, asked).allowed
    authorizer.put(CLUSTER_ROLES, role("r", rule("list", "pods")))
    assert not authorizer.authorize(JANE, asked).allowed
    authorizer.put(CLUSTER_ROLES, role("r", READ_PODS))
    assert authorizer.authorize(JANE, asked).allowed
    authorizer.put(CLUSTER_ROLE_BINDINGS, binding("b", "ClusterRole", "r", "G ops"))
    assert not authorizer.authorize(JANE, asked).allowed
    authorizer.put(CLUSTER_ROLE_BINDINGS, binding("b", "ClusterRole", "r", "G ops", "U jane", "G dev"))
    assert authorizer.authorize(JANE, asked).allowed
    authorizer.discard(CLUSTER_ROLE_BINDINGS, "", "b")
    assert not authorizer.authorize(JANE, asked).allowed
    authorizer.discard(CLUSTER_ROLE_BINDINGS, "", "b")
    authorizer.discard(CLUSTER_ROLES, "", "r")


def test_service_accounts_of_cluster_bindings_need_a_namespace():
    authorizer = cluster(READ_PODS, subjects=("S app", "S kube-system/app"))
    asked = Attributes("get", "", "v1", "pods")
    assert authorizer.authorize(User("system:serviceaccount:kube-system:app"), asked).allowed
    assert not authorizer.authorize(User("system:serviceaccount::app"), asked).allowed


def test_only_rbac_objects_are_taken():
    with pytest.raises(ValueError, match=r"RBAC has no pods"):
        from cybernetes.core.objects import PODS

        Authorizer().put(PODS, role("r"))


def test_rules_review():
    authorizer = cluster(READ_PODS, rule("get", paths="/healthz"))
    authorizer.put(ROLE_BINDINGS, binding("x", "ClusterRole", "gone", "U jane", namespace="default"))
    assert rbac.review(authorizer, JANE, "default") == {
        "resourceRules": [{"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]}],
        "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/healthz"]}],
        "incomplete": False,
        "evaluationError": 'clusterrole.rbac.authorization.k8s.io "gone" not found',
    }


def test_aggregation():
    def labelled(name, value, *rules):
        made = role(name, *rules)
        made["metadata"]["labels"] = {"to": value}
        return made

    whole = {"metadata": {"name": "m", "labels": {"to": "view"}}, "rules": [rule("own")]}
    whole["aggregationRule"] = {"clusterRoleSelectors": [{"matchLabels": {"to": "view"}}, {"matchLabels": {"to": "x"}}]}
    first, second = labelled("a", "view", rule("get", "a"), rule("get", "b")), labelled("z", "view", rule("get", "b"))
    other = labelled("b", "x", rule("get", "c"), rule("get", "c"))
    assert rbac.aggregate(whole, [second, other, whole, first, labelled("n", "no", rule("get", "d"))]) == [
        rule("get", "a"),
        rule("get", "b"),
        rule("get", "c"),
    ]
    assert rbac.aggregate(first, []) is None


def test_refusals():
    assert refusal_text(JANE, Attributes("list", "", "v1", "pods", "", "default")) == (
        'User "jane" cannot list resource "pods" in API group "" in the namespace "default"'
    )
    assert refusal_text(JANE, Attributes("get", "apps", "v1", "deployments", "scale", name="x")) == (
        'User "jane" cannot get resource "deployments/scale" in API group "apps" at the cluster scope'
    )
    error = refusal(JANE, Attributes("get", "", "v1", "secrets", "", "default", "s"), "RBAC: gone")
    assert error.message == (
        'secrets "s" is forbidden: User "jane" cannot get resource "secrets" in API group "" '
        'in the namespace "default": RBAC: gone'
    )
    assert (error.code, error.status["details"]) == (403, {"name": "s", "kind": "secrets"})
    assert refusal(User("<b>"), Attributes("get", path="/metrics")).message == (
        'forbidden: User "&lt;b&gt;" cannot get path "/metrics"'
    )


def test_chain():
    def yes(user, attributes):
        return Decision(attributes.verb == "get", "first")

    def no(user, attributes):
        return Decision(False, "second")

    authorize = chain([yes, no])
    assert authorize(JANE, Attributes("get")) == Decision(True, "first")
    assert authorize(JANE, Attributes("list")) == Decision(False, "first\nsecond")
    assert authorize(User("root", groups=("system:masters",)), Attributes("list")).allowed


# The slow twin: reads every binding and every rule, as upstream does.
def slow(objects, user, asked):
    roles = {
        (o["metadata"].get("namespace", ""), o["metadata"]["name"]): o
        for g, o in objects
        if g in (ROLES, CLUSTER_ROLES)
    }

    def applies(subject, namespace):
        if subject["kind"] == "ServiceAccount":
            home = subject.get("namespace") or namespace
            return bool(home) and user.name == f"system:serviceaccount:{home}:{subject['name']}"
        return subject["name"] in ([user.name] if subject["kind"] == "User" else user.groups)

    def allows(held):
        if not {asked.verb, "*"} & set(held["verbs"]):
            return False
        if asked.path:
            return any(
                path == asked.path or (path.endswith("*") and asked.path.startswith(path.rstrip("*")))
                for path in held.get("nonResourceURLs", ())
            )
        wanted = {asked.combined, "*"} | ({f"*/{asked.subresource}"} if asked.subresource else set())
        names = held.get("resourceNames")
        return bool(
            {asked.group, "*"} & set(held.get("apiGroups", ()))
            and wanted & set(held.get("resources", ()))
            and (not names or asked.name in names)
        )

    for gvr, obj in objects:
        namespace = obj["metadata"].get("namespace", "")
        if gvr not in (ROLE_BINDINGS, CLUSTER_ROLE_BINDINGS) or namespace not in ("", asked.namespace):
            continue
        if any(applies(subject, namespace) for subject in obj["subjects"]):
            reference = obj["roleRef"]
            is_role = reference["kind"] == "Role"
            found = roles.get((namespace if is_role else "", reference["name"]))
            if is_role and not namespace:
                found = None  # there are no Roles of the cluster
            if found and any(allows(held) for held in found["rules"]):
                return True
    return False


few = st.sampled_from
some_rules = st.lists(
    st.builds(
        rule,
        st.sampled_from(["get", "list", "*", "get list"]),
        few(["pods", "*", "pods/log", "*/log", "pods nodes"]),
        few(["apps", "*", "apps batch"]),
        few(["", "", "a", "a b"]),
    )
    | st.builds(rule, few(["get", "*"]), paths=few(["/a", "/a/*", "*", "/b /a"])),
    max_size=3,
)
some_objects = st.lists(
    st.builds(lambda name, rules: (CLUSTER_ROLES, role(name, *rules)), few("rs"), some_rules)
    | st.builds(lambda name, rules, ns: (ROLES, role(name, *rules, namespace=ns)), few("rs"), some_rules, few("xy"))
    | st.builds(
        lambda name, kind, to, who: (CLUSTER_ROLE_BINDINGS, binding(name, kind, to, *who)),
        few("bc"),
        few(["ClusterRole", "Role"]),
        few("rst"),
        st.lists(few(["U u", "G g", "S x/s", "S s"]), max_size=3),
    )
    | st.builds(
        lambda name, kind, to, who, ns: (ROLE_BINDINGS, binding(name, kind, to, *who, namespace=ns)),
        few("bc"),
        few(["ClusterRole", "Role"]),
        few("rst"),
        st.lists(few(["U u", "G g", "S x/s", "S s"]), max_size=3),
        few("xy"),
    ),
    max_size=12,
)
some_requests = st.lists(
    st.builds(
        Attributes,
        few(["get", "list"]),
        few(["apps", "batch"]),
        st.just("v1"),
        few(["pods", "nodes"]),
        few(["", "log"]),
        few(["", "x", "y"]),
        few(["", "a", "b"]),
    )
    | st.builds(lambda verb, path: Attributes(verb, path=path), few(["get", "list"]), few(["/a", "/a/b", "/b", "/c"])),
    min_size=1,
    max_size=8,
)
some_users = few([User("u"), User("v", groups=("g", "h")), User("system:serviceaccount:x:s"), User("u", groups=("g",))])


@given(some_objects, some_objects, some_users, some_requests)
def test_it_decides_as_the_slow_twin(earlier, later, user, requests):
    authorizer = Authorizer()
    state = {}
    for gvr, obj in earlier:
        authorizer.put(gvr, obj)
        state[gvr, obj["metadata"].get("namespace", ""), obj["metadata"]["name"]] = obj
    for asked in requests:
        authorizer.authorize(user, asked)
    for index, (gvr, obj) in enumerate(later):
        key = (gvr, obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        if index % 2:
            authorizer.discard(*key)
            state.pop(key, None)
        else:
            authorizer.put(gvr, obj)
            state[key] = obj
    objects = [(key[0], obj) for key, obj in state.items()]
    for asked in requests + requests:
        assert authorizer.authorize(user, asked).allowed == slow(objects, user, asked)


def test_collections_are_replaced():
    authorizer = cluster(READ_PODS)
    authorizer.put(ROLES, role("r", READ_PODS, namespace="default"))
    authorizer.put(ROLE_BINDINGS, binding("b", "Role", "r", "U joe", namespace="default"))
    listing, joe = Attributes("list", "", "v1", "pods", "", "default"), User("joe")
    assert authorizer.authorize(JANE, listing).allowed
    authorizer.replace(CLUSTER_ROLE_BINDINGS, [binding("c", "ClusterRole", "r", "U jim")])
    assert not authorizer.authorize(JANE, listing).allowed
    assert authorizer.authorize(User("jim"), listing).allowed
    assert authorizer.authorize(joe, listing).allowed
    authorizer.replace(CLUSTER_ROLES, [])
    assert not authorizer.authorize(User("jim"), listing).allowed
    authorizer.replace(ROLES, [])
    assert not authorizer.authorize(joe, listing).allowed


def test_rules_of_nodes_are_incomplete():
    status = rbac.review(cluster(READ_PODS), User("system:node:a", groups=("system:nodes",)), "default")
    assert status["incomplete"]
    assert status["evaluationError"] == "node authorizer does not support user rule resolution"

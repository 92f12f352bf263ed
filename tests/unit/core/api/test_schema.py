from cybernetes.core.api import schema
from cybernetes.core.api.registry import builtin
from cybernetes.core.objects import Gvk

CORE = "io.k8s.api.core.v1."


def test_lists_and_maps_say_how_they_are_merged():
    pod = schema.load().type(CORE + "Pod")
    containers = pod.fields["spec"].fields["containers"]
    assert (containers.kind, containers.list_type, tuple(containers.map_keys)) == ("array", "map", ("name",))
    assert (containers.patch_strategy, containers.patch_merge_key) == (("merge",), "name")
    ports = containers.items.fields["ports"]
    assert tuple(ports.map_keys) == ("containerPort", "protocol")
    assert pod.fields["metadata"].fields["labels"].kind == "map"


def test_scalars_know_their_form():
    spec = schema.load().type("io.k8s.api.apps.v1.DeploymentSpec")
    assert (spec.fields["replicas"].kind, spec.fields["replicas"].format) == ("integer", "int32")
    meta = schema.load().type(schema.OBJECT_META)
    assert meta.fields["creationTimestamp"].kind == "time"
    requirements = schema.load().type(CORE + "ResourceRequirements")
    assert requirements.fields["limits"].items.kind == "quantity"
    action = schema.load().type(CORE + "HTTPGetAction")
    assert action.fields["port"].kind == "int_or_string"
    assert schema.load().type("io.k8s.api.coordination.v1.LeaseSpec").fields["renewTime"].kind == "micro_time"


def test_what_becomes_of_fields_without_a_value():
    spec = schema.load().type("io.k8s.api.apps.v1.DeploymentSpec")
    assert spec.fields["selector"].presence == "always"
    assert spec.fields["paused"].presence == "drop"
    assert spec.fields["replicas"].presence == "keep"


def test_types_are_shared_and_made_once():
    first = schema.load().type(CORE + "Pod")
    assert schema.load().type(CORE + "Pod") is first
    template = schema.load().type("io.k8s.api.apps.v1.DeploymentSpec").fields["template"]
    assert template.fields["spec"].fields["containers"].items.fields is not None


def test_every_resource_has_a_type_and_every_type_resolves():
    for resource in builtin().all():
        assert schema.load().type(resource.type_name).kind == "object", resource.gvr
        assert schema.load().type_name_of(resource.gvk) == resource.type_name
    seen = set()

    def visit(node):
        if id(node) in seen:
            return
        seen.add(id(node))
        if node.kind == "object":
            for child in node.fields.values():
                visit(child)
        elif node.kind in ("array", "map"):
            visit(node.items)

    for resource in builtin().all():
        visit(schema.load().type(resource.type_name))
    assert len(seen) > 2000


def test_kinds_that_are_not_resources_have_types_too():
    for gvk, name in (
        (Gvk("", "v1", "Binding"), CORE + "Binding"),
        (Gvk("autoscaling", "v1", "Scale"), "io.k8s.api.autoscaling.v1.Scale"),
        (Gvk("policy", "v1", "Eviction"), "io.k8s.api.policy.v1.Eviction"),
    ):
        assert schema.load().type_name_of(gvk) == name
    assert schema.load().type_name_of(Gvk("", "v1", "Nothing")) is None


def test_descriptions_are_there_apart():
    found = schema.load().descriptions
    assert found

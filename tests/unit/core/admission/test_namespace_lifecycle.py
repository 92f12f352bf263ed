import pytest

from cybernetes.core.admission.namespace_lifecycle import NamespaceLifecycle
from cybernetes.core.errors import ApiError
from cybernetes.core.objects import CONFIG_MAPS, NAMESPACES, NODES, Gvr

POD_ACCESS = Gvr("authorization.k8s.io", "v1", "localsubjectaccessreviews")
MAP = {"metadata": {"name": "m"}}


def namespace(name, phase="Active"):
    return {"metadata": {"name": name}, "status": {"phase": phase}}


def admit(world, *args, **more):
    NamespaceLifecycle().admit(world.write(*args, **more), world)


def test_what_is_let_through(world):
    world.put(NAMESPACES, namespace("default"))
    world.put(NAMESPACES, namespace("going", "Terminating"))
    admit(world, CONFIG_MAPS, MAP)
    admit(world, CONFIG_MAPS, MAP, namespace="going", old=MAP)
    admit(world, CONFIG_MAPS, None, namespace="gone", old=MAP, operation="DELETE")
    admit(world, NODES, {"metadata": {"name": "n"}}, namespace="")
    admit(world, POD_ACCESS, {"metadata": {}}, namespace="gone")
    admit(world, NAMESPACES, None, namespace="going", name="going", operation="DELETE")
    admit(world, NAMESPACES, namespace("new"), namespace="new")


def test_no_such_namespace(world):
    for old in (None, MAP):
        with pytest.raises(ApiError) as caught:
            admit(world, CONFIG_MAPS, MAP, old=old, namespace="gone")
        assert (caught.value.code, caught.value.message) == (404, 'namespaces "gone" not found')


def test_a_namespace_that_is_being_deleted(world):
    world.put(NAMESPACES, namespace("going", "Terminating"))
    with pytest.raises(ApiError) as caught:
        admit(world, CONFIG_MAPS, MAP, namespace="going")
    assert caught.value.code == 403
    assert caught.value.message == (
        'configmaps "m" is forbidden: unable to create new content in namespace going because it is being terminated'
    )
    assert caught.value.status["details"] == {
        "name": "m",
        "kind": "configmaps",
        "causes": [
            {
                "reason": "NamespaceTerminating",
                "message": "namespace going is being terminated",
                "field": "metadata.namespace",
            }
        ],
    }


@pytest.mark.parametrize("name", ["default", "kube-system", "kube-public"])
def test_immortal_namespaces(world, name):
    with pytest.raises(ApiError) as caught:
        admit(world, NAMESPACES, None, namespace=name, name=name, operation="DELETE")
    assert caught.value.message == f'namespaces "{name}" is forbidden: this namespace may not be deleted'

import pytest

from cybernetes.core.admission.podsecurity import PodSecurity
from cybernetes.core.admission.podsecurity.policy import Policy, Standard, policy_of
from cybernetes.core.errors import ApiError
from cybernetes.core.objects import CRON_JOBS, DEPLOYMENTS, NAMESPACES, POD_TEMPLATES, PODS

PREFIX = "pod-security.kubernetes.io/"
VIOLATES = 'privileged (container "c" must not set securityContext.privileged=true)'


def labelled(name="default", /, **labels):
    keys = {PREFIX + key.replace("_", "-"): value for key, value in labels.items()}
    return {"metadata": {"name": name, "labels": keys}}


def pod(name="p", /, image="i", privileged=True, owner="", namespace="default"):
    metadata = {"name": name, "namespace": namespace}
    if owner:
        metadata["ownerReferences"] = [{"uid": owner, "controller": True}]
    context = {"privileged": True} if privileged else {}
    return {"metadata": metadata, "spec": {"containers": [{"name": "c", "image": image, "securityContext": context}]}}


@pytest.fixture
def plugin():
    return PodSecurity()


@pytest.mark.parametrize(
    ("labels", "policy", "errors"),
    [
        ({}, Policy(), []),
        ({"audit": "baseline"}, Policy(audit=Standard("baseline")), []),
        ({"enforce": "baseline"}, Policy(enforce=Standard("baseline"), warn=Standard("baseline")), []),
        (
            {"enforce": "restricted", "enforce_version": "v1.30", "warn": "privileged"},
            Policy(enforce=Standard("restricted", 30)),
            [],
        ),
        (
            {"enforce": "restricted", "enforce_version": "v1.30"},
            Policy(enforce=Standard("restricted", 30), warn=Standard("restricted", 30)),
            [],
        ),
        (
            {"enforce": "restricted", "enforce_version": "v1.30", "warn_version": "latest"},
            Policy(enforce=Standard("restricted", 30), warn=Standard("restricted")),
            [],
        ),
        (
            {"enforce": "x", "audit": "y", "warn": "z"},
            Policy(enforce=Standard("restricted")),
            [
                'Invalid value: "x": must be one of privileged, baseline, restricted',
                'Invalid value: "y": must be one of privileged, baseline, restricted',
                'Invalid value: "z": must be one of privileged, baseline, restricted',
            ],
        ),
        (
            {"audit": "baseline", "audit_version": "v1.01"},
            Policy(audit=Standard("baseline")),
            ['Invalid value: "v1.01": must be "latest" or "v1.x"'],
        ),
    ],
)
def test_policy(labels, policy, errors):
    found, wrong = policy_of(labelled(**labels)["metadata"]["labels"])
    assert found == policy
    assert [each.message for each in wrong] == errors


def test_pods_are_refused(plugin, world):
    world.put(NAMESPACES, labelled(enforce="baseline"))
    attributes = world.write(PODS, pod())
    with pytest.raises(ApiError) as caught:
        plugin.validate(attributes, world)
    assert caught.value.code == 403
    assert caught.value.message == f'pods "p" is forbidden: violates PodSecurity "baseline:latest": {VIOLATES}'
    assert attributes.warnings == []
    good = world.write(PODS, pod(privileged=False))
    plugin.validate(good, world)
    assert good.annotations == {f"{PREFIX}enforce-policy": "baseline:latest"}


def test_pods_are_warned_of(plugin, world):
    world.put(NAMESPACES, labelled(warn="baseline", warn_version="v1.30", audit="baseline"))
    attributes = world.write(PODS, pod())
    plugin.validate(attributes, world)
    assert attributes.warnings == [f'would violate PodSecurity "baseline:v1.30": {VIOLATES}']
    assert attributes.annotations == {
        f"{PREFIX}audit-violations": f'would violate PodSecurity "baseline:latest": {VIOLATES}',
        f"{PREFIX}enforce-policy": "privileged:latest",
    }


def test_without_labels_nothing_is_held(plugin, world):
    world.put(NAMESPACES, labelled())
    attributes = world.write(PODS, pod())
    plugin.validate(attributes, world)
    assert (attributes.warnings, attributes.annotations) == ([], {f"{PREFIX}enforce-policy": "privileged:latest"})
    with pytest.raises(ApiError, match='failed to lookup namespace "gone"'):
        plugin.validate(world.write(PODS, pod(), namespace="gone"), world)


def test_wrong_labels_are_strict(plugin, world):
    world.put(NAMESPACES, labelled(enforce="x"))
    attributes = world.write(PODS, pod())
    with pytest.raises(ApiError, match="restricted:latest"):
        plugin.validate(attributes, world)
    assert attributes.annotations[f"{PREFIX}error"].startswith(
        'Failed to parse policy: metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: "x"'
    )


@pytest.mark.parametrize(
    ("change", "subresource", "is_judged"),
    [
        ({}, "", False),
        ({}, "resize", False),
        ({"containers": [{"name": "c", "image": "new", "securityContext": {"privileged": True}}]}, "", True),
        ({"containers": [{"name": "c", "image": "new", "securityContext": {"privileged": True}}]}, "status", False),
        ({"ephemeralContainers": [{"name": "d", "image": "i"}]}, "ephemeralcontainers", True),
        ({"initContainers": [{"name": "d", "image": "i"}]}, "", True),
    ],
)
def test_updates(plugin, world, change, subresource, is_judged):
    world.put(NAMESPACES, labelled(enforce="baseline"))
    new = pod()
    new["spec"] |= change
    attributes = world.write(PODS, new, old=pod(), subresource=subresource)
    if is_judged:
        with pytest.raises(ApiError, match="violates"):
            plugin.validate(attributes, world)
    else:
        plugin.validate(attributes, world)


@pytest.mark.parametrize(
    ("gvr", "obj"),
    [
        (DEPLOYMENTS, {"metadata": {"name": "d"}, "spec": {"template": pod()}}),
        (CRON_JOBS, {"metadata": {"name": "d"}, "spec": {"jobTemplate": {"spec": {"template": pod()}}}}),
        (POD_TEMPLATES, {"metadata": {"name": "d"}, "template": pod()}),
    ],
)
def test_makers_of_pods_are_warned_of(plugin, world, gvr, obj):
    world.put(NAMESPACES, labelled(enforce="baseline"))
    attributes = world.write(gvr, obj)
    plugin.validate(attributes, world)
    assert attributes.warnings == [f'would violate PodSecurity "baseline:latest": {VIOLATES}']
    scaled = world.write(gvr, obj, old=obj, subresource="scale")
    plugin.validate(scaled, world)
    assert scaled.warnings == []
    world.put(NAMESPACES, labelled(enforce="baseline", warn="privileged"))
    silent = world.write(gvr, obj)
    plugin.validate(silent, world)
    assert silent.warnings == []


def test_labels_must_be_right(plugin, world):
    with pytest.raises(ApiError) as caught:
        plugin.validate(world.write(NAMESPACES, labelled("n", enforce="x")), world)
    assert caught.value.code == 422
    path = "metadata.labels[pod-security.kubernetes.io/enforce]"
    assert caught.value.message == (
        f'Namespace "n" is invalid: {path}: Invalid value: "x": must be one of privileged, baseline, restricted'
    )
    wrong = labelled("n", enforce="x")
    plugin.validate(world.write(NAMESPACES, wrong, old=wrong), world)
    with pytest.raises(ApiError):
        plugin.validate(world.write(NAMESPACES, wrong, old=labelled("n", enforce="y")), world)


def test_a_namespace_becomes_stricter(plugin, world):
    for name in ("b", "a", "c"):
        world.put(PODS, pod(name, namespace="n", owner="rs"))
    world.put(PODS, pod("good", namespace="n", privileged=False))
    old = labelled("n")

    def warnings(new, old=old):
        attributes = world.write(NAMESPACES, new, old=old)
        plugin.validate(attributes, world)
        return attributes.warnings

    assert warnings(labelled("n", enforce="baseline")) == [
        'existing pods in namespace "n" violate the new PodSecurity enforce level "baseline:latest"',
        "a (and 2 other pods): privileged",
    ]
    strict = labelled("n", enforce="restricted")
    texts = warnings(strict)
    assert len(texts) == 3
    assert texts[2].startswith("good: allowPrivilegeEscalation != false, unrestricted capabilities, ")
    assert warnings(labelled("n", enforce="baseline"), strict) == []
    assert warnings(labelled("n", enforce="baseline", enforce_version="v1.30"), strict) != []
    assert warnings(labelled("n", enforce="privileged"), strict) == []
    assert warnings(labelled("n", warn="restricted")) == []

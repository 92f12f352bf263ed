import pytest

from cybernetes.core.admission import NotYet
from cybernetes.core.admission.service_account import ServiceAccount
from cybernetes.core.errors import ApiError
from cybernetes.core.objects import PODS, SERVICE_ACCOUNTS

ENFORCE = {"kubernetes.io/enforce-mountable-secrets": "true"}


def account(name="default", **more):
    annotations = more.pop("annotations", {})
    return {"metadata": {"name": name, "namespace": "default", "annotations": annotations}, **more}


def pod(*containers, annotations=None, **spec):
    listed = list(containers) or [{"name": "c"}]
    return {"metadata": {"name": "p", "annotations": annotations or {}}, "spec": {"containers": listed, **spec}}


def admit(world, obj, **more):
    attributes = world.write(PODS, obj, **more)
    ServiceAccount().admit(attributes, world)
    ServiceAccount().validate(attributes, world)
    return attributes.obj


def refusal(world, obj, **more):
    with pytest.raises(ApiError) as caught:
        admit(world, obj, **more)
    assert caught.value.code == 403
    return caught.value.message.removeprefix('pods "p" is forbidden: ')


def test_what_a_plain_pod_gets(world):
    world.put(SERVICE_ACCOUNTS, account(imagePullSecrets=[{"name": "registry"}]))
    spec = admit(world, pod({"name": "c"}, initContainers=[{"name": "i"}]))["spec"]
    name = spec["volumes"][0]["name"]
    assert name.startswith("kube-api-access-")
    assert len(name) == len("kube-api-access-") + 5
    mount = {"name": name, "readOnly": True, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}
    assert spec == {
        "serviceAccountName": "default",
        "serviceAccount": "default",
        "imagePullSecrets": [{"name": "registry"}],
        "initContainers": [{"name": "i", "volumeMounts": [mount]}],
        "containers": [{"name": "c", "volumeMounts": [mount]}],
        "volumes": [
            {
                "name": name,
                "projected": {
                    "defaultMode": 420,
                    "sources": [
                        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                        {"configMap": {"items": [{"key": "ca.crt", "path": "ca.crt"}], "name": "kube-root-ca.crt"}},
                        {
                            "downwardAPI": {
                                "items": [
                                    {
                                        "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
                                        "path": "namespace",
                                    }
                                ]
                            }
                        },
                    ],
                },
            }
        ],
    }


@pytest.mark.parametrize(
    ("of_pod", "of_account", "mounted"),
    [(None, None, True), (None, False, False), (True, False, True), (False, None, False), (False, True, False)],
)
def test_automount(world, of_pod, of_account, mounted):
    chosen = {} if of_account is None else {"automountServiceAccountToken": of_account}
    world.put(SERVICE_ACCOUNTS, account(**chosen))
    more = {} if of_pod is None else {"automountServiceAccountToken": of_pod}
    assert ("volumes" in admit(world, pod(**more))["spec"]) is mounted


def test_own_mounts_and_volumes_are_respected(world):
    world.put(SERVICE_ACCOUNTS, account())
    mine = {"name": "x", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}
    spec = admit(world, pod({"name": "c", "volumeMounts": [mine]}))["spec"]
    assert spec["containers"][0]["volumeMounts"] == [mine]
    assert "volumes" not in spec
    volume = {"name": "kube-api-access-12345", "emptyDir": {}}
    spec = admit(world, pod(volumes=[volume]))["spec"]
    assert spec["volumes"] == [volume]
    assert spec["containers"][0]["volumeMounts"][0]["name"] == "kube-api-access-12345"


def test_own_pull_secrets_are_kept(world):
    world.put(SERVICE_ACCOUNTS, account(imagePullSecrets=[{"name": "registry"}]))
    assert admit(world, pod(imagePullSecrets=[{"name": "mine"}]))["spec"]["imagePullSecrets"] == [{"name": "mine"}]


def test_missing_accounts(world):
    text = 'error looking up service account default/app: serviceaccount "app" not found'
    assert refusal(world, pod(serviceAccountName="app")) == text
    with pytest.raises(NotYet) as caught:
        admit(world, pod())
    assert caught.value.code == 403
    assert caught.value.message.endswith(
        'error looking up service account default/default: serviceaccount "default" not found'
    )


def test_updates_and_other_subresources_are_left_alone(world):
    assert admit(world, pod(), old=pod()) == pod()
    assert admit(world, pod(), subresource="status") == pod()


def test_mirror_pods(world):
    mirror = {"kubernetes.io/config.mirror": "hash"}
    assert admit(world, pod(annotations=mirror)) == pod(annotations=mirror)
    assert (
        refusal(world, pod(annotations=mirror, serviceAccountName="x"))
        == "a mirror pod may not reference service accounts"
    )
    secret = [{"name": "v", "secret": {"secretName": "s"}}]
    assert refusal(world, pod(annotations=mirror, volumes=secret)) == "a mirror pod may not reference secrets"
    from_env = {"name": "c", "envFrom": [{"secretRef": {"name": "s"}}]}
    assert refusal(world, pod(from_env, annotations=mirror)) == "a mirror pod may not reference secrets"
    token = [{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]
    assert (
        refusal(world, pod(annotations=mirror, volumes=token))
        == "a mirror pod may not use ServiceAccountToken volume projections"
    )


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (
            {"volumes": [{"name": "v", "secret": {"secretName": "x"}}]},
            'volume with secret.secretName="x" is not allowed because service account default does not reference '
            "that secret",
        ),
        (
            {
                "initContainers": [
                    {"name": "i", "env": [{"name": "E", "valueFrom": {"secretKeyRef": {"name": "x", "key": "k"}}}]}
                ]
            },
            'init container i with envVar E referencing secret.secretName="x" is not allowed because service account '
            "default does not "
            "reference that secret",
        ),
        (
            {"containers": [{"name": "c", "envFrom": [{"secretRef": {"name": "x"}}]}]},
            'container c with envFrom referencing secret.secretName="x" is not allowed because service account '
            "default does not "
            "reference that secret",
        ),
        (
            {"imagePullSecrets": [{"name": "ok"}, {"name": "x"}]},
            'imagePullSecrets[1].name="x" is not allowed because service account default does not reference that '
            "imagePullSecret",
        ),
    ],
)
def test_mountable_secrets(world, spec, text):
    world.put(
        SERVICE_ACCOUNTS, account(annotations=ENFORCE, secrets=[{"name": "ok"}], imagePullSecrets=[{"name": "ok"}])
    )
    assert refusal(world, {**pod(), "spec": {"containers": [{"name": "c"}], **spec}}) == text


def test_mountable_secrets_of_ephemeral_containers(world):
    world.put(SERVICE_ACCOUNTS, account(annotations=ENFORCE))
    container = {"name": "e", "env": [{"name": "E", "valueFrom": {"secretKeyRef": {"name": "x", "key": "k"}}}]}
    changed = pod(serviceAccountName="default", ephemeralContainers=[container])
    assert refusal(world, changed, old=pod(), subresource="ephemeralcontainers").startswith(
        "ephemeral container e with envVar E"
    )

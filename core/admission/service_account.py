"""ServiceAccount: every pod acts as one, and finds its token where clients look for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cybernetes.core.admission.contract import Attributes, NotYet, Reader, refused
from cybernetes.core.auth.podreferences import secret_names
from cybernetes.core.auth.tokens import WARN_ONLY_EXPIRATION_S
from cybernetes.core.errors import quoted
from cybernetes.core.objects import PODS, SERVICE_ACCOUNTS, Object, annotations_of

DEFAULT_NAME = "default"
VOLUME_PREFIX = "kube-api-access-"
MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
MIRROR_POD = "kubernetes.io/config.mirror"
ENFORCE_MOUNTABLE_SECRETS = "kubernetes.io/enforce-mountable-secrets"

#: What Go's strconv.ParseBool takes for true.
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})


class ServiceAccount:
    """A pod without a ServiceAccount gets ``default``; one that may call the API gets a volume with a token, the
    authority's certificate and its namespace; one without pull secrets gets those of its account.

    Source: documentation "Managing Service Accounts", ServiceAccount admission controller.
    """

    name = "ServiceAccount"

    def admit(self, attributes: Attributes, cluster: Reader) -> None:
        pod = attributes.obj
        if attributes.operation != "CREATE" or not attributes.is_for(PODS) or pod is None:
            return
        if MIRROR_POD in annotations_of(pod):
            self.validate(attributes, cluster)
            return
        spec = pod["spec"]
        if not spec.get("serviceAccountName"):
            spec["serviceAccountName"] = DEFAULT_NAME
        account = _account(attributes, spec["serviceAccountName"], cluster)
        spec["serviceAccount"] = spec["serviceAccountName"]  # the field's old name says the same
        if _wants_token(account, spec):
            _mount_token(spec, cluster)
        if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
            spec["imagePullSecrets"] = [{"name": each.get("name", "")} for each in account["imagePullSecrets"]]
        self.validate(attributes, cluster)

    def validate(self, attributes: Attributes, cluster: Reader) -> None:
        pod = attributes.obj
        if pod is None:
            return
        if attributes.operation == "CREATE" and attributes.is_for(PODS):
            if MIRROR_POD in annotations_of(pod):
                _check_mirror(attributes, pod["spec"])
                return
            account = self._required(attributes, pod, cluster)
            if _enforces(account):
                _check_references(attributes, pod["spec"], account)
        elif attributes.operation == "UPDATE" and attributes.is_for(PODS, "ephemeralcontainers"):
            account = self._required(attributes, pod, cluster)
            if _enforces(account):
                mountable = {each.get("name") for each in account.get("secrets") or ()}
                containers = pod["spec"].get("ephemeralContainers") or ()
                _check_environment(attributes, "ephemeral container", containers, mountable, account)

    @staticmethod
    def _required(attributes: Attributes, pod: Object, cluster: Reader) -> Object:
        name = pod["spec"].get("serviceAccountName")
        if not name:
            where = f"{attributes.namespace}/{pod['metadata'].get('name', '')}"
            raise refused(attributes, f"no service account specified for pod {where}")
        return _account(attributes, name, cluster)


def token_volume_source() -> dict[str, Any]:
    """The projected volume by which pods reach the API."""
    return {
        "defaultMode": 420,
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": WARN_ONLY_EXPIRATION_S, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {
                "downwardAPI": {
                    "items": [
                        {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
                    ]
                }
            },
        ],
    }


def _account(attributes: Attributes, name: str, cluster: Reader) -> Object:
    found = cluster.get(SERVICE_ACCOUNTS, attributes.namespace, name)
    if found is not None:
        return found
    why = f"error looking up service account {attributes.namespace}/{name}: serviceaccount {quoted(name)} not found"
    error = refused(attributes, why)
    # A controller makes the default account of a new namespace: it may be there in a moment.
    raise NotYet(error) if name == DEFAULT_NAME else error


def _wants_token(account: Object, spec: Mapping[str, Any]) -> bool:
    for chooser in (spec, account):
        chosen = chooser.get("automountServiceAccountToken")
        if chosen is not None:
            return bool(chosen)
    return True


def _mount_token(spec: dict[str, Any], cluster: Reader) -> None:
    """Mount the token in every container that has nothing of its own there."""
    volumes = spec.get("volumes") or []
    name = next((each["name"] for each in volumes if each.get("name", "").startswith(VOLUME_PREFIX)), "")
    has_volume = bool(name)
    if not name:
        name = VOLUME_PREFIX + cluster.random.name_suffix()
    needs_volume = False
    for container in [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]:
        mounts = container.get("volumeMounts") or []
        if all(mount.get("mountPath") != MOUNT_PATH for mount in mounts):
            container["volumeMounts"] = [*mounts, {"name": name, "readOnly": True, "mountPath": MOUNT_PATH}]
            needs_volume = True
    if needs_volume and not has_volume:
        spec["volumes"] = [*volumes, {"name": name, "projected": token_volume_source()}]


def _check_mirror(attributes: Attributes, spec: Mapping[str, Any]) -> None:
    """A mirror pod shows what a kubelet runs from a file: it cannot have what only the API can give."""
    if spec.get("serviceAccountName"):
        raise refused(attributes, "a mirror pod may not reference service accounts")
    if any(secret_names(spec)):
        raise refused(attributes, "a mirror pod may not reference secrets")
    for volume in spec.get("volumes") or ():
        sources = (volume.get("projected") or {}).get("sources") or ()
        if any("serviceAccountToken" in source for source in sources):
            raise refused(attributes, "a mirror pod may not use ServiceAccountToken volume projections")


def _enforces(account: Object) -> bool:
    return annotations_of(account).get(ENFORCE_MOUNTABLE_SECRETS) in _TRUE


def _check_references(attributes: Attributes, spec: Mapping[str, Any], account: Object) -> None:
    mountable = {each.get("name") for each in account.get("secrets") or ()}
    not_listed = f"is not allowed because service account {account['metadata']['name']} does not reference that"
    for volume in spec.get("volumes") or ():
        if "secret" in volume and volume["secret"].get("secretName") not in mountable:
            secret = volume["secret"].get("secretName", "")
            raise refused(attributes, f'volume with secret.secretName="{secret}" {not_listed} secret')
    _check_environment(attributes, "init container", spec.get("initContainers") or (), mountable, account)
    _check_environment(attributes, "container", spec.get("containers") or (), mountable, account)
    pullable = {each.get("name") for each in account.get("imagePullSecrets") or ()}
    for index, reference in enumerate(spec.get("imagePullSecrets") or ()):
        if reference.get("name") not in pullable:
            what = f'imagePullSecrets[{index}].name="{reference.get("name", "")}"'
            raise refused(attributes, f"{what} {not_listed} imagePullSecret")


def _check_environment(
    attributes: Attributes, what: str, containers: Iterable[Mapping[str, Any]], mountable: set[Any], account: Object
) -> None:
    for container in containers:
        where = f"{what} {container.get('name', '')} with"
        for variable in container.get("env") or ():
            reference = (variable.get("valueFrom") or {}).get("secretKeyRef")
            if reference is not None and reference.get("name") not in mountable:
                _refuse(attributes, f"{where} envVar {variable.get('name', '')}", reference, account)
        for source in container.get("envFrom") or ():
            reference = source.get("secretRef")
            if reference is not None and reference.get("name") not in mountable:
                _refuse(attributes, f"{where} envFrom", reference, account)


def _refuse(attributes: Attributes, where: str, reference: Mapping[str, Any], account: Object) -> None:
    name = account["metadata"]["name"]
    raise refused(
        attributes,
        f'{where} referencing secret.secretName="{reference.get("name", "")}" is not allowed because service account '
        f"{name} does not reference that secret",
    )

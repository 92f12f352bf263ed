"""What every namespace has from the start: the ServiceAccount ``default`` and the ConfigMap ``kube-root-ca.crt``.

Both controllers have namespaces as keys and put back what somebody deletes or changes. Upstream:
pkg/controller/serviceaccount, pkg/controller/certificates/rootcacertpublisher.
"""

from __future__ import annotations

from collections.abc import Iterable

from cybernetes.core.controllers.interface import Create, Steps, Update, View, Watch
from cybernetes.core.controllers.replicaset import is_namespace_ending
from cybernetes.core.errors import ApiError, is_already_exists
from cybernetes.core.objects import CONFIG_MAPS, NAMESPACES, SERVICE_ACCOUNTS, Object, is_deleting

ROOT_CA_NAME = "kube-root-ca.crt"
ROOT_CA_DESCRIPTION = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
    "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of "
    "Kubernetes clusters."
)


def _active_namespace(key: str, view: View) -> bool:
    namespace = view.get(NAMESPACES, "", key)
    if namespace is None or is_deleting(namespace):
        return False
    return bool((namespace.get("status") or {}).get("phase", "Active") == "Active")


def _new_namespace(old: Object | None, new: Object | None, view: View) -> Iterable[str]:
    if new is None:
        return ()
    return (new["metadata"]["name"],)


class ServiceAccounts:
    name = "serviceaccount-controller"
    service_account = "service-account-controller"
    workers = 1

    def __init__(self) -> None:
        self.watches = (Watch(NAMESPACES, _new_namespace), Watch(SERVICE_ACCOUNTS, self._keys_of_account))

    @staticmethod
    def _keys_of_account(old: Object | None, new: Object | None, view: View) -> Iterable[str]:
        if new is not None or old is None or old["metadata"]["name"] != "default":
            return ()
        return (old["metadata"]["namespace"],)

    def reconcile(self, key: str, view: View, now: float) -> Steps:
        if not _active_namespace(key, view) or view.get(SERVICE_ACCOUNTS, key, "default") is not None:
            return
        account = {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": "default", "namespace": key},
        }
        yield from _create(account, key, is_account=True)


class RootCaPublisher:
    name = "root-ca-certificate-publisher-controller"
    service_account = "root-ca-cert-publisher"
    workers = 1

    def __init__(self, root_ca: str) -> None:
        """``root_ca`` is PEM text."""
        self._data = {"ca.crt": root_ca}
        self.watches = (Watch(NAMESPACES, _new_namespace), Watch(CONFIG_MAPS, self._keys_of_config_map))

    @staticmethod
    def _keys_of_config_map(old: Object | None, new: Object | None, view: View) -> Iterable[str]:
        config_map = new if new is not None else old
        if config_map is None or config_map["metadata"]["name"] != ROOT_CA_NAME or (old is None and new is not None):
            return ()
        return (config_map["metadata"]["namespace"],)

    def reconcile(self, key: str, view: View, now: float) -> Steps:
        if not _active_namespace(key, view):
            return
        found = view.get(CONFIG_MAPS, key, ROOT_CA_NAME)
        annotations = {"kubernetes.io/description": ROOT_CA_DESCRIPTION}
        if found is None:
            made = {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": ROOT_CA_NAME, "namespace": key, "annotations": annotations},
                "data": self._data,
            }
            yield from _create(made, key, is_account=False)
            return
        present = found["metadata"].get("annotations") or {}
        if found.get("data") == self._data and annotations.items() <= present.items():
            return
        metadata = {**found["metadata"], "annotations": {**present, **annotations}}
        yield Update(CONFIG_MAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": self._data})


def _create(obj: Object, namespace: str, *, is_account: bool) -> Steps:
    gvr = SERVICE_ACCOUNTS if is_account else CONFIG_MAPS
    try:
        yield Create(gvr, obj, namespace)
    except ApiError as error:
        if not (is_already_exists(error) or is_namespace_ending(error)):
            raise

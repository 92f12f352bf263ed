"""All kinds but pods, in which there is less to warn about."""

from __future__ import annotations

import base64

from cybernetes.core import quantity
from cybernetes.core.api.defaulting.values import items
from cybernetes.core.api.validation.addresses import address_warnings, network_warnings
from cybernetes.core.api.warnings import nodelabels
from cybernetes.core.api.warnings.pods import warn_claim_spec, warn_name, warn_template
from cybernetes.core.errors import quoted
from cybernetes.core.objects import Object

_INGRESS_CLASS = "kubernetes.io/ingress.class"
_STORAGE_CLASS = "volume.beta.kubernetes.io/storage-class"
_MOUNT_OPTIONS = "volume.beta.kubernetes.io/mount-options"
_USE_CLASS_NAME = 'deprecated since v1.8; use "storageClassName" attribute instead'
_MOUNTABLE_SECRETS = "kubernetes.io/enforce-mountable-secrets"
_TOPOLOGY_HINTS = "service.kubernetes.io/topology-aware-hints"
_TOPOLOGY_MODE = "service.kubernetes.io/topology-mode"
_MANY_COMPLETIONS = 100_000
_MUCH_PARALLELISM = 10_000
#: Controllers that write only addresses in good form.
_CONTROLLERS = ("endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io", "endpoint-controller")
_VOLUMES = {
    "cephfs": ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    "photonPersistentDisk": ("photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    "scaleIO": ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    "storageos": ("storageOS", "deprecated in v1.22, non-functional in v1.25+"),
    "glusterfs": ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    "rbd": ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
}


def warn_workload(obj: Object) -> list[str]:
    """Deployment, ReplicaSet, ReplicationController."""
    return warn_name(obj) + warn_template(obj["spec"].get("template"), "spec.template")


def warn_daemon_set(daemon_set: Object) -> list[str]:
    return warn_template(daemon_set["spec"].get("template"), "spec.template")


def warn_stateful_set(stateful_set: Object) -> list[str]:
    spec = stateful_set["spec"]
    warnings = warn_template(spec.get("template"), "spec.template")
    for index, claim in enumerate(items(spec, "volumeClaimTemplates")):
        warnings += warn_claim_spec(claim.get("spec") or {}, f"spec.volumeClaimTemplates[{index}].spec")
    if (spec.get("revisionHistoryLimit") or 0) < 0:
        warnings.append(
            "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended"
        )
    return warnings


def warn_job(job: Object) -> list[str]:
    return warn_name(job) + warn_job_spec(job["spec"], "spec")


def warn_cron_job(cron_job: Object) -> list[str]:
    spec = (cron_job["spec"].get("jobTemplate") or {}).get("spec") or {}
    return warn_name(cron_job) + warn_job_spec(spec, "spec.jobTemplate.spec") + warn_schedule(cron_job)


def warn_schedule(cron_job: Object) -> list[str]:
    """A time zone where it no longer belongs."""
    if "TZ" not in (cron_job["spec"].get("schedule") or ""):
        return []
    return [
        "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see"
        " https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
    ]


def warn_job_spec(spec: Object, path: str) -> list[str]:
    warnings: list[str] = []
    is_large = spec.get("completions", 0) > _MANY_COMPLETIONS and spec.get("parallelism", 0) > _MUCH_PARALLELISM
    if spec.get("completionMode") == "Indexed" and is_large:
        warnings.append(
            f"{path}: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4,"
            " Kubernetes might not be able to track completedIndexes when a big number of indexes fail"
        )
    return warnings + warn_template(spec.get("template"), f"{path}.template")


def warn_pod_template(template: Object) -> list[str]:
    return warn_template(template.get("template"), "template")


def warn_service(service: Object) -> list[str]:
    spec = service["spec"]
    kind, addresses = spec.get("type"), spec.get("externalIPs") or ()
    is_headless = kind == "ClusterIP" and spec.get("clusterIP") == "None"
    warnings: list[str] = []
    if _TOPOLOGY_HINTS in (service["metadata"].get("annotations") or {}):
        warnings.append(f"annotation {_TOPOLOGY_HINTS} is deprecated, please use {_TOPOLOGY_MODE} instead")
    if spec.get("clusterIP") not in (None, "", "None"):
        for index, address in enumerate(spec.get("clusterIPs") or ()):
            warnings += address_warnings(f"spec.clusterIPs[{index}]", address)
    if is_headless:
        ignored = {
            "loadBalancerIP": bool(spec.get("loadBalancerIP")),
            "externalIPs": bool(addresses),
            "SessionAffinity": spec.get("sessionAffinity") != "None",
        }
        warnings += [f"spec.{field} is ignored for headless services" for field, given in ignored.items() if given]
    for index, address in enumerate(addresses):
        warnings += address_warnings(f"spec.externalIPs[{index}]", address)
    if addresses and not is_headless and kind != "ExternalName":
        warnings.append("spec.externalIPs is deprecated and may no longer be implemented in some clusters")
    if spec.get("loadBalancerIP"):
        warnings += address_warnings("spec.loadBalancerIP", spec["loadBalancerIP"])
    for index, network in enumerate(spec.get("loadBalancerSourceRanges") or ()):
        warnings += network_warnings(f"spec.loadBalancerSourceRanges[{index}]", network)
    if kind == "ExternalName" and addresses:
        warnings.append('spec.externalIPs is ignored when spec.type is "ExternalName"')
    if kind != "ExternalName" and spec.get("externalName"):
        warnings.append('spec.externalName is ignored when spec.type is not "ExternalName"')
    if spec.get("trafficDistribution") == "PreferClose":
        warnings.append('spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"')
    return warnings


def warn_endpoints(endpoints: Object) -> list[str]:
    labels = endpoints["metadata"].get("labels") or {}
    if labels.get("endpoints.kubernetes.io/managed-by") in _CONTROLLERS:
        return []
    warnings: list[str] = []
    for index, subset in enumerate(items(endpoints, "subsets")):
        for field in ("addresses", "notReadyAddresses"):
            for position, address in enumerate(items(subset, field)):
                at = f"subsets[{index}].{field}[{position}].ip"
                warnings += address_warnings(at, address.get("ip") or "")
    return warnings


def warn_slice(endpoint_slice: Object) -> list[str]:
    warnings: list[str] = []
    if endpoint_slice.get("addressType") == "FQDN":
        warnings.append("spec.addressType: FQDN endpoints are deprecated")
    labels = endpoint_slice["metadata"].get("labels") or {}
    if labels.get("endpointslice.kubernetes.io/managed-by") in _CONTROLLERS:
        return warnings
    for index, endpoint in enumerate(items(endpoint_slice, "endpoints")):
        for position, address in enumerate(endpoint.get("addresses") or ()):
            warnings += address_warnings(f"endpoints[{index}].addresses[{position}]", address)
    return warnings


def warn_ingress(ingress: Object) -> list[str]:
    annotations = ingress["metadata"].get("annotations") or {}
    if _INGRESS_CLASS not in annotations:
        return []
    return [f"annotation {quoted(_INGRESS_CLASS)} is deprecated, please use 'spec.ingressClassName' instead"]


def warn_network_policy(policy: Object) -> list[str]:
    warnings: list[str] = []
    for direction, end in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(items(policy.get("spec"), direction)):
            for position, peer in enumerate(items(rule, end)):
                block, at = peer.get("ipBlock"), f"spec.{direction}[{index}].{end}[{position}].ipBlock"
                if block is not None:
                    warnings += network_warnings(f"{at}.cidr", block.get("cidr") or "")
                    for place, network in enumerate(block.get("except") or ()):
                        warnings += network_warnings(f"{at}.except[{place}]", network)
    return warnings


def warn_node(node: Object) -> list[str]:
    spec = node.get("spec") or {}
    warnings: list[str] = []
    if spec.get("configSource") is not None:
        warnings.append("spec.configSource: the feature is removed")
    if spec.get("externalID"):
        warnings.append("spec.externalID: this field is deprecated, and is unused by Kubernetes")
    for index, network in enumerate(spec.get("podCIDRs") or ()):
        warnings += network_warnings(f"spec.podCIDRs[{index}]", network)
    return warnings


def warn_volume(volume: Object) -> list[str]:
    spec, annotations = volume["spec"], volume["metadata"].get("annotations") or {}
    warnings: list[str] = []
    if _STORAGE_CLASS in annotations:
        warnings.append(f"metadata.annotations[{_STORAGE_CLASS}]: {_USE_CLASS_NAME}")
    if _MOUNT_OPTIONS in annotations:
        message = 'deprecated since v1.31; use "mountOptions" attribute instead'
        warnings.append(f"metadata.annotations[{_MOUNT_OPTIONS}]: {message}")
    if spec.get("persistentVolumeReclaimPolicy") == "Recycle":
        warnings.append(
            "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended"
            " approach is to use dynamic provisioning."
        )
    terms = items((spec.get("nodeAffinity") or {}).get("required"), "nodeSelectorTerms")
    for index, term in enumerate(terms):
        warnings += nodelabels.of_term(term, f"spec.nodeAffinity.required.nodeSelectorTerms[{index}]")
    return warnings + [
        f"spec.{name}: {message}" for field, (name, message) in _VOLUMES.items() if spec.get(field) is not None
    ]


def warn_claim(claim: Object) -> list[str]:
    warnings: list[str] = []
    if _STORAGE_CLASS in (claim["metadata"].get("annotations") or {}):
        warnings.append(f"metadata.annotations[{_STORAGE_CLASS}]: {_USE_CLASS_NAME}")
    return warnings + warn_claim_spec(claim["spec"], "spec")


def warn_storage_class(storage_class: Object) -> list[str]:
    return nodelabels.of_topologies(items(storage_class, "allowedTopologies"), "allowedTopologies")


def warn_capacity(capacity: Object) -> list[str]:
    return nodelabels.of_selector(capacity.get("nodeTopology"), "nodeTopology")


def warn_csi_driver(driver: Object) -> list[str]:
    spec = driver["spec"]
    if not spec.get("tokenRequests") or spec.get("serviceAccountTokenInSecrets") is not None:
        return []
    return [
        "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent possible"
        " logging of tokens in volume attributes"
    ]


def warn_runtime_class(runtime_class: Object) -> list[str]:
    selector = (runtime_class.get("scheduling") or {}).get("nodeSelector")
    found = nodelabels.of_labels(selector, "")
    return [f"scheduling.nodeSelector: {text.partition(': ')[2]}" for text in found]


def warn_device_slice(device_slice: Object) -> list[str]:
    driver = device_slice["spec"].get("driver") or ""
    if driver == driver.lower():
        return []
    return [f"spec.driver: driver names should be lowercase; {quoted(driver)} contains uppercase characters"]


def warn_service_account(account: Object) -> list[str]:
    if _MOUNTABLE_SECRETS not in (account["metadata"].get("annotations") or {}):
        return []
    message = "deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"
    return [f"metadata.annotations[{_MOUNTABLE_SECRETS}]: {message}"]


def warn_quota(quota: Object) -> list[str]:
    hard = (quota.get("spec") or {}).get("hard") or {}
    warnings: list[str] = []
    for name in ("cpu", "memory", "storage", "ephemeral-storage"):
        request, limit = f"requests.{name}", f"limits.{name}"
        if request not in hard and name in ("cpu", "memory"):
            request = name
        if request in hard and limit in hard and quantity.parse(hard[request]) > quantity.parse(hard[limit]):
            warnings.append(f"ResourceQuota {request} ({hard[request]}) should be less than {limit} ({hard[limit]})")
    return warnings


def warn_secret(secret: Object) -> list[str]:
    """A certificate that its key does not fit."""
    if secret.get("type") != "kubernetes.io/tls":
        return []
    data = secret.get("data") or {}
    certificate, key = (base64.b64decode(data.get(name) or "") for name in ("tls.crt", "tls.key"))
    for text, what in ((certificate, "certificate"), (key, "key")):
        if b"-----BEGIN " not in text:
            return [f"tls: failed to find any PEM data in {what} input"]
    return _warn_pair(certificate, key)


def _warn_pair(certificate: bytes, key: bytes) -> list[str]:
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    try:
        public = x509.load_pem_x509_certificate(certificate).public_key()
        private = serialization.load_pem_private_key(key, None).public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        return [f"tls: {error}"]
    if type(public) is not type(private):
        return ["tls: private key type does not match public key type"]
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if public.public_bytes(*form) != private.public_bytes(*form):
        return ["tls: private key does not match public key"]
    return []

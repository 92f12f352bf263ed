"""PodSecurity: pods are held to the standard that the labels of their namespace ask for.

Pods are refused; what makes pods (Deployments, Jobs) is only warned of, since its pods will be refused. When a
namespace becomes stricter, the warnings say which of its pods would no longer be let in.

Source: documentation "Pod Security Admission".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cybernetes.core.admission.contract import Attributes, Reader
from cybernetes.core.admission.podsecurity.checks import LEVELS, PRIVILEGED, Finding, findings
from cybernetes.core.admission.podsecurity.policy import PREFIX, Policy, Standard, policy_of
from cybernetes.core.api.fielderror import FieldError, as_api_error
from cybernetes.core.errors import forbidden, internal, quoted
from cybernetes.core.objects import NAMESPACES, PODS, Object

__all__ = ["PodSecurity"]

_IGNORED = frozenset({"exec", "attach", "binding", "eviction", "log", "portforward", "proxy", "status"})
#: How many pods of a namespace are looked at when it becomes stricter.
_PODS_MAX = 3000
_TEMPLATE = ("spec", "template")
#: Where the pods that a resource makes are described.
_TEMPLATES: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("", "replicationcontrollers"): _TEMPLATE,
    ("", "podtemplates"): ("template",),
    ("apps", "replicasets"): _TEMPLATE,
    ("apps", "deployments"): _TEMPLATE,
    ("apps", "statefulsets"): _TEMPLATE,
    ("apps", "daemonsets"): _TEMPLATE,
    ("batch", "jobs"): _TEMPLATE,
    ("batch", "cronjobs"): ("spec", "jobTemplate", *_TEMPLATE),
}


class PodSecurity:
    """Judges by the labels of the namespace; see the module."""

    name = "PodSecurity"

    def validate(self, attributes: Attributes, cluster: Reader) -> None:
        """Adds warnings and annotations. Raises ApiError 403 for a pod, 422 for the labels of a namespace."""
        if attributes.operation not in ("CREATE", "UPDATE") or attributes.obj is None:
            return
        gvr = attributes.resource.gvr
        if (gvr.group, gvr.resource) == (PODS.group, PODS.resource):
            if attributes.subresource not in _IGNORED:
                self._pod(attributes, cluster)
        elif attributes.subresource:
            return
        elif attributes.is_for(NAMESPACES):
            self._namespace(attributes, cluster)
        elif (gvr.group, gvr.resource) in _TEMPLATES:
            self._template(attributes, cluster, _TEMPLATES[gvr.group, gvr.resource])

    def _pod(self, attributes: Attributes, cluster: Reader) -> None:
        namespace = cluster.get(NAMESPACES, "", attributes.namespace)
        if namespace is None:
            raise internal(f"failed to lookup namespace {quoted(attributes.namespace)}")
        policy, errors = policy_of(namespace["metadata"].get("labels"))
        pod = attributes.obj
        assert pod is not None
        if not errors and all(standard.level == PRIVILEGED for standard in policy):
            attributes.annotations[f"{PREFIX}enforce-policy"] = str(Standard())
        elif attributes.operation == "CREATE" or attributes.old is None or _is_significant(pod, attributes.old):
            _evaluate(attributes, policy, errors, pod, is_pod=True)

    def _template(self, attributes: Attributes, cluster: Reader, path: tuple[str, ...]) -> None:
        namespace = cluster.get(NAMESPACES, "", attributes.namespace)
        policy, errors = policy_of(namespace["metadata"].get("labels") if namespace is not None else None)
        if not errors and policy.warn.level == policy.audit.level == PRIVILEGED:
            return
        template: Any = attributes.obj
        for key in path:
            template = (template or {}).get(key)
        if template is not None:
            _evaluate(attributes, policy, errors, template, is_pod=False)

    def _namespace(self, attributes: Attributes, cluster: Reader) -> None:
        namespace = attributes.obj
        assert namespace is not None
        new, errors = policy_of(namespace["metadata"].get("labels"))
        old = Policy()
        old_errors: list[FieldError] = []
        if attributes.old is not None:
            old, old_errors = policy_of(attributes.old["metadata"].get("labels"))
        if errors and errors != old_errors:
            raise as_api_error("", "Namespace", attributes.name, errors)
        if attributes.operation == "CREATE" or new.enforce == old.enforce or new.enforce.level == PRIVILEGED:
            return
        if new.enforce.minor != old.enforce.minor or LEVELS.index(new.enforce.level) > LEVELS.index(old.enforce.level):
            attributes.warnings += _existing(attributes.name, new.enforce, cluster.list(PODS, attributes.name))


def _evaluate(attributes: Attributes, policy: Policy, errors: list[FieldError], pod: Object, *, is_pod: bool) -> None:
    known: dict[Standard, list[Finding]] = {}

    def found(standard: Standard) -> list[Finding]:
        if standard not in known:
            known[standard] = findings(*standard, pod.get("metadata") or {}, pod.get("spec") or {})
        return known[standard]

    annotations = attributes.annotations
    if errors:
        texts = [f"{error.path}: {error.message}" for error in errors]
        together = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
        annotations[f"{PREFIX}error"] = f"Failed to parse policy: {together}"
    if found(policy.audit):
        annotations[f"{PREFIX}audit-violations"] = _would_violate(policy.audit, found(policy.audit))
    if is_pod:
        annotations[f"{PREFIX}enforce-policy"] = str(policy.enforce)
        if found(policy.enforce):
            gvr = attributes.resource.gvr
            text = f"violates PodSecurity {quoted(str(policy.enforce))}: {_details(found(policy.enforce))}"
            raise forbidden(gvr.group, gvr.resource, attributes.name, text)
    if found(policy.warn):
        attributes.warnings.append(_would_violate(policy.warn, found(policy.warn)))


def _would_violate(standard: Standard, found: list[Finding]) -> str:
    return f"would violate PodSecurity {quoted(str(standard))}: {_details(found)}"


def _details(found: list[Finding]) -> str:
    return ", ".join(f"{each.reason} ({each.detail})" for each in found)


def _existing(namespace: str, standard: Standard, pods: Iterable[Object]) -> list[str]:
    """Which pods a stricter namespace would not let in again; of the pods of one owner, first one."""
    first: list[Object] = []
    more: list[Object] = []
    seen: set[str] = set()
    for pod in pods:
        owners = pod["metadata"].get("ownerReferences") or ()
        owner = next((each["uid"] for each in owners if each.get("controller")), "")
        (more if owner in seen else first).append(pod)
        if owner:
            seen.add(owner)
    everything = first + more
    names: dict[str, list[str]] = {}
    for pod in everything[:_PODS_MAX]:
        found = findings(*standard, pod["metadata"], pod.get("spec") or {})
        if found:
            names.setdefault(", ".join(each.reason for each in found), []).append(pod["metadata"]["name"])
    warnings = []
    if len(everything) > _PODS_MAX:
        checked = f"the first {_PODS_MAX} of {len(everything)} existing pods"
        warnings.append(f"new PodSecurity enforce level only checked against {checked}")
    if names:
        level = quoted(str(standard))
        warnings.append(
            f"existing pods in namespace {quoted(namespace)} violate the new PodSecurity enforce level {level}"
        )
    return warnings + sorted(f"{_some(each)}: {reasons}" for reasons, each in names.items())


def _some(names: list[str]) -> str:
    others = len(names) - 1
    if not others:
        return names[0]
    return f"{min(names)} (and {others} other {'pod' if others == 1 else 'pods'})"


def _is_significant(pod: Object, old: Object) -> bool:
    """Whether an update can matter: containers and their images. Others of what is checked cannot be changed."""
    spec, old_spec = pod.get("spec") or {}, old.get("spec") or {}
    for part in ("containers", "initContainers"):
        images = [container.get("image") for container in spec.get(part) or ()]
        if images != [container.get("image") for container in old_spec.get(part) or ()]:
            return True
    debugged = {each.get("name"): each.get("image") for each in old_spec.get("ephemeralContainers") or ()}
    return any(
        each.get("name") not in debugged or debugged[each.get("name")] != each.get("image")
        for each in spec.get("ephemeralContainers") or ()
    )

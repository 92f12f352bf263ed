"""Admission policies and bindings for tests, and what they are tried on."""

from __future__ import annotations

from typing import Any

from cybernetes.core.objects import Object

ADMISSION = "/apis/admissionregistration.k8s.io/v1"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


def rule(resources: list[str], operations: list[str] | None = None, group: str = "", **fields: Any) -> Object:
    return {
        "operations": operations or ["CREATE", "UPDATE"],
        "apiGroups": [group],
        "apiVersions": ["v1"],
        "resources": resources,
        **fields,
    }


def policy(name: str, *validations: Object, rules: list[Object] | None = None, **spec: Any) -> Object:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"resourceRules": rules or [rule(["configmaps"])]},
            "validations": list(validations),
            **spec,
        },
    }


def binding(name: str, policy_name: str, actions: list[str] | None = None, **spec: Any) -> Object:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": policy_name, "validationActions": actions or ["Deny"], **spec},
    }


async def bind(cluster: Any, made: Object, *bindings: Object) -> None:
    kind = "mutating" if made["kind"].startswith("Mutating") else "validating"
    answer = await cluster.post(f"{ADMISSION}/{kind}admissionpolicies", made)
    assert answer.code == 201, answer.body
    for each in bindings or (binding("b", made["metadata"]["name"]),):
        answer = await cluster.post(f"{ADMISSION}/{kind}admissionpolicybindings", each)
        assert answer.code == 201, answer.body


def deployment(name: str, replicas: int = 1) -> Object:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    selector = {"matchLabels": {"a": "b"}}
    return {"metadata": {"name": name}, "spec": {"replicas": replicas, "selector": selector, "template": template}}


def mutating(name: str, *mutations: Object, rules: list[Object] | None = None, **spec: Any) -> Object:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"resourceRules": rules or [rule(["deployments"], group="apps")]},
            "reinvocationPolicy": "Never",
            "mutations": list(mutations),
            **spec,
        },
    }


def mutating_binding(name: str, policy_name: str, **spec: Any) -> Object:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": policy_name, **spec},
    }


def applying(expression: str) -> Object:
    return {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}


def patching(expression: str) -> Object:
    return {"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}

"""Mutating admission policies on a real server: apply configurations, JSON patches, and what cannot be made of them."""

from __future__ import annotations

from typing import Any

import pytest
from definitions import GROUP, definition, fields, of_spec, serve, version
from policyobjects import DEPLOYMENTS, applying, bind, deployment, mutating, mutating_binding, patching, rule

from cybernetes.core.objects import Object


async def test_an_apply_configuration(cluster: Any) -> None:
    expression = """
        Object{
          metadata: Object.metadata{annotations: {'team': variables.team}},
          spec: Object.spec{
            template: Object.spec.template{
              spec: Object.spec.template.spec{
                containers: [Object.spec.template.spec.containers{name: 'c', imagePullPolicy: 'Always'}]
              }
            }
          }
        }"""
    made = mutating(
        "p", applying(expression), variables=[{"name": "team", "expression": "'x-' + object.metadata.name"}]
    )
    await bind(cluster, made, mutating_binding("b", "p"))
    created = await cluster.post(DEPLOYMENTS, deployment("a"))
    assert created.code == 201, created.body
    assert created.json()["metadata"]["annotations"]["team"] == "x-a"
    (container,) = created.json()["spec"]["template"]["spec"]["containers"]
    assert (container["image"], container["imagePullPolicy"]) == ("i", "Always")


async def test_a_json_patch(cluster: Any) -> None:
    expression = """[
        JSONPatch{op: 'test', path: '/spec/replicas', value: 1},
        JSONPatch{op: 'replace', path: '/spec/replicas', value: object.spec.replicas + 4},
        JSONPatch{op: 'add', path: '/metadata/labels', value: {'example.com/a': 'yes'}},
        JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('example.com/x'), value: 'y'},
        JSONPatch{op: 'add', path: '/spec/template/spec/containers/-',
                  value: Object.spec.template.spec.containers{name: 'side', image: 'side'}}
    ]"""
    await bind(cluster, mutating("p", patching(expression)), mutating_binding("b", "p"))
    answer = await cluster.post(DEPLOYMENTS, deployment("a"))
    assert answer.code == 201, answer.body
    made = answer.json()
    assert made["spec"]["replicas"] == 5
    assert made["metadata"]["labels"] == {"example.com/a": "yes", "example.com/x": "y"}
    assert made["spec"]["template"]["spec"]["containers"][1]["terminationMessagePolicy"] == "File"
    untouched = (await cluster.post(DEPLOYMENTS, deployment("b", 2))).json()
    assert untouched["spec"]["replicas"] == 2  # the test fails: not this object


@pytest.mark.parametrize(
    ("mutation", "why"),
    [
        (
            applying("Object{spec: Object.spec{selector: Object.spec.selector{matchLabels: {'x': 'y'}}}}"),
            "error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: "
            ".spec.selector",
        ),
        (applying("Object{spec: Object.spec{none: 1}}"), "error applying patch: failed to convert patch object"),
        (
            applying("Object{spec: Object.wrong{replicas: 1}}"),
            'unexpected type name "Object.wrong", expected "Object.spec"',
        ),
        (
            patching("[JSONPatch{op: 'remove', path: '/spec/none'}]"),
            "JSON Patch: error in remove for path: '/spec/none': Unable to remove nonexistent key: none: missing value",
        ),
    ],
)
async def test_mutations_that_cannot_be_made(cluster: Any, mutation: Object, why: str) -> None:
    await bind(cluster, mutating("p", mutation), mutating_binding("b", "p"))
    answer = await cluster.post(DEPLOYMENTS, deployment("a"))
    body = answer.json()
    assert (answer.code, body["reason"]) == (403, "Invalid")
    assert body["message"].startswith("policy 'p' with binding 'b' denied request: ") and why in body["message"]


@pytest.mark.parametrize(("again", "seen"), [("Never", "1"), ("IfNeeded", "2")])
async def test_policies_are_asked_again(cluster: Any, again: str, seen: str) -> None:
    count = "has(object.metadata.annotations) && 'n' in object.metadata.annotations ? '2' : '1'"
    one = mutating("a", applying(f"Object{{metadata: Object.metadata{{annotations: {{'n': {count}}}}}}}"))
    one["spec"]["reinvocationPolicy"] = again
    two = mutating("b", applying("Object{metadata: Object.metadata{labels: {'later': 'yes'}}}"))
    await bind(cluster, one, mutating_binding("a", "a"))
    await bind(cluster, two, mutating_binding("b", "b"))
    answer = await cluster.post(DEPLOYMENTS, deployment("a"))
    assert answer.code == 201, answer.body
    made = answer.json()
    assert made["metadata"]["annotations"]["n"] == seen


async def test_custom_resources_are_changed(cluster: Any) -> None:
    schema = of_spec(fields(count={"type": "integer"}, tags={"type": "array", "items": {"type": "string"}}))
    await serve(cluster, definition("tabs", "Tab", version(schema=schema)))
    made = mutating(
        "p", applying("Object{spec: Object.spec{count: object.spec.count + 1}}"), rules=[rule(["tabs"], group=GROUP)]
    )
    await bind(cluster, made, mutating_binding("b", "p"))
    tab = {"apiVersion": f"{GROUP}/v1", "kind": "Tab", "metadata": {"name": "a"}, "spec": {"count": 1}}
    created = await cluster.post(f"/apis/{GROUP}/v1/namespaces/default/tabs", tab)
    assert created.json()["spec"] == {"count": 2}, created.body


async def test_a_patch_may_not_add_unknown_fields(cluster: Any) -> None:
    unknown = patching("[JSONPatch{op: 'add', path: '/spec/foo', value: 1}]")
    await bind(cluster, mutating("p", unknown), mutating_binding("b", "p"))
    answer = await cluster.post(DEPLOYMENTS, deployment("a"))
    assert answer.code == 500
    assert answer.json()["message"] == 'Internal error occurred: strict decoding error: unknown field "spec.foo"'

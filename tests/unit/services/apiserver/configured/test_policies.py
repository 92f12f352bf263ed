"""Validating admission policies on a real server: bindings, parameters, messages, actions, type checks."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from definitions import GROUP, definition, fields, of_spec, serve, version
from policyobjects import ADMISSION, DEPLOYMENTS, bind, binding, deployment, policy, rule

from cybernetes.core.objects import Object

MAPS = "/api/v1/namespaces/default/configmaps"


async def test_a_denial(cluster: Any, make_config_map: Any) -> None:
    made = policy("p", {"expression": "object.metadata.name != 'bad'"})
    await bind(cluster, made)
    assert (await cluster.post(MAPS, make_config_map("good"))).code == 201
    answer = await cluster.post(MAPS, make_config_map("bad"))
    body = answer.json()
    failed = "failed expression: object.metadata.name != 'bad'"
    why = f"ValidatingAdmissionPolicy 'p' with binding 'b' denied request: {failed}"
    assert (answer.code, body["reason"]) == (422, "Invalid")
    assert body["message"] == f'configmaps "bad" is forbidden: {why}'
    assert body["details"]["causes"] == [{"message": why}]


async def test_without_a_binding_nothing_is_judged(cluster: Any, make_config_map: Any) -> None:
    await cluster.post(f"{ADMISSION}/validatingadmissionpolicies", policy("p", {"expression": "false"}))
    assert (await cluster.post(MAPS, make_config_map("a"))).code == 201


@pytest.mark.parametrize(
    ("validation", "code", "message"),
    [
        ({"message": "not so"}, 422, "not so"),
        ({"messageExpression": "'it is ' + object.metadata.name"}, 422, "it is a"),
        ({"messageExpression": "string(object.none)", "message": "not so"}, 422, "not so"),
        ({"messageExpression": "'a\\nb'", "message": "not so"}, 422, "not so"),
        ({"messageExpression": "'  '"}, 422, "failed expression: false"),
        ({"reason": "Forbidden", "message": "no"}, 403, "no"),
        ({"reason": "RequestEntityTooLarge", "message": "no"}, 413, "no"),
    ],
)
async def test_messages_and_reasons(
    cluster: Any, make_config_map: Any, validation: Object, code: int, message: str
) -> None:
    await bind(cluster, policy("p", {"expression": "false", **validation}))
    answer = await cluster.post(MAPS, make_config_map("a"))
    assert answer.code == code
    assert answer.json()["message"].endswith(f"denied request: {message}")


async def test_warnings_and_audit(cluster: Any, make_config_map: Any) -> None:
    made = policy("p", {"expression": "false", "message": "not so"})
    await bind(cluster, made, binding("b", "p", ["Warn", "Audit"]))
    answer = await cluster.post(MAPS, make_config_map("a"))
    assert answer.code == 201
    assert "Validation failed for ValidatingAdmissionPolicy 'p' with binding 'b': not so" in answer.headers["Warning"]


@pytest.mark.parametrize("policy_kind", ["Fail", "Ignore"])
async def test_what_cannot_be_evaluated(cluster: Any, make_config_map: Any, policy_kind: str) -> None:
    await bind(cluster, policy("p", {"expression": "object.data.none == 'x'"}, failurePolicy=policy_kind))
    answer = await cluster.post(MAPS, make_config_map("a"))
    if policy_kind == "Ignore":
        assert answer.code == 201
    else:
        assert answer.json()["message"].endswith(
            "denied request: expression 'object.data.none == 'x'' resulted in error: no such key: none"
        )


async def test_variables(cluster: Any, make_config_map: Any) -> None:
    made = policy(
        "p",
        {"expression": "variables.long.size() < 3 || variables.broken == 1", "messageExpression": "variables.shown"},
        variables=[
            {"name": "keys", "expression": "has(object.data) ? object.data.map(key, key) : []"},
            {"name": "long", "expression": "variables.keys.filter(key, key.size() > 2)"},
            {"name": "shown", "expression": "'long: ' + variables.long.join(',')"},
            {"name": "broken", "expression": "object.none"},
        ],
    )
    await bind(cluster, made)
    assert (await cluster.post(MAPS, make_config_map("a"))).code == 201
    long = {**make_config_map("b"), "data": {"aaa": "1", "bbb": "1", "ccc": "1"}}
    answer = await cluster.post(MAPS, long)
    assert 'composited variable "broken" fails to evaluate: no such key: none' in answer.json()["message"]


async def test_parameters_by_name(cluster: Any) -> None:
    made = policy(
        "p",
        {
            "expression": "object.spec.replicas <= int(params.data.max)",
            "messageExpression": "'at most ' + params.data.max",
        },
        rules=[rule(["deployments"], group="apps")],
        paramKind={"apiVersion": "v1", "kind": "ConfigMap"},
    )
    reference = {"name": "limits", "namespace": "default", "parameterNotFoundAction": "Deny"}
    await bind(cluster, made, binding("b", "p", paramRef=reference))
    refused = await cluster.post(DEPLOYMENTS, deployment("a"))
    assert refused.json()["message"].endswith(
        "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"
    )
    await cluster.post(MAPS, {"metadata": {"name": "limits"}, "data": {"max": "3"}})
    assert (await cluster.post(DEPLOYMENTS, deployment("a", 3))).code == 201
    refused = await cluster.post(DEPLOYMENTS, deployment("b", 4))
    assert refused.code == 422 and refused.json()["message"].endswith("at most 3")


async def test_parameters_by_selector_in_the_namespace_of_the_object(cluster: Any) -> None:
    limits = definition("limits", "Limit", version(schema=of_spec(fields(max={"type": "integer"}))))
    await serve(cluster, limits)
    made = policy(
        "p",
        {"expression": "params == null || object.spec.replicas <= params.spec.max"},
        rules=[rule(["deployments"], group="apps")],
        paramKind={"apiVersion": f"{GROUP}/v1", "kind": "Limit"},
    )
    reference = {"selector": {"matchLabels": {"use": "yes"}}, "parameterNotFoundAction": "Allow"}
    await bind(cluster, made, binding("b", "p", paramRef=reference))
    assert (await cluster.post(DEPLOYMENTS, deployment("a", 9))).code == 201  # nothing is selected
    for name, most in (("one", 5), ("two", 3)):
        limit = {
            "apiVersion": f"{GROUP}/v1", "kind": "Limit", "spec": {"max": most},
            "metadata": {"name": name, "labels": {"use": "yes"}},
        }  # fmt: skip
        assert (await cluster.post(f"/apis/{GROUP}/v1/namespaces/default/limits", limit)).code == 201
    assert (await cluster.post(DEPLOYMENTS, deployment("b", 3))).code == 201
    assert (await cluster.post(DEPLOYMENTS, deployment("c", 4))).code == 422


async def test_a_kind_of_parameters_that_is_not_served(cluster: Any, make_config_map: Any) -> None:
    made = policy("p", {"expression": "true"}, paramKind={"apiVersion": "none.com/v1", "kind": "None"})
    await bind(cluster, made, binding("b", "p", paramRef={"name": "x", "parameterNotFoundAction": "Deny"}))
    answer = await cluster.post(MAPS, make_config_map("a"))
    assert "failed to find resource referenced by paramKind: 'none.com/v1, Kind=None'" in answer.json()["message"]


async def test_bindings_select_what_the_policy_matches(cluster: Any, make_config_map: Any) -> None:
    resources = {
        "namespaceSelector": {"matchLabels": {"guarded": "yes"}},
        "objectSelector": {"matchExpressions": [{"key": "free", "operator": "DoesNotExist"}]},
        "excludeResourceRules": [{**rule(["configmaps"]), "resourceNames": ["exempt"]}],
    }
    await bind(cluster, policy("p", {"expression": "false"}), binding("b", "p", matchResources=resources))
    assert (await cluster.post(MAPS, make_config_map("a"))).code == 201
    await cluster.patch("/api/v1/namespaces/default", {"metadata": {"labels": {"guarded": "yes"}}})
    assert (await cluster.post(MAPS, make_config_map("b"))).code == 422
    free = make_config_map("c")
    free["metadata"]["labels"] = {"free": "yes"}
    assert (await cluster.post(MAPS, free)).code == 201
    assert (await cluster.post(MAPS, make_config_map("exempt"))).code == 201


async def test_the_request_the_namespace_and_the_authorizer(cluster: Any, make_config_map: Any) -> None:
    expressions = [
        "request.userInfo.username == 'admin' && request.operation in ['CREATE', 'DELETE']",
        "namespaceObject.metadata.name == 'default'",
        "authorizer.group('').resource('configmaps').namespace('default').check('create').allowed()",
        "!authorizer.serviceAccount('default', 'default').group('').resource('pods').check('get').allowed()",
        "authorizer.requestResource.check('delete').allowed()",
        "request.operation == 'DELETE' ? object == null && oldObject != null : oldObject == null",
        "request.resource.resource == 'configmaps' && !request.dryRun",
    ]
    made = policy("p", *({"expression": each} for each in expressions), rules=[rule(["configmaps"], ["*"])])
    await bind(cluster, made)
    created = await cluster.post(MAPS, make_config_map("a"))
    assert created.code == 201, created.body
    assert (await cluster.delete(f"{MAPS}/a")).code == 200


async def test_match_conditions(cluster: Any, make_config_map: Any) -> None:
    conditions = [{"name": "n", "expression": "object.metadata.name.startsWith(variables.prefix)"}]
    made = policy(
        "p",
        {"expression": "false"},
        matchConditions=conditions,
        variables=[{"name": "prefix", "expression": "'x'"}],
    )
    answer = await cluster.post(f"{ADMISSION}/validatingadmissionpolicies", made)
    if answer.code == 422:  # variables are not for conditions
        conditions[0]["expression"] = "object.metadata.name.startsWith('x')"
    else:
        await cluster.delete(f"{ADMISSION}/validatingadmissionpolicies/p")
    await bind(cluster, made)
    assert (await cluster.post(MAPS, make_config_map("a"))).code == 201
    assert (await cluster.post(MAPS, make_config_map("xa"))).code == 422


async def test_a_budget(cluster: Any, make_config_map: Any) -> None:
    ten = "[1,2,3,4,5,6,7,8,9,10]"
    deep = "true"
    for name in "abcdefg":
        deep = f"{ten}.all({name}, {deep})"
    await bind(cluster, policy("p", {"expression": deep}))
    answer = await cluster.post(MAPS, make_config_map("a"))
    assert answer.code == 422
    assert "cost" in answer.json()["message"]


async def test_expressions_are_compiled_when_the_policy_is_made(cluster: Any) -> None:
    answer = await cluster.post(
        f"{ADMISSION}/validatingadmissionpolicies",
        policy(
            "p",
            {"expression": "object.x ="},
            {"expression": "1"},
            {"expression": "params.x == 1"},
            {"expression": "true", "messageExpression": "1"},
            {"expression": "variables.none == 1"},
            auditAnnotations=[{"key": "k", "valueExpression": "true"}],
            variables=[{"name": "v", "expression": "nothing"}],
        ),
    )
    assert answer.code == 422
    fields_of = {cause["field"] for cause in answer.json()["details"]["causes"]}
    assert fields_of == {
        "spec.variables[0].expression",
        "spec.validations[0].expression",
        "spec.validations[1].expression",
        "spec.validations[2].expression",
        "spec.validations[3].messageExpression",
        "spec.validations[4].expression",
        "spec.auditAnnotations[0].valueExpression",
    }


async def checked(cluster: Any, name: str) -> Object:
    for _ in range(200):
        found: Object = (await cluster.get(f"{ADMISSION}/validatingadmissionpolicies/{name}")).json()
        status = found.get("status") or {}
        if status.get("observedGeneration") == found["metadata"]["generation"]:
            return status
        await asyncio.sleep(0.005)
    raise AssertionError(found)


async def test_types_are_checked(cluster: Any) -> None:
    made = policy(
        "p",
        {"expression": "object.spec.replicas > '1'"},
        {
            "expression": "object.spec.replica > 1",
            "messageExpression": "string(object.spec.template.spec.containers[0].nam)",
        },
        {"expression": "object.spec.replicas > 1"},
        rules=[rule(["deployments"], group="apps")],
    )
    await bind(cluster, made)
    status = await checked(cluster, "p")
    warnings = status["typeChecking"]["expressionWarnings"]
    assert [each["fieldRef"] for each in warnings] == [
        "spec.validations[0].expression",
        "spec.validations[1].expression",
        "spec.validations[1].messageExpression",
    ]
    assert warnings[0]["warning"].startswith(
        "apps/v1, Kind=Deployment: ERROR: <input>:1:22: found no matching overload"
    )
    assert "undefined field 'replica'" in warnings[1]["warning"]


async def test_types_of_custom_resources_are_checked(cluster: Any) -> None:
    await serve(cluster, definition("tabs", "Tab", version(schema=of_spec(fields(count={"type": "integer"})))))
    made = policy(
        "p",
        {"expression": "object.spec.count > 1 && object.metadata.name != ''"},
        {"expression": "object.spec.counts > 1"},
        rules=[rule(["tabs"], group=GROUP)],
    )
    await bind(cluster, made)
    status = await checked(cluster, "p")
    (warning,) = status["typeChecking"]["expressionWarnings"]
    assert warning["fieldRef"] == "spec.validations[1].expression"

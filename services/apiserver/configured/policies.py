"""Asks admission policies about a write: which are bound to it, with which parameters, and what becomes of it.

    mutating     in order; each sees what those before it made of the object
    validating   all of them; the first denial is the answer, warnings and audit annotations are of all

What cannot be evaluated denies unless the failure policy is Ignore.
(apiserver, admission/plugin/policy/{generic,validating,mutating})
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson

from cybernetes.core.admission.contract import Attributes, refused
from cybernetes.core.admission.policies.definitions import Binding, ParamError, ParamSource, Policy, params_of
from cybernetes.core.errors import ApiError, internal, service_unavailable
from cybernetes.core.objects import Gvk, Gvr, Object
from cybernetes.core.store.cached import Selection
from cybernetes.services.apiserver.configured.reinvocation import Reinvocation
from cybernetes.services.apiserver.configured.sources import Bound
from cybernetes.services.apiserver.configured.variables import Scope
from cybernetes.services.apiserver.configured.write import ConfiguredWrite
from cybernetes.services.apiserver.storage import Storage

_FAILURE_KEY = "validation.policy.admission.k8s.io/validation_failure"
_CODES = {"Forbidden": 403, "Unauthorized": 401, "RequestEntityTooLarge": 413, "Invalid": 422}


class Denied(NamedTuple):
    """``binding`` is empty where the policy itself cannot be used."""

    policy: str
    binding: str
    message: str
    reason: str = ""


class Invocation(NamedTuple):
    """A policy with one binding and one parameter, and as which resource it has matched."""

    policy: Any
    binding: Binding
    param: Object | None
    resource: Gvr

    @property
    def key(self) -> str:
        metadata = (self.param or {}).get("metadata") or {}
        return f"{self.policy.name}/{self.binding.name}/{metadata.get('namespace', '')}/{metadata.get('name', '')}"

    def variables(self, common: dict[str, Any]) -> dict[str, Any]:
        return {**common, "params": self.param} if self.policy.param_kind is not None else common


class Policies:
    """The policies of one server."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def validate(self, write: ConfiguredWrite, policies: tuple[Bound, ...], scope: Scope) -> None:
        """Raises ApiError of the first denial."""
        denied: list[Denied] = []
        attributes = write.attributes
        collected: dict[str, list[str]] = {}
        async for invocation in self._invocations(write, policies, denied):
            policy, binding = invocation.policy, invocation.binding
            resource = invocation.resource
            try:
                common = await scope.variables(resource, write.kind_of(resource), has_namespace=True)
            except ApiError as error:
                if error.code == 404:
                    raise
                why = f"failed to configure binding: failed to convert object version: {error.message}"
                _fail(denied, policy, binding.name, why)
                continue
            verdict = policy.judge(invocation.variables(common))
            for denial in verdict.denials:
                if "Deny" in binding.actions:
                    denied.append(Denied(policy.name, binding.name, denial.message, denial.reason))
                if "Audit" in binding.actions:
                    told = {
                        "message": denial.message,
                        "policy": policy.name,
                        "binding": binding.name,
                        "expressionIndex": denial.place,
                        "validationActions": list(binding.actions),
                    }
                    attributes.annotations[_FAILURE_KEY] = orjson.dumps([told]).decode()
                if "Warn" in binding.actions:
                    attributes.warnings.append(
                        f"Validation failed for ValidatingAdmissionPolicy '{policy.name}' with binding "
                        f"'{binding.name}': {denial.message}"
                    )
            denied += [Denied(policy.name, binding.name, error) for error in verdict.errors]
            for key, value in verdict.annotations:
                values = collected.setdefault(f"{policy.name}/{key}", [])
                if value not in values:
                    values.append(value)
        for key, values in collected.items():
            attributes.annotations[key] = ", ".join(values)
        if denied:
            raise _denial(attributes, denied[0])

    async def mutate(
        self, write: ConfiguredWrite, policies: tuple[Bound, ...], scope: Scope, state: Reinvocation
    ) -> None:
        """Raises ApiError of what cannot be done."""
        denied: list[Denied] = []
        attributes = write.attributes
        state.begin(attributes.obj)
        invocations = [each async for each in self._invocations(write, policies, denied)]
        for invocation in invocations:
            policy, resource = invocation.policy, invocation.resource
            kind = write.kind_of(resource)
            variables = invocation.variables(await scope.variables(resource, kind, has_namespace=True))
            matches, problem = policy.matches(variables)
            if problem:
                _fail(denied, policy, invocation.binding.name, problem, "Invalid")
            if not matches or state.skips(invocation.key):
                continue
            if await self._mutated(write, invocation, scope, denied):
                state.require()
                state.is_wanted = True
            if policy.is_reinvoked:
                state.add(invocation.key)
        state.end(attributes.obj)
        if denied:
            raise _mutation_denial(attributes, denied)

    async def _mutated(
        self, write: ConfiguredWrite, invocation: Invocation, scope: Scope, denied: list[Denied]
    ) -> bool:
        """Whether the mutations of one policy have changed the object."""
        from cybernetes.core.admission.policies.mutating import MutationError

        policy, resource = invocation.policy, invocation.resource
        kind = write.kind_of(resource)
        has_changed = False
        for mutation in policy.mutations:
            obj = await write.object(resource)
            if obj is None:
                continue
            variables = invocation.variables(await scope.variables(resource, kind, has_namespace=True))
            try:
                new = mutation.apply(obj, variables, self._merge_type(resource, kind))
            except MutationError as error:
                _fail(denied, policy, invocation.binding.name, str(error), "Invalid")
                continue
            has_changed = await write.put(new, resource, is_strict=mutation.is_patch) or has_changed
        return has_changed

    async def _invocations(self, write: ConfiguredWrite, policies: tuple[Bound, ...], denied: list[Denied]) -> Any:
        """What applies to the write. What cannot be told is put into ``denied``."""
        matched = write.matched()
        for policy, bindings in policies:
            try:
                resource = policy.matcher.match(matched)
            except ApiError as error:
                _fail(denied, policy, "", f"failed to configure policy: {error.message}")
                continue
            if resource is None:
                continue
            try:
                source = await self._params(policy)
            except ParamError as error:
                _fail(denied, policy, "", f"failed to configure policy: {error}")
                continue
            for binding in bindings:
                try:
                    if binding.matcher is not None and binding.matcher.match(matched) is None:
                        continue
                    params = params_of(policy.param_kind, binding.param_ref, source, write.request.namespace)
                except (ApiError, ParamError) as error:
                    _fail(denied, policy, binding.name, f"failed to configure binding: {error}")
                    continue
                for param in params:
                    yield Invocation(policy, binding, param, resource)

    async def _params(self, policy: Policy) -> ParamSource | None:
        """Where the policy's parameters are. Raises ParamError."""
        kind = policy.param_kind
        if kind is None:
            return None
        gvk = Gvk.of(kind)
        resource = self._storage.registry.by_kind(gvk)
        if resource is None:
            shown = f"{gvk.api_version}, Kind={gvk.kind}"
            raise ParamError(f"failed to find resource referenced by paramKind: '{shown}'")
        try:
            cache = await self._storage.ready(resource)
        except ApiError as error:
            raise ParamError(error.message) from None
        convert = resource.from_storage

        def shown_object(obj: Object) -> Object:
            return obj if convert is None else convert(orjson.loads(orjson.dumps(obj)))

        def get(namespace: str, name: str) -> Object | None:
            found = cache.get(namespace, name)
            return None if found is None else shown_object(found.object())

        def every(namespace: str) -> Iterator[Object]:
            for cached in cache.list(Selection(namespace)).records:
                yield shown_object(cached.object())

        return ParamSource(resource.is_namespaced, get, every)

    def _merge_type(self, resource: Gvr, kind: Gvk) -> Any:
        """How objects of a kind are merged. Raises ApiError 503."""
        from cybernetes.core.api import schema
        from cybernetes.core.api.apply.mergetypes import merge_type

        found = self._storage.registry.get(resource)
        if found is None:
            raise internal(f"{resource} is not served")
        if found.custom is not None and kind == found.gvk:
            return found.custom.merge_type
        known = schema.load()
        type_name = known.type_name_of(kind)
        if type_name is None:
            raise service_unavailable(
                f"Resource kind {kind.api_version}, Kind={kind.kind} not found. There can be a delay between when "
                "CustomResourceDefinitions are created and when they are available."
            )
        return merge_type(known.type(type_name))


def _fail(denied: list[Denied], policy: Policy, binding: str, message: str, reason: str = "") -> None:
    if not policy.fails_open:
        denied.append(Denied(policy.name, binding, message, reason))


def _denial(attributes: Attributes, first: Denied) -> ApiError:
    by = f" with binding '{first.binding}'" if first.binding else ""
    message = f"ValidatingAdmissionPolicy '{first.policy}'{by} denied request: {first.message}"
    error = refused(attributes, message)
    reason = first.reason or "Invalid"
    error.status["reason"] = reason
    error.status["code"] = _CODES.get(reason, 422)
    error.status.setdefault("details", {}).setdefault("causes", []).append({"message": message})
    return error


def _mutation_denial(attributes: Attributes, denied: list[Denied]) -> ApiError:
    messages = [
        f"policy '{each.policy}' with binding '{each.binding}' denied request: {each.message}"
        if each.binding
        else f'policy "{each.policy}" denied request: {each.message}'
        for each in denied
    ]
    error = refused(attributes, "admission request denied by policy")
    error.status["message"] = messages[0]
    if denied[0].reason:
        error.status["reason"] = denied[0].reason
    causes = error.status.setdefault("details", {}).setdefault("causes", [])
    causes += [{"message": message} for message in messages]
    return error

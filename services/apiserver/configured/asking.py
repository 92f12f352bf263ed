"""Asks admission webhooks about a write: all that concern it, those that may change it first and one after the other.

    changing   in order; each sees what those before it made of the object. When one has changed it, those that want
               it (reinvocation IfNeeded) are asked once more, after the plugins of the server have been, too
    judging    all at once; the first refusal decides

A webhook that cannot be asked, or answers nonsense, fails the write unless its failure policy is Ignore; one that
refuses, refuses. (apiserver, admission/plugin/webhook/{mutating,validating}/dispatcher.go)
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import orjson

from cybernetes.core.admission import patchproblems
from cybernetes.core.admission.webhooks import reviews
from cybernetes.core.admission.webhooks.hooks import Hook
from cybernetes.core.api.patch import apply_json_patch
from cybernetes.core.api.webhookanswers import UnreadableAnswer
from cybernetes.core.clock import Random
from cybernetes.core.errors import ApiError, forbidden, internal, quoted
from cybernetes.core.objects import Gvr, clone
from cybernetes.services.apiserver.configured.reinvocation import Reinvocation
from cybernetes.services.apiserver.configured.variables import Scope
from cybernetes.services.apiserver.configured.write import ConfiguredWrite
from cybernetes.services.apiserver.webhookclient import WebhookClient, WebhookError

log = logging.getLogger(__name__)

_FAILED_OPEN = "failed-open."
_MUTATION = "mutation.webhook.admission.k8s.io/"
_PATCH = "patch.webhook.admission.k8s.io/"
_VALIDATING = "validating.webhook.admission.k8s.io/"


class Failed(Exception):
    """A webhook could not be asked or answered nonsense: what its failure policy is about."""


class Invocation(NamedTuple):
    hook: Hook
    resource: Gvr


class Asking:
    """How the webhooks of one server are asked."""

    def __init__(self, client: WebhookClient, random: Random) -> None:
        self._client = client
        self._random = random

    async def mutate(self, write: ConfiguredWrite, hooks: Sequence[Hook], scope: Scope, state: Reinvocation) -> None:
        """Ask those that may change the object. Raises ApiError."""
        attributes = write.attributes
        state.begin(attributes.obj)
        for index, hook in enumerate(hooks):
            invocation = await self._invocation(write, hook, scope)
            if invocation is None or state.skips(hook.uid):
                continue
            suffix = f"round_{state.round}_index_{index}"
            has_changed = False
            try:
                has_changed = await self._change(write, invocation, suffix)
            except Failed as error:
                if not hook.fails_open:
                    raise internal(str(error)) from error
                log.warning("failed calling webhook, failing open: %s", error)
                attributes.annotations[f"{_FAILED_OPEN}{_MUTATION}{suffix}"] = hook.name
            finally:
                told = {"configuration": hook.configuration, "webhook": hook.name, "mutated": has_changed}
                attributes.annotations[_MUTATION + suffix] = orjson.dumps(told).decode()
            if has_changed:
                state.require()
                state.is_wanted = True
            if hook.is_reinvoked:
                state.add(hook.uid)
        state.end(attributes.obj)

    async def validate(self, write: ConfiguredWrite, hooks: Sequence[Hook], scope: Scope) -> None:
        """Ask those that judge. Raises ApiError."""
        found = [each for hook in hooks if (each := await self._invocation(write, hook, scope)) is not None]
        for each in found:  # converted one after the other, so that none is converted twice
            await write.object(each.resource)
            await write.old(each.resource)
        refusals: list[ApiError] = []

        async def ask(index: int, invocation: Invocation) -> None:
            try:
                await self._judge(write, invocation, index)
            except ApiError as error:
                refusals.append(error)

        if len(found) == 1:
            await self._judge(write, found[0], 0)
        elif found:
            await asyncio.gather(*(ask(index, each) for index, each in enumerate(found)))
        if refusals:
            raise refusals[0]

    async def _invocation(self, write: ConfiguredWrite, hook: Hook, scope: Scope) -> Invocation | None:
        """Whether, and as what, a hook is asked. Raises ApiError 403 for conditions that cannot be evaluated."""
        resource = hook.matcher.match(write.matched())
        if resource is None:
            return None
        if hook.conditions:
            matched = hook.conditions.match(await scope.variables(resource, write.kind_of(resource)))
            if matched.error:
                gvr = write.request.resource
                raise forbidden(gvr.group, gvr.resource, write.request.name, matched.error)
            if not matched.matches:
                return None
        return Invocation(hook, resource)

    async def _change(self, write: ConfiguredWrite, invocation: Invocation, suffix: str) -> bool:
        hook, resource = invocation
        answer = await self._ask(write, invocation)
        if not answer.patch:
            return False
        obj = await write.object(resource)
        if obj is None:
            raise internal(
                f"admission webhook {quoted(hook.name)} attempted to modify the object, which is not supported for "
                "this operation"
            )
        try:
            new = apply_json_patch(clone(obj), answer.patch)
        except ApiError as error:
            raise internal(patchproblems.explain(obj, answer.patch)) from error
        told = {
            "configuration": hook.configuration,
            "webhook": hook.name,
            "patch": answer.patch,
            "patchType": "JSONPatch",
        }
        write.attributes.request_annotations[_PATCH + suffix] = orjson.dumps(told).decode()
        return await write.put(new, resource)

    async def _judge(self, write: ConfiguredWrite, invocation: Invocation, index: int) -> None:
        try:
            await self._ask(write, invocation)
        except Failed as error:
            if not invocation.hook.fails_open:
                raise internal(str(error)) from error
            log.warning("failed calling webhook, failing open: %s", error)
            key = f"{_FAILED_OPEN}{_VALIDATING}round_0_index_{index}"
            write.attributes.annotations[key] = invocation.hook.name

    async def _ask(self, write: ConfiguredWrite, invocation: Invocation) -> reviews.Response:
        """The answer of a hook that lets the write through. Raises ApiError when it does not, Failed without one."""
        hook, resource = invocation
        if write.request.is_dry_run and not hook.supports_dry_run:
            raise reviews.no_dry_run(hook.name)
        failed = f"failed calling webhook {quoted(hook.name)}"
        version = reviews.version_for(hook)
        if version is None:
            why = "webhook does not accept known AdmissionReview versions (v1, v1beta1)"
            raise Failed(f"{failed}: could not create admission objects: {why}")
        obj, old = await write.object(resource), await write.old(resource)
        kind = write.kind_of(resource)
        asked = reviews.review(version, self._random.uid(), write.request, resource, kind, obj, old)
        try:
            data = await self._client.post(hook.client, asked.body, hook.timeout_s)
        except WebhookError as error:
            raise Failed(f"{failed}: failed to call webhook: {error}") from error
        try:
            answer = reviews.response(asked, data, is_mutating=hook.is_mutating)
        except UnreadableAnswer as error:
            raise Failed(f"{failed}: failed to call webhook: {error}") from error
        except (reviews.UnsupportedPatch, reviews.UndecodablePatch) as error:
            raise Failed(f"{failed}: {error}") from error
        except reviews.InvalidResponse as error:
            raise Failed(f"{failed}: received invalid webhook response: {error}") from error
        _annotate(write.attributes.annotations, hook.name, answer.annotations)
        write.attributes.warnings += answer.warnings
        if not answer.allowed:
            raise reviews.rejection(hook.name, answer.status)
        return answer


def _annotate(annotations: dict[str, str], name: str, told: Mapping[str, str]) -> None:
    annotations.update({f"{name}/{key}": value for key, value in told.items()})

"""The values of the variables that expressions of one write may use (``core/admission/expressions``)."""

from __future__ import annotations

from typing import Any

from cybernetes.core.auth.attributes import Attributes, Authorize
from cybernetes.core.auth.user import User, service_account_groups, service_account_name
from cybernetes.core.cel.library.authorization import Answer, Authorizer, Question, authorizer_of_request
from cybernetes.core.labels import FieldSelector, SelectorError
from cybernetes.core.objects import Gvk, Gvr
from cybernetes.services.apiserver.configured.write import ConfiguredWrite


class Scope:
    """The variables of one write. Made when the first expression needs them; what an authorizer said is kept."""

    __slots__ = ("_answers", "_authorize", "_authorizers", "_write")

    def __init__(self, write: ConfiguredWrite, authorize: Authorize) -> None:
        self._write = write
        self._authorize = authorize
        self._answers: dict[Question, Answer] = {}
        self._authorizers: dict[str, Any] | None = None

    async def variables(self, resource: Gvr, kind: Gvk, *, has_namespace: bool = False) -> dict[str, Any]:
        """Those of an expression that has matched ``resource``. Raises ApiError 404, 500.

        ``has_namespace``: with the namespace as it is; match conditions see none.
        """
        write = self._write
        return {
            "object": await write.object(resource),
            "oldObject": await write.old(resource),
            "request": write.request.as_dict(resource, kind),
            "namespaceObject": write.namespace_object() if has_namespace else None,
            **self._of_authorizer(),
        }

    def _of_authorizer(self) -> dict[str, Any]:
        if self._authorizers is None:
            request = self._write.request
            gvr = request.resource
            authorizer = Authorizer(self._ask)
            question = Question(
                "",
                group=gvr.group,
                resource=gvr.resource,
                subresource=request.subresource,
                namespace=request.namespace,
                name=request.name,
            )
            self._authorizers = {
                "authorizer": authorizer,
                "authorizer.requestResource": authorizer_of_request(self._ask, question),
            }
        return self._authorizers

    def _ask(self, question: Question) -> Answer:
        found = self._answers.get(question)
        if found is None:
            found = self._answers[question] = self._decide(question)
        return found

    def _decide(self, question: Question) -> Answer:
        user = self._write.request.user
        if question.account is not None:
            namespace, name = question.account
            user = User(service_account_name(namespace, name), groups=service_account_groups(namespace))
        fields: tuple[tuple[str, str, str], ...] = ()
        if question.field_selector:
            try:
                fields = tuple(FieldSelector.parse(question.field_selector).requirements)
            except SelectorError:
                fields = ()
        decision = self._authorize(
            user,
            Attributes(
                question.verb,
                question.group,
                "*" if not question.path else "",
                question.resource,
                question.subresource,
                question.namespace,
                question.name,
                question.path,
                fields,
            ),
        )
        return Answer(decision.allowed, decision.reason)

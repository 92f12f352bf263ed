"""Authorization checks (library/authz.go).

    authorizer.group('').resource('pods').namespace('a').check('get').allowed()

An Authorizer is made by whoever evaluates, from a function that answers. A check that cannot be made is no error: the
decision says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from cybernetes.core.cel.declarations import AUTHORIZER, DECISION, GROUP_CHECK, PATH_CHECK, RESOURCE_CHECK
from cybernetes.core.cel.errors import EvaluationError, no_such_overload
from cybernetes.core.cel.library import Function
from cybernetes.core.cel.values import Opaque


class Question(NamedTuple):
    """``account`` is (namespace, name) of the ServiceAccount that is asked about; None: the user of the request."""

    verb: str
    account: tuple[str, str] | None = None
    path: str = ""
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    field_selector: str = ""
    label_selector: str = ""


class Answer(NamedTuple):
    allowed: bool
    reason: str = ""
    error: str = ""


#: Answers a question.
Ask = Callable[[Question], Answer]


class Authorizer(Opaque):
    __slots__ = ("ask", "question")
    cel_type = AUTHORIZER

    def __init__(self, ask: Ask, question: Question = Question("")) -> None:  # noqa: B008  a tuple
        self.ask = ask
        self.question = question


class _PathCheck(Authorizer):
    __slots__ = ()
    cel_type = PATH_CHECK


class _GroupCheck(Authorizer):
    __slots__ = ()
    cel_type = GROUP_CHECK


class _ResourceCheck(Authorizer):
    __slots__ = ()
    cel_type = RESOURCE_CHECK


def authorizer_of_request(ask: Ask, question: Question) -> Authorizer:
    """What checks a verb on the resource of ``question``: ``authorizer.requestResource``."""
    return _ResourceCheck(ask, question)


class Decision(Opaque):
    __slots__ = ("answer",)
    cel_type = DECISION

    def __init__(self, answer: Answer) -> None:
        self.answer = answer


def _step(of: type[Authorizer], to: type[Authorizer], field: str) -> Function:
    def step(value: Any, text: Any) -> Authorizer:
        if type(value) is not of or not isinstance(text, str):
            raise no_such_overload()
        return to(value.ask, value.question._replace(**{field: text}))  # type: ignore[arg-type]

    return step


def _path(value: Any, path: Any) -> Authorizer:
    if type(value) is not Authorizer or not isinstance(path, str):
        raise no_such_overload()
    if not path:
        raise EvaluationError("path must not be empty")
    return _PathCheck(value.ask, value.question._replace(path=path))


def _account(value: Any, namespace: Any, name: Any) -> Authorizer:
    if type(value) is not Authorizer or not isinstance(namespace, str) or not isinstance(name, str):
        raise no_such_overload()
    from cybernetes.core.api.validation import names

    if names.name_is_subdomain(name):
        raise EvaluationError("Invalid service account name")
    if names.name_is_label(namespace):
        raise EvaluationError("Invalid service account namespace")
    return Authorizer(value.ask, value.question._replace(account=(namespace, name)))


def _check(value: Any, verb: Any) -> Decision:
    if type(value) not in (_PathCheck, _ResourceCheck) or not isinstance(verb, str):
        raise no_such_overload()
    return Decision(value.ask(value.question._replace(verb=verb)))


def _of(decision: Any) -> Answer:
    if not isinstance(decision, Decision):
        raise no_such_overload()
    return decision.answer


FUNCTIONS: dict[str, Function] = {
    "path": _path,
    "serviceAccount": _account,
    "group": _step(Authorizer, _GroupCheck, "group"),
    "resource": _step(_GroupCheck, _ResourceCheck, "resource"),
    "subresource": _step(_ResourceCheck, _ResourceCheck, "subresource"),
    "namespace": _step(_ResourceCheck, _ResourceCheck, "namespace"),
    "name": _step(_ResourceCheck, _ResourceCheck, "name"),
    "fieldSelector": _step(_ResourceCheck, _ResourceCheck, "field_selector"),
    "labelSelector": _step(_ResourceCheck, _ResourceCheck, "label_selector"),
    "check": _check,
    "allowed": lambda decision: _of(decision).allowed,
    "reason": lambda decision: _of(decision).reason,
    "error": lambda decision: _of(decision).error,
    "errored": lambda decision: bool(_of(decision).error),
}

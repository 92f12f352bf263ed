"""The parameters of requests, as OpenAPI describes them.

Meanings are those of the API's options types (ListOptions, DeleteOptions and so on); what they say here is short, for
``kubectl explain`` and clients only look at their names, places and types.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple


class Parameter(NamedTuple):
    """``place`` is query or path."""

    name: str
    place: str
    type: str
    description: str
    is_required: bool = False


#: name; type; text. A name with a slash has two meanings, told apart by what follows it.
_QUERY = """
allowWatchBookmarks; boolean; Ask for events of type BOOKMARK, which tell a watcher how far the history has got.
continue; string; The token of the page before: continues the same list. Once it has expired the answer is 410.
dryRun; string; With All every stage runs but nothing is kept.
fieldManager; string; The name of whoever makes this change, at most 128 printable characters.
fieldManager/patch; string; The name of whoever makes this change, at most 128 printable characters. Apply needs it.
fieldSelector; string; Restricts the list to objects whose fields match. Everything, when empty.
fieldValidation; string; What becomes of unknown and duplicate fields: Ignore drops them, Warn drops them and \
answers with warnings (the default), Strict refuses the request.
force; boolean; Apply takes over fields that others manage. Not for other patches.
gracePeriodSeconds; integer; Seconds that the object has to end; zero means at once. The kind's default, when absent.
ignoreStoreReadErrorWithClusterBreakingPotential; boolean; Delete an object that cannot be read, without finalizers \
or preconditions. May break the cluster.
labelSelector; string; Restricts the list to objects whose labels match. Everything, when empty.
limit; integer; At most so many items; the list then says how to continue. All pages together are one snapshot.
orphanDependents; boolean; Deprecated, use propagationPolicy: whether dependents are left behind.
pretty; string; With true the answer is indented.
propagationPolicy; string; What becomes of dependents: Orphan leaves them, Background deletes them later, \
Foreground deletes them first.
resourceVersion; string; The version that the answer has to be at, or at least at.
resourceVersionMatch; string; How resourceVersion is meant: Exact or NotOlderThan.
sendInitialEvents; boolean; A watch starts with what exists, as events, and then a bookmark. Needs resourceVersionMatch.
timeoutSeconds; integer; Ends the list or watch after so many seconds, whatever happens.
watch; boolean; Answer with a stream of changes in place of a list.
command; string; What to run, argument by argument. No shell takes part.
container/PodAttachOptions; string; The container to attach to; the only one, when absent.
container/PodExecOptions; string; The container to run the command in; the only one, when absent.
container/PodLogOptions; string; The container whose log is read; the only one, when absent.
follow; boolean; Keep sending what is logged.
insecureSkipTLSVerifyBackend; boolean; Do not verify the certificate of the node that has the log.
limitBytes; integer; Stop after about so many bytes.
path/NodeProxyOptions; string; The part of the node's URL that follows its address.
path/PodProxyOptions; string; The part of the pod's URL that follows its address.
path/ServiceProxyOptions; string; The part of the service's URL that follows its address.
ports; integer; The ports to forward; required over WebSockets.
previous; boolean; The log of the container's run before this one.
sinceSeconds; integer; Only what was logged in the last so many seconds.
stderr; boolean; Pass standard error on.
stdin; boolean; Pass standard input on.
stdout; boolean; Pass standard output on.
stream; string; Which stream of the log: All, Stdout or Stderr.
tailLines; integer; Only the last so many lines.
timestamps; boolean; Begin each line with its time.
tty; boolean; Give the command a terminal.
"""

_PATH = {
    "namespace": Parameter("namespace", "path", "string", "object name and auth scope, such as for teams", True),
    "path": Parameter("path", "path", "string", "path to the resource", True),
}

_DELETE = (
    "dryRun",
    "gracePeriodSeconds",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "orphanDependents",
    "propagationPolicy",
)
_SELECT = (
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
)
_BY_VERB = {
    "create": ("dryRun", "fieldManager", "fieldValidation"),
    "delete": _DELETE,
    "deletecollection": (*_DELETE, *_SELECT),
    "list": ("allowWatchBookmarks", *_SELECT, "watch"),
    "patch": ("dryRun", "fieldManager/patch", "fieldValidation", "force"),
}
_BY_KIND = {
    "PodAttachOptions": ("container", "stderr", "stdin", "stdout", "tty"),
    "PodExecOptions": ("command", "container", "stderr", "stdin", "stdout", "tty"),
    "PodLogOptions": (
        "container",
        "follow",
        "insecureSkipTLSVerifyBackend",
        "limitBytes",
        "previous",
        "sinceSeconds",
        "stream",
        "tailLines",
        "timestamps",
    ),
    "PodPortForwardOptions": ("ports",),
    "NodeProxyOptions": ("path",),
    "PodProxyOptions": ("path",),
    "ServiceProxyOptions": ("path",),
}


@lru_cache(maxsize=1)
def _query() -> dict[str, Parameter]:
    found = {}
    for line in _QUERY.strip().splitlines():
        key, kind, text = line.split("; ", 2)
        found[key] = Parameter(key.partition("/")[0], "query", kind, text)
    return found


def named(*names: str) -> tuple[Parameter, ...]:
    """``namespace`` and ``path`` in the path, anything else in the query."""
    return tuple(_PATH.get(name) or _query()[name] for name in names)


def body_parameters(verb: str) -> tuple[Parameter, ...]:
    """What goes with a create (or update), patch, delete, deletecollection or list."""
    return named(*_BY_VERB[verb])


def connect_parameters(kind: str) -> tuple[Parameter, ...]:
    """The fields of an options kind such as PodExecOptions, as query parameters."""
    query = _query()
    return tuple(query.get(f"{name}/{kind}") or query[name] for name in _BY_KIND[kind])

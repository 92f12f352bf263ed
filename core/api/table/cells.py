"""What cells are made of: columns, ages, and the texts that several kinds share.

A printer turns an object into cells that do not depend on the time, so that they can be kept: where an age belongs it
puts an ``Age``, which becomes text when the table is written.

Columns are named in one line: ``Name!, Desired#, Suspend?, Age, Images*``

``!`` the object's name (format ``name``), ``#`` an integer, ``?`` a boolean, ``*`` shown in wide output only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from cybernetes.core.clock import parse_time
from cybernetes.core.labels import Selector, SelectorError
from cybernetes.core.objects import Object

NONE = "<none>"
UNKNOWN = "<unknown>"
UNSET = "<unset>"


class Age(NamedTuple):
    """The time since ``start`` (seconds since the epoch, None for unknown), within ``text`` at its ``{}``."""

    start: float | None
    text: str = "{}"

    def shown(self, now: float) -> str:
        return self.text.format(UNKNOWN if self.start is None else human_duration(now - self.start))


class Column(NamedTuple):
    name: str
    type: str
    format: str
    priority: int
    description: str

    def as_dict(self) -> dict[str, Any]:
        """``meta.k8s.io/v1.TableColumnDefinition``."""
        return self._asdict()


class Printer(NamedTuple):
    """The columns of a kind, and an object's cells in their order.

    ``order`` sorts the rows of lists, where it matters.
    """

    columns: tuple[Column, ...]
    cells: Callable[[Object], list[Any]]
    order: Callable[[Object], Any] | None = None


def printer(
    columns: str, cells: Callable[[Object], list[Any]], order: Callable[[Object], Any] | None = None
) -> Printer:
    """A printer whose columns are named in one line, as the module's docstring says."""
    return Printer(tuple(_column(text.strip()) for text in columns.split(", ")), cells, order)


def _column(text: str) -> Column:
    name = text.rstrip("!#?*")
    marks = text[len(name) :]
    kind = "integer" if "#" in marks else "boolean" if "?" in marks else "string"
    return Column(name, kind, "name" if "!" in marks else "", int("*" in marks), DESCRIPTIONS.get(name, name))


def since(time: str | None) -> Age:
    """The age of something that began at an RFC 3339 time; unknown when it did not."""
    return Age(parse_time(time) if time else None)


def age(obj: Object) -> Age:
    """The age of the object itself."""
    return since(obj["metadata"].get("creationTimestamp"))


def name(obj: Object) -> str:
    text: str = obj["metadata"].get("name", "")
    return text


def human_duration(seconds: float) -> str:
    """A duration in two or three significant figures.

    45s, 3m5s, 7h12m, 2d4h, 90d, 3y40d (apimachinery, util/duration).
    """
    total = int(seconds)
    if total < -1:
        return "<invalid>"
    if total < 120:
        return f"{max(total, 0)}s"
    minutes = total // 60
    if minutes < 10:
        return _two(minutes, "m", total % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    hours = total // 3600
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    days = hours // 24
    if hours < 24 * 8:
        return _two(days, "d", hours % 24, "h")
    if hours < 24 * 365 * 2:
        return f"{days}d"
    years = hours // 24 // 365
    if hours < 24 * 365 * 8:
        return _two(years, "y", days % 365, "d")
    return f"{years}y"


def _two(first: int, unit: str, second: int, smaller: str) -> str:
    return f"{first}{unit}{second}{smaller}" if second else f"{first}{unit}"


def labels_text(labels: Mapping[str, str] | None) -> str:
    """``a=b,c=d`` in order of the keys, or <none>."""
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or NONE


def selector_text(selector: Mapping[str, Any] | None, empty: str = NONE, wrong: str = "<error>") -> str:
    """A label selector object in the form that ``kubectl -l`` takes."""
    try:
        return str(Selector.from_object(selector)) or empty
    except SelectorError:
        return wrong


def containers_of(template: Mapping[str, Any] | None) -> list[str]:
    """Two cells: the names and the images of a pod template's containers."""
    containers: Sequence[Mapping[str, Any]] = ((template or {}).get("spec") or {}).get("containers") or ()
    return [",".join(str(each.get(key, "")) for each in containers) for key in ("name", "image")]


def first_few(items: Iterable[str], limit: int = 3) -> str:
    """The first items, and how many more there are."""
    listed = list(items)
    text = ",".join(listed[:limit])
    return f"{text} + {len(listed) - limit} more..." if len(listed) > limit else text


def yes_or_no(value: Any) -> str:
    """True or False of an optional flag as a text; <unset> without it."""
    return UNSET if value is None else str(bool(value))


#: What columns mean, by name: they seldom mean different things in different kinds.
DESCRIPTIONS: Mapping[str, str] = {
    "Name": "The name of the object, unique for its kind within its namespace.",
    "Age": "How long ago the object was created.",
    "Created At": "When the object was created.",
    "Ready": "How many are ready, of how many are wanted.",
    "Status": "The state in one word.",
    "Restarts": "How often containers have been restarted, and when last.",
    "IP": "The pod's first address.",
    "Node": "The node that it is bound to.",
    "Nominated Node": "The node on which room is being made.",
    "Readiness Gates": "How many of the pod's own conditions hold, of how many there are.",
    "Containers": "The names of the containers in the template.",
    "Images": "The images of the containers in the template.",
    "Pod Labels": "The labels that pods of the template get.",
    "Selector": "The labels by which it finds its pods.",
    "Desired": "How many are wanted.",
    "Current": "How many there are.",
    "Up-to-date": "How many have the latest template.",
    "Available": "How many have been ready for long enough to count.",
    "Node Selector": "The labels of the nodes that it runs on.",
    "Min Available": "How many pods must stay available.",
    "Max Unavailable": "How many pods may be unavailable.",
    "Allowed Disruptions": "How many pods may be disrupted now.",
    "Completions": "How many pods have succeeded, of how many have to.",
    "Duration": "How long it took, or has taken until now.",
    "Schedule": "When it runs, in Cron format.",
    "Timezone": "The time zone of the schedule.",
    "Suspend": "Whether it is suspended.",
    "Active": "How many of its jobs are running.",
    "Last Schedule": "How long ago it last started a job.",
    "Type": "The type of the object.",
    "Cluster-IP": "The address by which it is reached within the cluster.",
    "External-IP": "The addresses by which it is reached from outside.",
    "Port(s)": "Its ports: port, node port and protocol.",
    "Class": "The ingress class that handles it.",
    "Hosts": "The hosts that it serves.",
    "Address": "The addresses of its load balancer.",
    "Ports": "The ports that it serves.",
    "Controller": "What controls it.",
    "Parameters": "The object with further parameters.",
    "Endpoints": "The addresses that serve it.",
    "Roles": "What the node is for.",
    "Version": "The version of the node's agent.",
    "Internal-IP": "The node's address within the cluster.",
    "OS-Image": "The node's operating system.",
    "Kernel-Version": "The node's kernel.",
    "Container-Runtime": "What runs the node's containers.",
    "Last Seen": "How long ago it last happened.",
    "Reason": "Why, in one word for machines.",
    "Object": "What it happened to.",
    "Subobject": "The part of the object that it happened to.",
    "Source": "Who reported it.",
    "Message": "What happened, in words for people.",
    "First Seen": "How long ago it first happened.",
    "Count": "How often it has happened.",
    "Data": "How many entries it has.",
    "Capacity": "How much it holds.",
    "Access Modes": "In which ways it may be mounted.",
    "Reclaim Policy": "What becomes of the volume when its claim goes.",
    "Claim": "The claim that it is bound to.",
    "StorageClass": "The storage class that it belongs to.",
    "VolumeAttributesClass": "The class of its attributes.",
    "VolumeMode": "Whether it is a file system or a block device.",
    "Volume": "The volume that it is bound to.",
    "Error": "What went wrong.",
    "Reference": "What it scales.",
    "Targets": "Its metrics: current and wanted values.",
    "MinPods": "The fewest pods.",
    "MaxPods": "The most pods.",
    "Replicas": "How many pods there are.",
    "Pod-Selector": "The pods that it applies to.",
    "Role": "The role that is granted.",
    "Users": "The users that it is granted to.",
    "Groups": "The groups that it is granted to.",
    "ServiceAccounts": "The service accounts that it is granted to.",
    "SignerName": "Who is asked to sign.",
    "Requestor": "Who made the request.",
    "RequestedDuration": "For how long the certificate is wanted.",
    "Condition": "How far it has got.",
    "Holder": "Who holds it.",
    "Provisioner": "What makes its volumes.",
    "ReclaimPolicy": "What becomes of its volumes when their claims go.",
    "VolumeBindingMode": "When its volumes are made and bound.",
    "AllowVolumeExpansion": "Whether its volumes can grow.",
    "DriverName": "The driver that it belongs to.",
    "Revision": "The number of the state that it holds.",
    "Request": "Used and allowed amounts of what is counted.",
    "Limit": "Used and allowed amounts of limits.",
    "Value": "The priority that it gives.",
    "Global-Default": "Whether pods without a class get it.",
    "PreemptionPolicy": "Whether its pods displace others.",
    "Handler": "The configuration of the runtime that it stands for.",
    "Attacher": "The driver that attaches it.",
    "PV": "The persistent volume.",
    "Attached": "Whether it is attached.",
    "AddressType": "Which kind of addresses it lists.",
    "Drivers": "How many storage drivers the node has.",
    "AttachRequired": "Whether its volumes have to be attached.",
    "PodInfoOnMount": "Whether it is told about the pod.",
    "StorageCapacity": "Whether the scheduler asks it for room.",
    "TokenRequests": "For whom it wants tokens.",
    "RequiresRepublish": "Whether it is called again and again.",
    "Modes": "The kinds of volumes that it supports.",
    "Webhooks": "How many webhooks it has.",
    "Validations": "How many rules it has.",
    "Mutations": "How many changes it makes.",
    "ParamKind": "The kind of its parameters.",
    "PolicyName": "The policy that it applies.",
    "ParamRef": "Its parameters.",
    "PriorityLevel": "The priority level that it leads to.",
    "MatchingPrecedence": "Where it stands in the order of matching.",
    "DistinguisherMethod": "How flows are told apart.",
    "MissingPL": "Whether its priority level is missing.",
    "NominalConcurrencyShares": "Its share of the server's concurrency.",
    "Queues": "How many queues it has.",
    "HandSize": "How many queues a flow is dealt.",
    "QueueLengthLimit": "How many requests may wait in a queue.",
    "CIDRs": "Its ranges of addresses.",
    "State": "Whether it has been allocated and reserved.",
    "Driver": "The driver that it belongs to.",
    "Pool": "The pool that it belongs to.",
    "Service": "The service behind it, or Local.",
}

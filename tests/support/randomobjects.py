"""Random objects that fit their types, and ways to spoil them. All choices come from one ``random.Random``.

Words are drawn from what the API knows (types, policies, addresses, quantities…), so that an object has a chance to get
past the first checks, and from what it does not like.
"""

from __future__ import annotations

import random
from typing import Any

from cybernetes.core.api.schema import Type
from cybernetes.core.objects import Object, clone

_KNOWN = """
a b c d A_b a.b x/y a/b/c -a ns Pod pods apps apps/v1 v1 * kubernetes.io/hostname example.com/p nvidia.com/gpu
default Always Never OnFailure IfNotPresent TCP UDP SCTP ClusterIP NodePort LoadBalancer ExternalName None ClientIP
Local Cluster IPv4 IPv6 SingleStack PreferDualStack RequireDualStack Exists In NotIn DoesNotExist Equal Gt Lt
NoSchedule NoExecute PreferNoSchedule DoNotSchedule ScheduleAnyway Honor Ignore Recreate RollingUpdate OnDelete
OrderedReady Parallel Retain Delete Recycle ReadWriteOnce ReadOnlyMany ReadWriteOncePod Block Filesystem Immediate
WaitForFirstConsumer Container ClusterFirst ClusterFirstWithHostNet Default RuntimeDefault Localhost Unconfined
Memory HugePages File Directory Socket HTTP HTTPS Prefix Exact ImplementationSpecific Ingress Egress Resource Pods
Object External ContainerResource Utilization AverageValue Value Max Min Disabled Percent Allow Forbid Replace
NonIndexed Indexed FailJob Count FailIndex TerminatingOrDone Failed Opaque kubernetes.io/tls
kubernetes.io/service-account-token bootstrap.kubernetes.io/token User Group ServiceAccount
rbac.authorization.k8s.io Namespaced get list watch CREATE UPDATE CONNECT Deny Warn Audit Fail Equivalent
NoneOnDryRun string object array integer number boolean int-or-string date-time map set atomic all Limited Exempt
Queue Reject ByUser ByNamespace Background Foreground Orphan Windows linux windows BestEffort True False Unknown
Ready Complete ConfigMap cpu memory storage ephemeral-storage hugepages-2Mi limits.cpu requests.cpu count/pods
services.nodeports 10.0.0.1 10.0.0.0/8 010.1.1.1 ::1 fd00::/64 ::ffff:1.2.3.4 127.0.0.1 169.254.1.1 300.1.1.1 0 1
100m 1Gi 1.5 -1 50% 101% http://a/b https://a.example.com/p?q=1 /a/b /a/../b ../x a=b,c=d a:b:c {{ $(A) .status.x
.spec.replicas .metadata.name self.x == {$.a} * * * * * @every 1h TZ=UTC UTC Europe/Berlin Asia/Nowhere sha256:0
registry.example/c:1 %x é \u0000
"""
WORDS = [*_KNOWN.split(), "", " a", "* * * * *", "@daily", "x" * 64, "x" * 254, "a\nb", "a b", "0 0 31 2 *"]
INTEGERS = [0, 1, 2, 3, 5, 10, 64, 80, 255, 443, 1000, 1024, 30000, 65535, 65536, 2**31 - 1, -1, -5, -(2**31)]
LARGE = [2**31, 2**53, 2**63 - 1, -(2**63)]
QUANTITIES = ["0", "1", "100m", "0.5", "1Gi", "1.5Gi", "2e3", "-1", "10k", "1n", "1500", "100Ei", 1, 0.1]
TIMES = ["2024-01-01T00:00:00Z", "2023-12-31T23:00:00+01:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"]
_MICRO_TIMES = ["2024-01-01T00:00:00.000000Z", "2024-01-01T00:00:00.123456+01:00"]
_BYTES = ["", "YQ==", "YWI=", "YWJj"]
_ANYTHING: list[Any] = [None, True, 0, 1, 2.5, "a", [], [1, {"a": None}], {}, {"a": {"b": [0]}}]


class Maker:
    """Makes values of types. ``fullness`` is the chance that an optional field is there."""

    def __init__(self, source: random.Random, *, fullness: float = 0.3, depth: int = 9) -> None:
        self.random = source
        self.fullness = fullness
        self.depth = depth

    def object(self, type_: Type, depth: int = 0) -> Object:
        made: Object = {}
        fullness = self.fullness if depth < 3 else self.fullness * 0.7
        for name, field in type_.fields.items():
            if self.random.random() < (0.9 if name in type_.required else fullness):
                made[name] = self.value(field, depth + 1)
        return made

    def value(self, type_: Type, depth: int = 0) -> Any:
        source, kind = self.random, type_.kind
        if source.random() < 0.02:
            return None
        if kind == "object":
            return self.object(type_, depth) if depth < self.depth else {}
        if kind == "array":
            count = source.choice((0, 1, 1, 1, 2, 3)) if depth < self.depth else 0
            return [self.value(type_.items, depth + 1) for _ in range(count)]
        if kind == "map":
            count = source.choice((0, 1, 1, 2))
            return {source.choice(WORDS): self.value(type_.items, depth + 1) for _ in range(count)}
        if type_.alternative and depth < self.depth:
            return self._alternative(type_, depth)
        return self.scalar(type_)

    def scalar(self, type_: Type) -> Any:
        source, kind = self.random, type_.kind
        if kind == "string":
            return source.choice(_BYTES if type_.format == "byte" else WORDS)
        if kind == "integer":
            return source.choice(INTEGERS if type_.format == "int32" else INTEGERS + LARGE)
        if kind == "number":
            return source.choice([0, 1, 0.5, -2.5, 1e300])
        if kind == "boolean":
            return source.random() < 0.5
        if kind == "quantity":
            return source.choice(QUANTITIES)
        if kind == "int_or_string":
            return source.choice([*INTEGERS, "50%", "101%", "a", "http", ""])
        if kind in ("time", "micro_time"):
            return source.choice(TIMES if kind == "time" else _MICRO_TIMES)
        return {} if type_.alternative else clone_of(source.choice(_ANYTHING))

    def _alternative(self, type_: Type, depth: int) -> Any:
        if self.random.random() < 0.5:
            return self.object(type_.inner, depth + 1)
        if type_.alternative == "boolean":
            return self.random.random() < 0.5
        return ["a"] if type_.alternative == "strings" else [{}]

    def changed(self, type_: Type, obj: Object, changes: int = 1) -> Object:
        """A copy of ``obj`` with random parts replaced by others that fit, added or taken away."""
        found = clone(obj)
        for _ in range(changes):
            self._change(type_, found)
        return found

    def _change(self, type_: Type, at: Object, depth: int = 0) -> None:
        """Replace a part below ``at``: at each step, more likely go on than stop."""
        source = self.random
        known = [name for name in at if name in type_.fields] if isinstance(at, dict) else []
        if known and source.random() < 0.75:
            name = source.choice(known)
            field, value = type_.fields[name], at[name]
            if field.kind == "object" and isinstance(value, dict):
                return self._change(field, value, depth + 1)
            if field.kind == "array" and value:
                index = source.randrange(len(value))
                if field.items.kind == "object" and isinstance(value[index], dict) and source.random() < 0.8:
                    return self._change(field.items, value[index], depth + 2)
                if source.random() < 0.3:
                    return value.append(clone_of(value[index]))
                if source.random() < 0.3:
                    return value.pop(index)
                value[index] = self.value(field.items, depth + 2)
                return None
            if source.random() < 0.3:
                del at[name]
                return None
        elif type_.fields:
            name = source.choice(list(type_.fields))
        else:
            return None
        at[name] = self.value(type_.fields[name], depth + 1)
        return None

    def add_unknown(self, type_: Type, value: Any, name: str) -> int:
        """Give random objects below a field of that name, which no type has. Returns how many have it."""
        if type_.kind in ("array", "map"):
            below = value.values() if isinstance(value, dict) else value or ()
            return sum(self.add_unknown(type_.items, item, name) for item in below)
        if type_.kind != "object" or not isinstance(value, dict):
            return 0
        count = sum(self.add_unknown(type_.fields[key], item, name) for key, item in value.items())
        if self.random.random() < 0.2:
            value[name] = clone_of(self.random.choice(_ANYTHING))
            count += 1
        return count

    def spoiled(self, type_: Type, obj: Object) -> tuple[Object, str]:
        """A copy of ``obj`` with one part of a type that it cannot have, and the path of that part."""
        found = clone(obj)
        at: Any = found
        path: list[str] = []
        node = type_
        while True:
            names = [name for name in at if name in node.fields and name not in ("apiVersion", "kind")]
            if not names or (path and self.random.random() < 0.25):
                names = [name for name in node.fields if name not in ("apiVersion", "kind")]
            names = [name for name in names if node.fields[name].kind != "any"]
            if not names:
                return found, ""
            name = self.random.choice(names)
            field = node.fields[name]
            path.append(name)
            if field.kind == "object" and at.get(name):
                node, at = field, at[name]
                continue
            if field.kind == "array" and field.items.kind == "object" and at.get(name) and self.random.random() < 0.8:
                index = self.random.randrange(len(at[name]))
                if isinstance(at[name][index], dict):
                    node, at = field.items, at[name][index]
                    continue
            at[name] = self._misfit(field)
            return found, ".".join(path)

    def _misfit(self, type_: Type) -> Any:
        misfits: dict[str, list[Any]] = {
            "object": ["a", 1, True, [1]],
            "map": ["a", 1, False, [{}]],
            "array": ["a", 1, True, {}],
            "string": [1, True, {}, []],
            "integer": ["1", True, {}, [], 1.5, 2**63],
            "number": ["1", False, {}, []],
            "boolean": ["true", 0, {}, []],
            "quantity": ["a", True, {}, "1 Gi"],
            "int_or_string": [True, {}, [], 1.5, 2**31],
            "time": ["today", 1, {}, "2024-01-01"],
            "micro_time": ["today", 1, {}, "2024-01-01"],
        }
        return self.random.choice(misfits[type_.kind])


def clone_of(value: Any) -> Any:
    return clone({"": value})[""]

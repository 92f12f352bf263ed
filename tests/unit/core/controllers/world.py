"""A cluster without I/O for tests of controllers: what there is, what they do to it, and time.

``World`` keeps objects as an API server would (revisions, uids, generations, finalizers, preconditions), is a View of
them, and runs controllers: ``settle`` reconciles every key that changes ask for until nothing is left to do;
``pass_time`` moves the clock from one due key to the next. ``crash`` decides before each write whether the controller
dies there: the reconcile ends, its memory is lost (a new one is made) and everything is looked at again.
"""

from __future__ import annotations

import heapq

from cybernetes.core import errors
from cybernetes.core.client.cache import WHOLE, ObjectCache
from cybernetes.core.client.interface import ListPage
from cybernetes.core.client.projections import PROJECTIONS
from cybernetes.core.clock import Random, format_time
from cybernetes.core.controllers.indexes import INDEXES
from cybernetes.core.controllers.interface import (
    Again,
    Create,
    Delete,
    DeleteCollection,
    Emit,
    Erase,
    Get,
    List,
    Patch,
    Together,
    TryAgain,
    Update,
)
from cybernetes.core.errors import ApiError
from cybernetes.core.labels import Selector
from cybernetes.core.objects import PODS, clone, key_of, labels_of, namespace_of, resource_version_of, uid_of

WRITES = (Create, Update, Patch, Delete, DeleteCollection, Erase)
START_S = 1.7e9


class Crash(Exception):
    """The process dies here."""


def merged(target, patch):
    if not isinstance(patch, dict):
        return clone({"": patch})[""]
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if name.startswith("$deleteFromPrimitiveList/"):
            field = name.partition("/")[2]
            result[field] = [one for one in result.get(field) or [] if one not in value]
        elif value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


class World:
    def __init__(self, *makers, seed=1):
        self.random = Random(seed)
        self.now = START_S
        self.revision = 0
        self.caches = {}  # what controllers see: projections, with indexes
        self.stored = {}  # what there is
        self.events = []
        self.writes = []
        self.failures = {}
        self.reconciles = 0
        self.acting = None
        self.makers = makers
        self.crash = lambda action: False
        #: Called before a write; raise ApiError or ConnectionError to refuse it.
        self.refuse = lambda action: None
        #: Called after each change with (gvr, old, new).
        self.observers = []
        self.start_controllers()

    # Controllers.

    def start_controllers(self):
        self.controllers = [make() for make in self.makers]
        self.queue = {}
        self.due = []
        self.number = 0
        for controller in self.controllers:
            for watch in controller.watches:
                if watch.keys_of is not None:
                    for obj in list(self.cache(watch.gvr).values()):
                        self.enqueue(controller, watch.keys_of(None, clone(obj), self))

    def enqueue(self, controller, keys):
        for key in keys:
            self.queue[(self.controllers.index(controller), key)] = None

    def changed(self, gvr, old, new):
        for controller in self.controllers:
            for watch in controller.watches:
                if (
                    watch.gvr == gvr
                    and watch.keys_of is not None
                    and not (watch.ignores_own and self.acting is controller)
                ):
                    self.enqueue(controller, watch.keys_of(old, new, self))
        for observer in list(self.observers):
            observer(gvr, old, new)

    def settle(self, limit=20_000):
        """Reconcile until no key waits. Raises AssertionError for a loop that does not end."""
        for _ in range(limit):
            if not self.queue:
                return
            position, key = next(iter(self.queue))
            del self.queue[(position, key)]
            self.reconcile(self.controllers[position], key)
        raise AssertionError(f"does not settle; still to do: {list(self.queue)[:5]}")

    def reconcile(self, controller, key):
        """One reconcile. Returns the actions. What it raises is retried later, as the runner does."""
        self.reconciles += 1
        actions = []
        try:
            self.acting = controller
            self.play(controller.reconcile(key, self, self.now), actions, controller, key)
        except Crash:
            self.start_controllers()
        except (ApiError, ConnectionError, TryAgain):
            count = self.failures[(controller.name, key)] = self.failures.get((controller.name, key), 0) + 1
            self.later(controller, key, min(1000.0, 0.005 * 2**count))
        else:
            self.failures.pop((controller.name, key), None)
        finally:
            self.acting = None
        return actions

    def play(self, steps, actions, controller=None, key=""):
        try:
            action = next(steps)
            while True:
                actions.append(action)
                try:
                    answer = self.do(action, controller, key)
                except (ApiError, ConnectionError) as error:
                    action = steps.throw(error)
                else:
                    action = steps.send(answer)
        except StopIteration:
            return
        finally:
            steps.close()

    def later(self, controller, key, after_s):
        self.number += 1
        heapq.heappush(self.due, (self.now + max(after_s, 0.0), self.number, self.controllers.index(controller), key))

    def pass_time(self, seconds):
        """Let time pass, reconciling what becomes due."""
        end = self.now + seconds
        self.settle()
        while self.due and self.due[0][0] <= end:
            self.now = max(self.now, self.due[0][0])
            while self.due and self.due[0][0] <= self.now:
                _, _, position, key = heapq.heappop(self.due)
                self.queue[(position, key)] = None
            self.settle()
        self.now = end

    # Actions.

    def do(self, action, controller=None, key=""):
        if isinstance(action, Together):
            answers = []
            for one in action.actions:
                try:
                    answers.append(self.do(one, controller, key))
                except (ApiError, ConnectionError) as error:
                    answers.append(error)
            return answers
        if isinstance(action, WRITES):
            if self.crash(action):
                raise Crash
            self.refuse(action)
            self.writes.append(action)
        match action:
            case Emit():
                self.events.append(action)
            case Again() if action.after_s <= 0:
                self.enqueue(controller, [action.key or key])
            case Again():
                self.later(controller, action.key or key, action.after_s)
            case Erase():
                return ""
            case Get():
                return clone(self.find(action.gvr, action.namespace, action.name))
            case List():
                return self.list_page(action)
            case Create():
                return self.create(action.gvr, action.obj, action.namespace)
            case Update():
                return self.update(action.gvr, action.obj, action.subresource)
            case Patch():
                found = self.find(action.gvr, action.namespace, action.name)
                self.check(action.gvr, found, action.patch.get("metadata") or {})
                return self.update(action.gvr, merged(found, action.patch), action.subresource)
            case Delete():
                try:
                    found = self.find(action.gvr, action.namespace, action.name)
                except ApiError:
                    return False
                if action.uid and action.uid != uid_of(found):
                    return False
                self.check(action.gvr, found, {"resourceVersion": action.resource_version})
                self.delete(action.gvr, found, action.propagation, action.grace_period_s)
                return True
            case DeleteCollection():
                for obj in list(self.stored.get(action.gvr, {}).values()):
                    if namespace_of(obj) == action.namespace:
                        self.delete(action.gvr, obj, action.propagation)
        return None

    def find(self, gvr, namespace, name):
        found = self.stored.get(gvr, {}).get(f"{namespace}/{name}" if namespace else name)
        if found is None:
            raise errors.not_found(gvr.group, gvr.resource, name)
        return found

    def list_page(self, action):
        selector = Selector.parse(action.label_selector)
        found = [
            clone(obj)
            for obj in self.stored.get(action.gvr, {}).values()
            if (not action.namespace or namespace_of(obj) == action.namespace) and selector.matches(labels_of(obj))
        ]
        shown = found[: action.limit] if action.limit else found
        return ListPage(shown, str(self.revision), "", None)

    def check(self, gvr, found, metadata):
        for field in ("uid", "resourceVersion"):
            if metadata.get(field) and metadata[field] != found["metadata"][field]:
                raise errors.conflict(gvr.group, gvr.resource, found["metadata"]["name"])

    def put(self, gvr, obj):
        """Store an object as it is and tell everyone."""
        key = key_of(obj)
        table = self.stored.setdefault(gvr, {})
        self.revision += 1
        obj["metadata"]["resourceVersion"] = str(self.revision)
        table[key] = obj
        cache = self.cache(gvr)
        old = cache.get(key)
        cache.put(key, clone(obj), old)
        self.changed(gvr, old, clone(obj))
        return clone(obj)

    def drop(self, gvr, obj):
        key = key_of(obj)
        del self.stored[gvr][key]
        self.revision += 1
        old = self.cache(gvr).get(key)
        self.cache(gvr).remove(key, old)
        self.changed(gvr, old, None)

    def create(self, gvr, obj, namespace=""):
        obj = clone(obj)
        metadata = obj.setdefault("metadata", {})
        if namespace:
            metadata["namespace"] = namespace
        metadata.setdefault("name", metadata.get("generateName", "") + self.random.name_suffix())
        if key_of(obj) in self.stored.get(gvr, {}):
            raise errors.already_exists(gvr.group, gvr.resource, metadata["name"])
        metadata.setdefault("uid", self.random.uid())
        metadata.setdefault("creationTimestamp", format_time(self.now))
        metadata["generation"] = 1
        return self.put(gvr, obj)

    def update(self, gvr, obj, subresource=""):
        metadata = obj["metadata"]
        found = self.find(gvr, metadata.get("namespace", ""), metadata["name"])
        self.check(gvr, found, metadata)
        if subresource == "status":
            new = {**found, "status": clone(obj).get("status") or {}}
            new["metadata"] = {**found["metadata"], "annotations": metadata.get("annotations") or {}}
        else:
            kept = ("uid", "creationTimestamp", "generation", "deletionTimestamp")
            new = clone(obj)
            new["metadata"].update({name: found["metadata"][name] for name in kept if name in found["metadata"]})
            if "status" in found:
                new["status"] = found["status"]
            if new.get("spec") != found.get("spec"):
                new["metadata"]["generation"] += 1
        has_finalizers = new["metadata"].get("finalizers") or (
            subresource == "finalize" and new["spec"].get("finalizers")
        )
        if "deletionTimestamp" in new["metadata"] and not has_finalizers and not self.is_graceful(gvr, new):
            self.drop(gvr, found)
            return clone(new)
        without = {name: value for name, value in new["metadata"].items() if name != "resourceVersion"}
        if without == {n: v for n, v in found["metadata"].items() if n != "resourceVersion"} and all(
            new.get(field) == found.get(field) for field in (new.keys() | found.keys()) - {"metadata"}
        ):
            return clone(found)
        return self.put(gvr, clone(new))

    @staticmethod
    def is_graceful(gvr, obj):
        """A running pod waits for its kubelet, a namespace for its own finalizers."""
        if gvr == PODS:
            return bool(obj["spec"].get("nodeName")) and obj["metadata"].get("deletionGracePeriodSeconds", 0) > 0
        return bool(obj.get("spec", {}).get("finalizers")) if gvr.resource == "namespaces" else False

    def delete(self, gvr, found, propagation="", grace_period_s=None):
        extra = {"Foreground": ["foregroundDeletion"], "Orphan": ["orphan"]}.get(propagation, [])
        marked = clone(found)
        metadata = marked["metadata"]
        finalizers = list(dict.fromkeys([*(metadata.get("finalizers") or []), *extra]))
        if gvr == PODS:
            metadata["deletionGracePeriodSeconds"] = 30 if grace_period_s is None else grace_period_s
        if finalizers or self.is_graceful(gvr, marked):
            metadata["deletionTimestamp"] = format_time(self.now)
            if finalizers:
                metadata["finalizers"] = finalizers
            if "deletionTimestamp" in found["metadata"]:
                metadata["deletionTimestamp"] = found["metadata"]["deletionTimestamp"]
            if marked != found:
                self.put(gvr, marked)
        else:
            self.drop(gvr, found)

    # The View.

    def cache(self, gvr):
        cache = self.caches.get(gvr)
        if cache is None:
            cache = self.caches[gvr] = ObjectCache(PROJECTIONS.get(gvr, WHOLE))
            for name, function in INDEXES.get(gvr, {}).items():
                cache.add_index(name, function)
        return cache

    def get(self, gvr, namespace, name):
        return self.cache(gvr).get(f"{namespace}/{name}" if namespace else name)

    def list(self, gvr, namespace=""):
        return [*self.cache(gvr).values(namespace)]

    def count(self, gvr, namespace):
        return len(self.cache(gvr).namespace_keys(namespace))

    def by_index(self, gvr, index, value):
        return self.cache(gvr).by_index(index, value)

    # Shorthand for tests.

    def all(self, gvr, namespace=""):
        return [obj for obj in self.stored.get(gvr, {}).values() if not namespace or namespace_of(obj) == namespace]

    def read(self, gvr, name, namespace="default"):
        return self.find(gvr, namespace, name)

    def change(self, gvr, name, patch, namespace="default", subresource=""):
        """Somebody else's write."""
        return self.update(gvr, {**merged(self.find(gvr, namespace, name), patch)}, subresource)

    def messages(self, reason=""):
        return [event.message for event in self.events if not reason or event.reason == reason]


def run_pod(world, pod, *, ready=True, node="n1", address=None):
    """What scheduler and kubelet do to a pod."""
    number = world.random.below(60000)
    ip = address or f"10.244.{number // 250}.{number % 250 + 2}"
    world.change(PODS, pod["metadata"]["name"], {"spec": {"nodeName": node}}, namespace_of(pod))
    status = {
        "phase": "Running",
        "podIP": ip,
        "podIPs": [{"ip": ip}],
        "conditions": [
            {"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": format_time(world.now)}
        ],
    }
    world.change(PODS, pod["metadata"]["name"], {"status": status}, namespace_of(pod), "status")


def newest_first(objects):
    return sorted(objects, key=lambda obj: -resource_version_of(obj))

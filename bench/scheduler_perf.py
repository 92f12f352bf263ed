"""Runs upstream's scheduler_perf workloads on our API server, store and scheduler, and counts as upstream does.

    python bench/scheduler_perf.py ../shared/scheduler_perf/misc --workload 5000Nodes_10000Pods
    python bench/scheduler_perf.py ../shared/scheduler_perf --label performance --json out.json

PATH is a folder with a performance-config.yaml, or one above such folders; the files are read as they are. Nodes are
objects without kubelets, as upstream's. The API server, scheduler and whoever creates the objects share one process and
event loop; the store is the real one, a process of its own with a full sync a commit (``--store memory``: none).

Throughput is the measured pods divided by the time from the first to the last of their bindings. What differs from
upstream: admission is on (ServiceAccount, Priority, the taint of new nodes), so the runner creates a ServiceAccount in
each namespace, a PriorityClass for each priority that a template states, and takes the taint of new nodes away.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import resource
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import uvloop
import yaml
from perf_workloads import Workload, workloads

from cybernetes.core.auth.certificates import new_key_pem
from cybernetes.core.auth.keys import Key
from cybernetes.core.auth.user import User
from cybernetes.core.client.factory import InformerFactory
from cybernetes.core.clock import Random, SystemClock
from cybernetes.core.errors import ApiError, is_already_exists
from cybernetes.core.objects import NAMESPACES, NODES, PODS, PRIORITY_CLASSES, SERVICE_ACCOUNTS, SERVICES, Object, clone
from cybernetes.core.store.interface import Store
from cybernetes.core.store.memory import MemoryStore
from cybernetes.core.store.remote import RemoteStore
from cybernetes.services.apiserver.apiserver import ApiServer, Config, Listener
from cybernetes.services.common.directclient import DirectClient
from cybernetes.services.common.runner import settle_memory
from cybernetes.services.scheduler.scheduler import SchedulerService

IN_FLIGHT = 64
ADMIN = User("admin", groups=("system:masters",))
SCHEDULER = User("system:kube-scheduler", groups=("system:authenticated",))
KINDS = {"Node": NODES, "Pod": PODS, "Service": SERVICES, "Namespace": NAMESPACES}
#: What templates are filled in with.
_INDEX = "{{.Index}}"
#: Dynamic resource cases are not scheduled by this version.
_LEFT_OUT = ("SchedulingWithResourceClaim",)


@dataclass
class Result:
    case: str
    workload: str
    pods: int = 0
    seconds: float = 0.0
    pods_a_second: float = 0.0
    threshold: float = 0.0
    cpu_seconds: float = 0.0
    memory_mb: int = 0
    #: The machine's load average when the measured pods were begun: others' work slows ours.
    load: float = 0.0
    error: str = ""


@dataclass
class Runner:
    """One workload on one fresh cluster."""

    workload: Workload
    client: DirectClient
    scheduler: SchedulerService
    informers: InformerFactory
    result: Result
    namespaces: int = 0
    background: list[asyncio.Task[None]] = field(default_factory=list)
    bound: dict[str, float] = field(default_factory=dict)
    templates: dict[str, Object] = field(default_factory=dict)
    gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(IN_FLIGHT))

    async def run(self) -> None:
        informer = self.informers.informer(PODS)
        informer.add_handler(self._seen, lambda old, new: self._seen(new))
        try:
            for operation in self.workload.operations:
                await self._operation(operation)
        finally:
            for task in self.background:
                task.cancel()
            await asyncio.gather(*self.background, return_exceptions=True)

    def _seen(self, pod: Object) -> None:
        if pod["spec"].get("nodeName"):
            self.bound.setdefault(pod["metadata"]["uid"], time.perf_counter())

    async def _operation(self, operation: dict[str, Any]) -> None:
        code = operation["opcode"]
        if code == "createNodes":
            await self._create_nodes(operation)
        elif code == "createNamespaces":
            for number in range(self._count(operation)):
                await self._namespace(f"{operation['prefix']}-{number}", operation.get("namespaceTemplatePath"))
        elif code == "createPods":
            await self._create_pods(operation)
        elif code == "createPodSets":
            for number in range(self._count(operation)):
                inner = {**operation["createPodsOp"], "namespace": f"{operation['namespacePrefix']}-{number}"}
                await self._create_pods(inner)
        elif code == "churn":
            self.background.append(asyncio.create_task(self._churn(operation)))
        elif code == "barrier":
            await self._barrier(operation)
        elif code == "deletePods":
            task = asyncio.create_task(self._delete_pods(operation))
            self.background.append(task)
            if not operation.get("skipWaitToCompletion"):
                await task
        elif code == "createAny":
            await self._create_any(operation["templatePath"], operation.get("namespace") or "")
        else:
            raise ValueError(f"opcode {code} is not known")

    def _count(self, operation: dict[str, Any]) -> int:
        param = operation.get("countParam")
        return int(self.workload.params[param.removeprefix("$")] if param else operation.get("count", 0))

    def _template(self, path: str, index: int | None = None) -> Object:
        """A template's object; those that speak of ``{{.Index}}`` are different for each."""
        found = self.templates.get(path)
        if found is not None:
            return found
        text = (self.workload.folder / path).read_text()
        if _INDEX in text:
            found = yaml.safe_load(text.replace(_INDEX, str(index or 0)))
        else:
            found = self.templates[path] = yaml.safe_load(text)
        return found

    async def _gather(self, make: Any, count: int, what: str) -> list[Any]:
        """``count`` calls of ``make``, a bounded number at a time."""
        done = 0

        async def one(number: int) -> Any:
            nonlocal done
            async with self.gate:
                answer = await make(number)
            done += 1
            _progress(self.workload, what, done, count)
            return answer

        return await asyncio.gather(*(one(number) for number in range(count)))

    async def _create_nodes(self, operation: dict[str, Any]) -> None:
        path = operation.get("nodeTemplatePath") or "../templates/node-default.yaml"
        template = self._template(path)
        label = (operation.get("uniqueNodeLabelStrategy") or {}).get("labelKey")
        prepare = operation.get("labelNodePrepareStrategy") or {}
        taints = (template.get("spec") or {}).get("taints")

        async def create(number: int) -> None:
            node = clone(self._template(path, number))
            metadata = node["metadata"]
            if "generateName" in metadata:
                metadata["name"] = f"{metadata.pop('generateName')}{number}"
            labels = metadata.setdefault("labels", {})
            labels.setdefault("kubernetes.io/hostname", metadata["name"])
            if prepare:
                values = prepare["labelValues"]
                labels[prepare["labelKey"]] = values[number % len(values)]
            if label:
                labels[label] = f"{number}"
            status = node.setdefault("status", {})
            status.setdefault("allocatable", status.get("capacity"))
            status.pop("phase", None)
            await self.client.create(NODES, node)
            await self.client.patch(NODES, metadata["name"], {"spec": {"taints": taints}})

        count = self._count(operation)
        known = len(self.scheduler.engine.table)
        await self._gather(create, count, "nodes")
        while len(self.scheduler.engine.table) < known + count:
            await asyncio.sleep(0.01)

    async def _namespace(self, name: str, template: str | None = None) -> None:
        namespace = clone(self._template(template)) if template else {"metadata": {}}
        namespace["metadata"]["name"] = name
        try:
            await self.client.create(NAMESPACES, namespace)
            await self.client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "default", "namespace": name}}, name)
        except ApiError as error:
            if not is_already_exists(error):
                raise

    async def _pod(self, template: Object) -> Object:
        """As upstream's, with a class for a priority that it states."""
        pod = clone(template)
        priority = pod["spec"].pop("priority", None)
        if priority:
            name = f"priority-{priority}"
            pod["spec"]["priorityClassName"] = name
            try:
                await self.client.create(PRIORITY_CLASSES, {"metadata": {"name": name}, "value": priority})
            except ApiError as error:
                if not is_already_exists(error):
                    raise
        return pod

    async def _create_pods(self, operation: dict[str, Any]) -> None:
        path = operation.get("podTemplatePath") or self.workload.template or "../templates/pod-default.yaml"
        template = await self._pod(self._template(path))

        async def create(number: int) -> Object:
            given = template if path in self.templates else await self._pod(self._template(path, number))
            return await self.client.create(PODS, clone(given), namespace)

        self.namespaces += 1
        namespace = operation.get("namespace") or f"namespace-{self.namespaces}"
        await self._namespace(namespace)
        count = self._count(operation)
        is_measured = bool(operation.get("collectMetrics"))
        if is_measured:
            settle_memory()
        load = os.getloadavg()[0]
        cpu_s = _cpu_s()
        created = await self._gather(create, count, "pods")
        uids = [pod["metadata"]["uid"] for pod in created]
        if operation.get("skipWaitToCompletion"):
            return
        waiting = set(uids)
        while waiting := waiting - self.bound.keys():
            _progress(self.workload, "bound", count - len(waiting), count)
            await asyncio.sleep(0.05)
        if is_measured:
            times = sorted(self.bound[uid] for uid in uids)
            self.result.pods += count
            self.result.seconds += max(times[-1] - times[0], 1e-9)
            self.result.cpu_seconds += _cpu_s() - cpu_s
            self.result.load = max(self.result.load, load)

    async def _churn(self, operation: dict[str, Any]) -> None:
        """Objects that come at an interval, and with mode ``recreate`` go again."""
        interval_s = operation.get("intervalMilliseconds", 500) / 1000
        await self._namespace("churn")
        limit = operation.get("number") or 0
        made: list[list[tuple[Any, str]]] = []
        number = 0
        while True:
            batch = []
            for path in operation["templatePaths"]:
                batch.append(await self._create_any(path, "churn", number))
                number += 1
            made.append(batch)
            if operation.get("mode") == "recreate" and len(made) >= max(limit, 1):
                for gvr, name in made.pop(0):
                    namespace = "" if gvr in (NODES, NAMESPACES) else "churn"
                    await self.client.delete(gvr, name, namespace, grace_period_s=0)
            elif limit and len(made) >= limit:
                return
            await asyncio.sleep(interval_s)

    async def _create_any(self, path: str, namespace: str, number: int = 0) -> tuple[Any, str]:
        obj = clone(self._template(path))
        gvr = KINDS[obj["kind"]]
        if gvr is PODS:
            obj = await self._pod(obj)
        if namespace and gvr not in (NODES, NAMESPACES):
            await self._namespace(namespace)
        created = await self.client.create(gvr, obj, "" if gvr in (NODES, NAMESPACES) else namespace or "default")
        return gvr, created["metadata"]["name"]

    async def _barrier(self, operation: dict[str, Any]) -> None:
        """Until no pod waits for its first attempt (Attempted), or every pod has a node (Scheduled)."""
        queue = self.scheduler.engine.queue
        wants_all = (operation.get("stageRequirement") or "Scheduled") == "Scheduled"
        while queue.counts["active"] or queue.counts["in-flight"] or (wants_all and len(queue)):
            await asyncio.sleep(0.05)

    async def _delete_pods(self, operation: dict[str, Any]) -> None:
        namespace = operation["namespace"]
        page = await self.client.list(PODS, namespace)
        rate = operation.get("deletePodsPerSecond") or 0
        for pod in page.items:
            await self.client.delete(PODS, pod["metadata"]["name"], namespace)
            if rate:
                await asyncio.sleep(1 / rate)


async def run_one(workload: Workload, engine: str, directory: Path) -> Result:
    result = Result(workload.case, workload.name, threshold=workload.threshold)
    clock, random = SystemClock(), Random(1)
    process: asyncio.subprocess.Process | None = None
    store: Store
    if engine == "memory":
        store = MemoryStore()
    else:
        process, store = await _store_process(directory, random)
    server = ApiServer(
        store,
        clock,
        random,
        listeners=[Listener("127.0.0.1", 0)],
        config=Config(service_account_keys=[Key(new_key_pem(random))]),
    )
    try:
        await server.start()
        client = DirectClient(server, ADMIN, "scheduler-perf")
        sees = DirectClient(server, SCHEDULER, "kube-scheduler")
        informers = InformerFactory(sees, clock, random)
        scheduler = SchedulerService(sees, clock, random, informers=informers)
        await scheduler.start()
        runner = Runner(workload, client, scheduler, informers, result)
        informers.start()
        try:
            await runner.run()
        finally:
            await scheduler.stop()
            for informer in informers:
                await informer.stop()
    finally:
        await server.stop()
        if process is not None:
            process.terminate()
            await process.wait()
    result.pods_a_second = round(result.pods / result.seconds, 1) if result.seconds else 0.0
    result.seconds = round(result.seconds, 3)
    result.cpu_seconds = round(result.cpu_seconds, 3)
    result.memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return result


async def _store_process(directory: Path, random: Random) -> tuple[asyncio.subprocess.Process, Store]:
    """The store that ``cybernetes up`` starts, on a directory of its own."""
    socket = directory / "store.sock"
    code = (
        "import asyncio, sys; from pathlib import Path;"
        "from cybernetes.core.clock import SystemClock; from cybernetes.services.store.main import StoreServer\n"
        "async def main():\n"
        "    server = StoreServer(Path(sys.argv[1]), Path(sys.argv[2]), SystemClock())\n"
        "    await server.start(); print('ready', flush=True); await asyncio.Event().wait()\n"
        "asyncio.run(main())"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, str(directory / "store"), str(socket), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    await process.stdout.readline()
    return process, RemoteStore(socket, random=random)


def _cpu_s() -> float:
    usage, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime + children.ru_utime + children.ru_stime


def _progress(workload: Workload, what: str, done: int, of: int) -> None:
    if not sys.stderr.isatty() or (done % 50 and done != of):
        return
    width = 30
    filled = width * done // max(of, 1)
    line = f"{workload.case}/{workload.name}: {what} [{'#' * filled:<{width}}] {done}/{of}"
    print(f"\r{line:<110}", end="", file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Run upstream's scheduler_perf workloads.")
    parser.add_argument("path", type=Path, help="a performance-config.yaml, its folder, or one above")
    parser.add_argument("--case", action="append", default=[], help="only this test case; may be given again")
    parser.add_argument("--workload", action="append", default=[], help="only this workload; may be given again")
    parser.add_argument(
        "--label", action="append", default=[], help="only workloads with this label; may be given again"
    )
    parser.add_argument("--distinct", action="store_true", help="not those that differ in feature gates only")
    parser.add_argument("--pods-max", type=int, default=0, help="only workloads that measure at most so many pods")
    parser.add_argument("--store", choices=("lmdb", "memory"), default="lmdb")
    parser.add_argument("--json", type=Path, help="write the results here")
    options = parser.parse_args()
    chosen = [
        each
        for each in workloads(options.path)
        if (not options.case or each.case in options.case)
        and (not options.workload or each.name in options.workload)
        and set(options.label) <= set(each.labels)
        and not each.case.startswith(_LEFT_OUT)
    ]
    if options.pods_max:
        chosen = [each for each in chosen if int(each.params.get("measurePods") or 0) <= options.pods_max]
    if options.distinct:
        chosen = list({(each.case, json.dumps(each.params)): each for each in reversed(chosen)}.values())[::-1]
    if not chosen:
        print("no workload matches", file=sys.stderr)
        return 2
    results = []
    for workload in chosen:
        gc.unfreeze()
        gc.collect()
        with tempfile.TemporaryDirectory(prefix="scheduler-perf-") as directory:
            try:
                result = uvloop.run(run_one(workload, options.store, Path(directory)))
            except Exception as error:  # noqa: BLE001 - a workload that fails is a result
                result = Result(workload.case, workload.name, error=f"{type(error).__name__}: {error}")
        results.append(result)
        if sys.stderr.isatty():
            print("\r" + " " * 110 + "\r", end="", file=sys.stderr)
        wanted = f" (upstream's threshold {result.threshold:g})" if result.threshold else ""
        cpu_ms = 1000 * result.cpu_seconds / max(result.pods, 1)
        told = result.error or (
            f"{result.pods_a_second:8.1f} pods/s, {result.pods} pods in {result.seconds:.2f} s,"
            f" {cpu_ms:.2f} ms of CPU each{wanted}"
        )
        print(f"{result.case + '/' + result.workload:<75} {told}", flush=True)
    if options.json:
        options.json.write_text(json.dumps([asdict(each) for each in results], indent=2) + "\n")
    return 1 if any(each.error for each in results) else 0


if __name__ == "__main__":
    sys.exit(main())

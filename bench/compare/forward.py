"""The byte forwarder against HAProxy and nginx: the same work, the same place, one run.

Two pods on a bridge, and the proxy's namespace behind a veth, as on a node. Every contender listens on the same cluster
IP in that namespace, ours with its backend sockets on the host, as the service proxy does it. The client is in one pod,
the server (nginx, iperf3) in the other. ``direct`` is pod to pod, without anybody between; with ``ours nftables`` the
kernel translates and nobody runs.

    apt-get install haproxy nginx-light libnginx-mod-stream iperf3 wrk; python bench/compare/forward.py [--seconds 4]

Needs root. CPU is what the contender's own process used, and what the whole machine used (softirq work included).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from cybernetes.services.common import netns
from cybernetes.services.kubelet.network import PodNetwork
from cybernetes.services.proxy.namespace import ServiceNamespace

BRIDGE, INTERFACE = "cybcmp0", "cybcmp-proxy"
POD_CIDR, SERVICE_CIDR, CLUSTER_IP = "10.213.7.0/24", "10.99.0.0/16", "10.99.0.10"
BULK, WEB = 5201, 8080
MODULES = "/usr/lib/nginx/modules/ngx_stream_module.so"

OURS = """
import os, sys, signal
from cybernetes.ext.forward import Forwarder
from cybernetes.services.proxy.sockets import Place, open_all
backend, namespace = sys.argv[1], int(sys.argv[2])
forwarder = Forwarder()
for port in (5201, 8080):
    forwarder.set_target(str(port), [(backend, port)])
    forwarder.listen(open_all([Place(4, "TCP", "10.99.0.10", port)], namespace)[0], str(port))
signal.pause()
"""

PROBE = "import socket; socket.create_connection(('{address}', {port}), 1)"

HAPROXY = """
global
    nbthread {threads}
    maxconn 4096
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    {options}
listen bulk
    bind {ip}:5201
    server s {backend}:5201 source {ip}
listen web
    bind {ip}:8080
    server s {backend}:8080 source {ip}
"""

NGINX_STREAM = """
load_module {modules};
worker_processes {threads};
pid {directory}/stream.pid;
error_log {directory}/stream.log;
daemon off;
events {{ worker_connections 8192; }}
stream {{
    server {{ listen {ip}:5201; proxy_pass {backend}:5201; proxy_bind {ip}; proxy_buffer_size 256k; tcp_nodelay on; }}
    server {{ listen {ip}:8080; proxy_pass {backend}:8080; proxy_bind {ip}; tcp_nodelay on; }}
}}
"""

NGINX_WEB = """
worker_processes 1;
pid {directory}/web.pid;
error_log {directory}/web.log;
daemon off;
events {{ worker_connections 8192; }}
http {{
    access_log off; keepalive_requests 100000000; keepalive_timeout 600s;
    server {{ listen 8080 backlog=4096 reuseport; location / {{ return 200 "{body}"; }} }}
}}
"""


NFTABLES = """
import signal
from cybernetes.core.network.endpoints import Backend
from cybernetes.core.network.table import Binding, Changes, Frontend, Target
from cybernetes.services.proxy.nftables import KernelServices
import sys
kernel = KernelServices("cybernetes_compare", ["10.99.0.0/16"], ["10.213.0.0/16"], only_pods=True)
targets = {f"t:{port}/TCP/4": Target("t", "TCP", (Backend(sys.argv[1], port),)) for port in (5201, 8080)}
frontends = {
    Frontend(4, "TCP", "10.99.0.10", port): Binding(f"t:{port}/TCP/4", "ClusterIP") for port in (5201, 8080)
}
kernel.apply(Changes(targets, frontends))
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
signal.sigwait([signal.SIGTERM])
kernel.remove()
"""


def start(namespace: int | None, command: list[str], *, output: int = subprocess.PIPE) -> subprocess.Popen[str]:
    def run() -> subprocess.Popen[str]:
        return subprocess.Popen(command, stdout=output, stderr=subprocess.DEVNULL, text=True, pass_fds=[namespace or 0])

    return run() if namespace is None else netns.run_in(namespace, run)


@contextmanager
def process(namespace: int | None, command: list[str]) -> Iterator[subprocess.Popen[str]]:
    started = start(namespace, command, output=subprocess.DEVNULL)  # nobody reads it
    try:
        yield started
    finally:
        started.send_signal(signal.SIGTERM)
        try:
            started.wait(5)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


def cpu_of(root: int) -> float:
    """CPU seconds that a process and its children have used."""
    total = 0.0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(stat.parent.name) == root or int(fields[1]) == root:
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def cpu_of_machine() -> float:
    fields = [int(value) for value in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def iperf(client: int, address: str, streams: int, seconds: int) -> float:
    """Gigabits a second that arrived."""
    command = ["iperf3", "-J", "-c", address, "-t", str(seconds), "-P", str(streams)]
    for _ in range(20):
        output, _ = start(client, command).communicate(timeout=seconds + 90)
        received = json.loads(output).get("end", {}).get("sum_received")
        if received:  # else the server is still at the test before
            return float(received["bits_per_second"]) / 1e9
        time.sleep(0.2)
    raise SystemExit(f"iperf3 does not get through to {address}")


def wrk(client: int, address: str, connections: int, seconds: int, *headers: str) -> dict[str, float]:
    options = [part for header in headers for part in ("-H", header)]
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", *options, f"http://{address}:{WEB}/"]
    output, _ = start(client, command).communicate(timeout=seconds + 90)
    found = {"rate": float(re.search(r"Requests/sec:\s+([\d.]+)", output)[1])}  # type: ignore[index]
    scale = {"us": 1.0, "ms": 1e3, "s": 1e6}
    for percentile in ("50", "99"):
        match = re.search(rf"{percentile}%\s+([\d.]+)(us|ms|s)", output)
        assert match is not None
        found["p" + percentile] = float(match[1]) * scale[match[2]]
    return found


def measure(client: int, address: str, process_id: int | None, seconds: int) -> dict[str, float]:
    result: dict[str, float] = {}
    for streams in (1, 64):
        machine, own = cpu_of_machine(), cpu_of(process_id) if process_id else 0.0
        gigabits = iperf(client, address, streams, seconds)
        gigabytes = gigabits * seconds / 8
        result[f"Gb/s {streams}"] = gigabits
        result[f"own s/GB {streams}"] = ((cpu_of(process_id) if process_id else 0.0) - own) / gigabytes
        result[f"all s/GB {streams}"] = (cpu_of_machine() - machine) / gigabytes
    own = cpu_of(process_id) if process_id else 0.0
    busy = wrk(client, address, 32, seconds)
    result["req/s"] = busy["rate"]
    result["own µs/req"] = ((cpu_of(process_id) if process_id else 0.0) - own) / (busy["rate"] * seconds) * 1e6
    own = cpu_of(process_id) if process_id else 0.0
    fresh = wrk(client, address, 32, seconds, "Connection: close")
    result["conn/s"] = fresh["rate"]
    result["own µs/conn"] = ((cpu_of(process_id) if process_id else 0.0) - own) / (fresh["rate"] * seconds) * 1e6
    single = wrk(client, address, 1, seconds)
    result["p50 µs"], result["p99 µs"] = single["p50"], single["p99"]
    return result


def contenders(directory: Path, backend: str, namespace: int) -> dict[str, tuple[int | None, list[str]]]:
    values = {"ip": CLUSTER_IP, "backend": backend, "threads": os.cpu_count(), "directory": directory}
    result: dict[str, tuple[int | None, list[str]]] = {
        "ours": (None, [sys.executable, "-c", OURS, backend, str(namespace)]),
        "ours nftables": (None, [sys.executable, "-c", NFTABLES, backend]),
    }
    if shutil.which("haproxy"):
        for name, options in (("haproxy", ""), ("haproxy splice", "option splice-auto")):
            file = directory / (name.replace(" ", "-") + ".cfg")
            file.write_text(HAPROXY.format(options=options, **values))
            result[name] = (namespace, ["haproxy", "-db", "-f", str(file)])
    if shutil.which("nginx") and Path(MODULES).exists():
        file = directory / "stream.conf"
        file.write_text(NGINX_STREAM.format(modules=MODULES, **values))
        result["nginx stream"] = (namespace, ["nginx", "-c", str(file)])
    return result


async def wait_for(client: int, address: str) -> None:
    for _ in range(200):
        probe = start(client, [sys.executable, "-c", PROBE.format(address=address, port=WEB)])
        if await asyncio.to_thread(probe.wait) == 0:
            return
    raise SystemExit(f"nobody answers at {address}")


async def compare(seconds: int, only: list[str], rounds: int) -> None:
    network = PodNetwork(bridge=BRIDGE, cluster_cidrs=["10.213.0.0/16", SERVICE_CIDR])
    services = ServiceNamespace([SERVICE_CIDR], interface=INTERFACE)
    await network.remove()  # what an interrupted run may have left
    with ExitStack() as stack:
        await network.configure([POD_CIDR])
        try:
            services.open()
            stack.callback(services.close)
            server, client = netns.create_namespace(), netns.create_namespace()
            backend = (await network.attach("server", f"/proc/self/fd/{server}"))[0]
            await network.attach("client", f"/proc/self/fd/{client}")
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            web = directory / "web.conf"
            web.write_text(NGINX_WEB.format(directory=directory, body="x" * 64))
            stack.enter_context(process(server, ["nginx", "-c", str(web)]))
            stack.enter_context(process(server, ["iperf3", "-s"]))
            await wait_for(client, backend)
            rows: list[tuple[str, dict[str, float]]] = []
            for _ in range(rounds):
                if not only or "direct" in only:
                    rows.append(("direct", await asyncio.to_thread(measure, client, backend, None, seconds)))
                for name, (place, command) in contenders(directory, backend, services.descriptor).items():
                    if only and name not in only:
                        continue
                    if place is None:
                        os.set_inheritable(services.descriptor, True)
                        started = subprocess.Popen(
                            command, stdout=subprocess.PIPE, text=True, pass_fds=[services.descriptor]
                        )
                    else:
                        started = start(place, command)
                    try:
                        await wait_for(client, CLUSTER_IP)
                        row = await asyncio.to_thread(measure, client, CLUSTER_IP, started.pid, seconds)
                        rows.append((name, row))
                        print(name, {key: round(value, 3) for key, value in row.items()}, flush=True)
                    finally:
                        started.terminate()
                        started.wait()
            show(rows)
        finally:
            await network.remove()


def show(rows: list[tuple[str, dict[str, float]]]) -> None:
    names = list(rows[0][1])
    print("".ljust(16) + "".join(name.rjust(13) for name in names))
    for name, row in rows:
        print(name.ljust(16) + "".join(f"{row[column]:13,.3f}" for column in names))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", action="append", default=[])
    arguments = parser.parse_args()
    began = time.monotonic()
    asyncio.run(compare(arguments.seconds, arguments.only, arguments.rounds))
    print(f"{time.monotonic() - began:.0f} s")

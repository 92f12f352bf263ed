"""Real clusters for the end-to-end tests: ``cybernetes up`` with data of its own, the real kubectl at its door."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

BIN = Path(sys.executable).parent
CYBERNETES = str(BIN / "cybernetes")
KUBECTL = str(BIN / "kubectl")


class Finished:
    """A command that has ended."""

    def __init__(self, result: subprocess.CompletedProcess[str]) -> None:
        self.code = result.returncode
        self.out = result.stdout
        self.err = result.stderr

    def __repr__(self) -> str:
        return f"code {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


class Cluster:
    """One cluster, from ``up`` to ``down``."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        #: What a node was started with, to start it again.
        self.node_options: tuple[str, ...] = ()
        self.environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig), "HOME": str(data_dir.parent)}

    @property
    def kubeconfig(self) -> Path:
        return self.data_dir / "admin.kubeconfig"

    def cybernetes(self, *arguments: str, timeout_s: float = 120, check: bool = True) -> Finished:
        command = [CYBERNETES, arguments[0], "--data-dir", str(self.data_dir), *arguments[1:]]
        return self.run(command, timeout_s=timeout_s, check=check)

    def up(self, *options: str, check: bool = True) -> Finished:
        finished = self.cybernetes("up", "--detach", "--port", "0", *options, check=False)
        assert not check or finished.code == 0, f"up {' '.join(options)}: {finished}\n{self.logs()}"
        return finished

    def down(self) -> None:
        self.cybernetes("down")

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout_s: float = 60, check: bool = True) -> Finished:
        return self.run([KUBECTL, *arguments], stdin=stdin, timeout_s=timeout_s, check=check)

    def get(self, *arguments: str) -> Any:
        """``kubectl get … -o json``, parsed."""
        return json.loads(self.kubectl("get", *arguments, "-o", "json").out)

    def run(
        self, command: list[str], *, stdin: str | None = None, timeout_s: float = 60, check: bool = True
    ) -> Finished:
        result = subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=timeout_s, env=self.environment
        )
        finished = Finished(result)
        assert not check or finished.code == 0, f"{' '.join(command)}: {finished}"
        return finished

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """kubectl in the background."""
        return subprocess.Popen(
            [KUBECTL, *arguments],
            env=self.environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def processes(self) -> dict[str, int]:
        """The parts that run for this data directory: name -> pid."""
        found = {}
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if str(self.data_dir).encode() not in words:
                continue
            for program, command in pairwise(words):
                if program == b"cybernetes" or program.endswith(b"/cybernetes"):
                    found[command.decode()] = int(folder.name)
        return found

    def logs(self) -> str:
        return "\n".join(f"== {path.name}\n{path.read_text()[-4000:]}" for path in self.data_dir.glob("logs/*.log"))


def eventually(what: Callable[[], Any], timeout_s: float = 30.0) -> Any:
    """The first true answer of ``what``. For the world outside, which cannot call back."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            answer = what()
        except AssertionError:
            if time.monotonic() > deadline:
                raise
            answer = None
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(0.05)

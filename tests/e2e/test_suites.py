"""The test suites of projects that we do not own, against a cluster in the test's own process.

Left out is what needs more than an API server: containers that run programs (exec, logs, ports), the client
certificates and the extra fixtures of kind.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

#: Needs programs in containers, kind's certificates, or a fixture that the installed package leaves out.
KR8S_LEFT_OUT = (
    "exec", "logs", "port", "ubuntu", "nginx", "proxy", "certs", "dynamic", "adoption",
    # A timeout of 0.00001 s that must be met; a client's module that newer versions do not have.
    "api_timeout", "cast_to_from_kubernetes",
    # Waits for a deleted pod to be not ready; a simulated one is gone at once.
    "test_pod_wait_ready",
)  # fmt: skip


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_kr8s(tmp_path: Path) -> None:
    import kr8s

    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"
        f"pythonpath = {Path(__file__).parents[1] / 'support'}\n"
    )
    suite = Path(kr8s.__file__).parent / "tests"
    command = [sys.executable, "-m", "pytest", "-c", tmp_path / "pytest.ini", "-p", "kindcluster", suite, "-q"]
    command += ["--ignore", suite / "test_io.py", "--timeout", "120", "-p", "no:looptime"]
    command += ["-k", " and ".join(f"not {word}" for word in KR8S_LEFT_OUT)]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout[-5000:]

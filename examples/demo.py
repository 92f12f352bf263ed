"""``make demo``: a one-node cluster, a Deployment of three, a Service in front, and the answers going round."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
CYBERNETES = Path(sys.executable).with_name("cybernetes")
REQUESTS = 6

ASK = """
import sys, urllib.request
for _ in range(int(sys.argv[2])):
    with urllib.request.urlopen(f"http://{sys.argv[1]}/", timeout=5) as answer:
        print("  ", answer.read().decode().strip())
"""


def run(*command: str | Path) -> None:
    print("$", " ".join(str(word) if word != CYBERNETES else "cybernetes" for word in command), flush=True)
    subprocess.run(command, check=True)


def kubectl(*arguments: str) -> str:
    return subprocess.run(
        [CYBERNETES, "kubectl", *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


def runtime() -> str:
    """Processes where they can be isolated, else simulated pods, which answer nobody."""
    if os.geteuid() == 0:
        return "process"
    probe = subprocess.run(["unshare", "-Urnm", "true"], capture_output=True)
    if probe.returncode == 0:
        return "process"
    print("This user can make no user namespaces, so the pods are simulated: they run, and nothing answers.")
    return "simulated"


def main() -> int:
    chosen = runtime()
    run(CYBERNETES, "up", "--detach", "--runtime", chosen)
    run(CYBERNETES, "kubectl", "apply", "-f", HERE / "hello.yaml")
    run(CYBERNETES, "kubectl", "rollout", "status", "deployment/hello", "--timeout=60s")
    run(CYBERNETES, "kubectl", "get", "pods", "-o", "wide")
    if chosen == "process":
        address = kubectl("get", "service", "hello", "-o", "jsonpath={.spec.clusterIP}")
        print(f"$ curl http://{address}/   ({REQUESTS} times)", flush=True)
        subprocess.run([CYBERNETES, "shell", sys.executable, "-c", ASK, address, str(REQUESTS)], check=True)
    print(f"""
The cluster is up. Look around:
  export KUBECONFIG=~/.cybernetes/admin.kubeconfig PATH={CYBERNETES.parent}:$PATH
  kubectl get all -A
  kubectl logs deployment/hello
  kubectl exec deployment/hello -- hostname
  kubectl scale deployment/hello --replicas=5
Stop it with: make down""")
    return 0


if __name__ == "__main__":
    sys.exit(main())

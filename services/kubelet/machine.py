"""What this machine is, read from /proc and /sys once at start. Every file may be missing (containers, namespaces)."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path

from cybernetes.core.kubelet.node import Machine

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "ppc64le": "ppc64le", "s390x": "s390x"}


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return ""


def _memory_info() -> dict[str, int]:
    """/proc/meminfo, in bytes where it says kB."""
    result: dict[str, int] = {}
    for line in _read("/proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdigit():
            result[name] = int(words[0]) * (1024 if words[1:] == ["kB"] else 1)
    return result


def _os_image() -> str:
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        for line in _read(path).splitlines():
            if line.startswith("PRETTY_NAME="):
                return line.partition("=")[2].strip("\"'")
    return platform.system()


def _hugepages() -> dict[str, int]:
    """Page size as Kubernetes writes it to the bytes that are set aside."""
    result: dict[str, int] = {}
    root = Path("/sys/kernel/mm/hugepages")
    for folder in sorted(root.iterdir()) if root.is_dir() else ():
        size = folder.name.removeprefix("hugepages-").removesuffix("kB")
        if not size.isdigit():
            continue
        kilobytes = int(size)
        name = f"{kilobytes >> 20}Gi" if kilobytes % (1 << 20) == 0 else f"{kilobytes >> 10}Mi"
        number = _read(str(folder / "nr_hugepages"))
        result[name] = int(number) * kilobytes * 1024 if number.isdigit() else 0
    return result


def memory_available() -> int:
    """Bytes that could still be given out without swapping."""
    return _memory_info().get("MemAvailable", 0)


def memory_total() -> int:
    return _memory_info().get("MemTotal", 0)


def cpu_used_ns() -> int:
    """Processor time that all processors of the machine have spent on work since it started, in ns."""
    words = _read("/proc/stat").partition("\n")[0].split()
    if len(words) < 9 or words[0] != "cpu":
        return 0
    user, nice, system, _idle, _waiting, *interrupts_and_stolen = (int(word) for word in words[1:9])
    ticks = user + nice + system + sum(interrupts_and_stolen)
    return ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def read_machine(root: Path) -> Machine:
    """``root`` is where pods' volumes are: the file system that ephemeral storage is counted on."""
    memory = _memory_info()
    try:
        disk = shutil.disk_usage(root).total
    except OSError:
        disk = 0
    kernel = platform.uname()
    return Machine(
        cpus=len(os.sched_getaffinity(0)),
        memory=memory.get("MemTotal", 0),
        ephemeral_storage=disk,
        architecture=_ARCHITECTURES.get(kernel.machine, kernel.machine),
        kernel_version=kernel.release,
        os_image=_os_image(),
        machine_id=_read("/etc/machine-id"),
        system_uuid=_read("/sys/class/dmi/id/product_uuid") or _read("/etc/machine-id"),
        boot_id=_read("/proc/sys/kernel/random/boot_id"),
        swap=memory.get("SwapTotal", 0),
        hugepages=_hugepages(),
    )

"""Linux capabilities by name, and those that this machine keeps from its processes.

A virtual machine or container that we run in may withhold some, most often SYS_RESOURCE. No engine can grant these, and
one that is asked for all fails; whoever asks for all then gets what there is.
"""

from __future__ import annotations

from pathlib import Path

#: In the kernel's order; without CAP_.
CAPABILITIES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
    "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN "
    "SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE "
    "MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
).split()


def withheld() -> tuple[str, ...]:
    """What the kernel knows and no process that we start can have."""
    bounding = int(Path("/proc/self/status").read_text().partition("CapBnd:")[2].split()[0], 16)
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    return tuple(name for number, name in enumerate(CAPABILITIES) if number <= last and not bounding >> number & 1)

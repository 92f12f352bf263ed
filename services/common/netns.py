"""Work in another network namespace.

A namespace belongs to a thread, and sockets stay in the namespace in which they were made. So whatever has to be
opened elsewhere (listeners of the proxy, netlink sockets of a pod) is opened by a short-lived thread that enters the
namespace, and the descriptors are used from anywhere. No thread of the event loop ever changes its namespace; a process
that is to live in another one enters it before it has a loop.

Namespaces are held by a descriptor and have no name in /run: when the last holder is gone (also killed), the kernel
takes down what is inside, and nothing needs to be cleaned up. This also works inside a user namespace, where /run is
not writable.
"""

from __future__ import annotations

import ctypes
import functools
import os
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

CLONE_NEWNET = 0x40000000
CLONE_NEWUTS = 0x04000000

T = TypeVar("T")


def open_namespace(path: str | Path) -> int:
    """A descriptor that holds the namespace at ``path``: ``/proc/PID/ns/net`` or a file in /run/netns. Close it."""
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def is_same_namespace(path: str | Path, other: str | Path) -> bool:
    """Whether both lead to one namespace. Raises FileNotFoundError, for one also when its process has ended."""
    return Path(path).stat().st_ino == Path(other).stat().st_ino


def create_namespace() -> int:
    """A descriptor that holds a new, empty network namespace; it lives as long as the descriptor. 1 to 3 ms.

    Raises PermissionError without CAP_SYS_ADMIN in the current user namespace.
    """

    def make() -> int:
        _check(_libc().unshare(CLONE_NEWNET), "unshare")
        return open_namespace(f"/proc/self/task/{threading.get_native_id()}/ns/net")

    return _in_new_thread(make)


def run_in(namespace: int, function: Callable[..., T], *arguments: Any) -> T:
    """Call ``function`` in the namespace that the descriptor ``namespace`` holds; its result or exception is returned.

    It runs in a thread of its own (80 µs) while the caller waits. Processes that it starts are in the namespace too.
    """

    def enter() -> T:
        _check(_libc().setns(namespace, CLONE_NEWNET), "setns")
        return function(*arguments)

    return _in_new_thread(enter)


def enter(namespace: int) -> None:
    """Live in the namespace that the descriptor holds from here on; threads that are started later do, too.

    Only while the process has one thread: others would stay where they are. Raises OSError.
    """
    _check(_libc().setns(namespace, CLONE_NEWNET), "setns")


def take_hostname(name: str) -> None:
    """Give this process and those that it will start a hostname of their own. Only while the process has one thread."""
    _check(_libc().unshare(CLONE_NEWUTS), "unshare")
    socket.sethostname(name)


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int, call: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")


def _in_new_thread(function: Callable[[], T]) -> T:
    # A thread is used once: one that has entered a namespace never comes back to serve something else.
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="network namespace") as thread:
        return thread.submit(function).result()

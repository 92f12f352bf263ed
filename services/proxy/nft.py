"""Load an nftables transaction: all of it or nothing.

The library of the ``nft`` command does it, in this process: 1 to 2 ms where starting the command takes 15 to 45,
whatever the ruleset holds. The command is started for what is large, as the library would keep 15 KB a Service of
memory here, and where there is no library.
"""

from __future__ import annotations

import ctypes
import functools
import shutil
import subprocess
import threading

_TIMEOUT_S = 60.0
_EXPLANATION_MAX = 500
_LARGE = 1 << 18
#: The library does not say that threads may share it.
_LOCK = threading.Lock()


class NftFailure(OSError):
    """nft is missing, or refused a transaction; the message says why."""


def is_installed() -> bool:
    return _library() is not None or shutil.which("nft") is not None


def load(text: str) -> str:
    """Load one transaction into the network namespace of this thread. Returns what was wrong, empty for nothing."""
    library = _library()
    if library is not None and (len(text) < _LARGE or shutil.which("nft") is None):
        return _load_here(library, text)
    try:
        done = subprocess.run(
            ["nft", "-f", "-"], input=text, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if done.returncode == 0 else done.stderr.strip()[:_EXPLANATION_MAX] or f"exit code {done.returncode}"


def _load_here(library: ctypes.CDLL, text: str) -> str:
    with _LOCK:
        context = library.nft_ctx_new(0)
        if not context:
            return "libnftables gives no context"
        try:
            library.nft_ctx_buffer_error(context)
            library.nft_ctx_buffer_output(context)
            if library.nft_run_cmd_from_buffer(context, text.encode()) == 0:
                return ""
            said: bytes = library.nft_ctx_get_error_buffer(context) or b""
            return said.decode(errors="replace").strip()[:_EXPLANATION_MAX] or "refused without a reason"
        finally:
            library.nft_ctx_free(context)


@functools.cache
def _library() -> ctypes.CDLL | None:
    """libnftables (libnftables(3)), or None where there is none."""
    try:
        library = ctypes.CDLL("libnftables.so.1")
    except OSError:
        return None
    for name in ("ctx_free", "ctx_buffer_error", "ctx_buffer_output", "ctx_get_error_buffer"):
        getattr(library, f"nft_{name}").argtypes = [ctypes.c_void_p]
    library.nft_ctx_free.restype = None
    library.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
    library.nft_ctx_new.argtypes, library.nft_ctx_new.restype = [ctypes.c_uint32], ctypes.c_void_p
    library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    return library


def table_of(interface: str, suffix: str = "") -> str:
    """The table of the node whose interface this is: nodes of several clusters may share a host."""
    return "cybernetes_" + "".join(letter if letter.isalnum() else "_" for letter in interface) + suffix

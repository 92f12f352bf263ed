"""Load an nftables transaction: ``nft -f``, which takes all of it or nothing."""

from __future__ import annotations

import shutil
import subprocess

_TIMEOUT_S = 60.0


class NftFailure(OSError):
    """nft is missing, or refused a transaction; the message says why."""


def is_installed() -> bool:
    return shutil.which("nft") is not None


def load(text: str) -> str:
    """Load one transaction, 10 to 20 ms. Returns what nft said was wrong, empty for nothing."""
    try:
        done = subprocess.run(
            ["nft", "-f", "-"], input=text, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if done.returncode == 0 else done.stderr.strip()[:500] or f"exit code {done.returncode}"


def table_of(interface: str, suffix: str = "") -> str:
    """The table of the node whose interface this is: nodes of several clusters may share a host."""
    return "cybernetes_" + "".join(letter if letter.isalnum() else "_" for letter in interface) + suffix

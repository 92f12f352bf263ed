"""The audit log: an event a line, as JSON, in a file that is put aside when it is full, or on the standard output.

    audit.log                                 the one that is written
    audit-2026-11-24T10-00-00.000.log         full ones: at most ``backups``, none older than ``age_days``

A line is written before the answer that it tells of has left the process: nothing is queued.
"""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from cybernetes.core.clock import Clock, format_time, parse_time

log = logging.getLogger(__name__)

_DAY_S = 86400.0


@dataclass(frozen=True, slots=True)
class LogFile:
    """``path`` "-" is the standard output. A limit of 0 is none."""

    path: str
    size_mb_max: int = 100
    backups: int = 0
    age_days: int = 0


class AuditLog:
    """``open`` before the first event, ``close`` after the last."""

    def __init__(self, settings: LogFile, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._file: BinaryIO | None = None
        self._size = 0

    def open(self) -> None:
        """Raises OSError."""
        if self._settings.path == "-":
            self._file = sys.stdout.buffer
            return
        path = Path(self._settings.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)
        path.chmod(0o600)
        self._size = path.stat().st_size

    def close(self) -> None:
        if self._file is not None and self._settings.path != "-":
            self._file.close()
        self._file = None

    def write(self, event: bytes) -> None:
        """One event, without its line end. What cannot be written is told of in the server's own log."""
        if self._file is None:
            return
        line = event + b"\n"
        try:
            limit = self._settings.size_mb_max << 20
            if limit and self._size + len(line) > limit and self._size and self._settings.path != "-":
                self._rotate()
            self._file.write(line)
            self._size += len(line)
            if self._settings.path == "-":
                self._file.flush()
        except OSError as error:
            log.error("an audit event could not be written: %s", error)

    def _rotate(self) -> None:
        path = Path(self._settings.path)
        assert self._file is not None
        self._file.close()
        now = self._clock.now()
        stamp = f"{format_time(now)[:-1]}.{int(now * 1000) % 1000:03d}".replace(":", "-")
        path.rename(path.with_name(f"{path.stem}-{stamp}{path.suffix}"))
        self._file = path.open("ab", buffering=0)
        path.chmod(0o600)
        self._size = 0
        self._forget(path, now)

    def _forget(self, path: Path, now: float) -> None:
        """Delete full files that are too many or too old."""
        kept = sorted(path.parent.glob(f"{path.stem}-*{path.suffix}"), reverse=True)
        for index, each in enumerate(kept):
            is_surplus = bool(self._settings.backups) and index >= self._settings.backups
            made = _time_of(each.stem.removeprefix(f"{path.stem}-"))
            is_old = bool(self._settings.age_days) and made < now - self._settings.age_days * _DAY_S
            if is_surplus or is_old:
                each.unlink(missing_ok=True)


def _time_of(stamp: str) -> float:
    """When a file was put aside, from its name; now and later for names that are not ours."""
    date, _, time = stamp.partition("T")
    try:
        return parse_time(f"{date}T{time.partition('.')[0].replace('-', ':')}Z")
    except ValueError:
        return float("inf")

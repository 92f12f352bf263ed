"""The time of day for code under virtual time that does not ask the event loop: ``time.time()``, ``datetime.now()``.

An operator that writes down when it will try again, and compares that with ``datetime.now()`` (kopf does), would wait
for the wall and not for the cluster. So, while a cluster is on virtual time, both give its time to code that runs in
the cluster's loop, or in a thread that works for it. The real one is still given to the standard library (log records,
temporary files), to pytest and to this library, which know what they ask for, and to every other thread.

The names are replaced where they live, in ``time`` and ``datetime``, and in the modules of those who took them by
``from … import …``, libraries excepted. What is returned is a plain ``datetime``.
"""

from __future__ import annotations

import datetime
import sys
import sysconfig
import threading
import time
from typing import TYPE_CHECKING, Any

import cybernetes

if TYPE_CHECKING:
    from cybernetes.services.testing.virtualtime import VirtualTime

_PATHS = sysconfig.get_paths()
_STANDARD = (_PATHS["stdlib"], _PATHS["platstdlib"])
_INSTALLED = (_PATHS["purelib"], _PATHS["platlib"])
_EXEMPT = tuple(f"{path}/{name}" for path in _INSTALLED for name in ("_pytest/", "pytest", "hypothesis/", "xdist/"))
#: Threads that work for a loop.
_POOLS = ("asyncio_", "ThreadPoolExecutor", "AnyIO worker thread")
_REAL_TIME = time.time  # noqa: TID251  # what is replaced here
_REAL_DATETIME = datetime.datetime


def is_library(filename: str) -> bool:
    """Whether code is of the standard library or installed."""
    return filename.startswith((*_STANDARD, *_INSTALLED, "<"))


def is_ours(filename: str) -> bool:
    """Whether code is of this library, in a checkout too."""
    root = cybernetes.__file__.removesuffix("cybernetes/__init__.py")
    return filename.startswith(tuple(f"{root}{name}/" for name in ("core", "services", "ext", "cybernetes")))


class WallClock:
    """In place from ``start`` to ``stop``. One at a time: the innermost cluster's."""

    def __init__(self, source: VirtualTime) -> None:
        self._source = source
        self._thread = 0
        self._files: dict[str, bool] = {}
        self._replaced: list[tuple[Any, str, Any]] = []

    def start(self) -> None:
        self._thread = threading.get_ident()
        clock = self

        def virtual_time() -> float:
            return clock._source.now() if clock._is_for(sys._getframe(1).f_code.co_filename) else _REAL_TIME()

        class _Kind(type):
            """Instances are plain datetimes, and they are instances of this."""

            def __instancecheck__(cls, instance: Any) -> bool:
                return isinstance(instance, _REAL_DATETIME)

            def __subclasscheck__(cls, other: type) -> bool:
                return issubclass(other, _REAL_DATETIME)

        class VirtualDatetime(_REAL_DATETIME, metaclass=_Kind):
            __slots__ = ()  # as large as the real one: extension modules look

            def __new__(cls, *arguments: Any, **options: Any) -> Any:
                return _REAL_DATETIME(*arguments, **options)

            @classmethod
            def now(cls, tz: datetime.tzinfo | None = None) -> Any:
                if clock._is_for(sys._getframe(1).f_code.co_filename):
                    return _REAL_DATETIME.fromtimestamp(clock._source.now(), tz)
                return _REAL_DATETIME.now(tz)

            @classmethod
            def utcnow(cls) -> Any:
                if clock._is_for(sys._getframe(1).f_code.co_filename):
                    return _REAL_DATETIME.fromtimestamp(clock._source.now(), datetime.UTC).replace(tzinfo=None)
                return _REAL_DATETIME.now(datetime.UTC).replace(tzinfo=None)

            @classmethod
            def today(cls) -> Any:
                return cls.now()

        for name in ("fromtimestamp", "fromisoformat", "strptime", "combine", "fromordinal", "utcfromtimestamp"):
            setattr(VirtualDatetime, name, staticmethod(getattr(_REAL_DATETIME, name)))
        for name in ("min", "max", "resolution"):
            setattr(VirtualDatetime, name, getattr(_REAL_DATETIME, name))
        self._replace(time, "time", virtual_time)
        self._replace(datetime, "datetime", VirtualDatetime)
        for module in list(sys.modules.values()):
            filename = getattr(module, "__file__", None)
            if not filename or is_library(filename) or is_ours(filename):
                continue
            for name, value in list(vars(module).items()):
                if value is _REAL_TIME:
                    self._replace(module, name, virtual_time)
                elif value is _REAL_DATETIME:
                    self._replace(module, name, VirtualDatetime)

    def stop(self) -> None:
        for owner, name, value in reversed(self._replaced):
            setattr(owner, name, value)
        self._replaced.clear()

    def _replace(self, owner: Any, name: str, value: Any) -> None:
        self._replaced.append((owner, name, getattr(owner, name)))
        setattr(owner, name, value)

    def _is_for(self, filename: str) -> bool:
        if threading.get_ident() != self._thread and not threading.current_thread().name.startswith(_POOLS):
            return False
        known = self._files.get(filename)
        if known is None:
            is_standard = filename.startswith((*_STANDARD, "<")) and not filename.startswith(_INSTALLED)
            known = not is_standard and not filename.startswith(_EXEMPT) and not is_ours(filename)
            self._files[filename] = known
        return known

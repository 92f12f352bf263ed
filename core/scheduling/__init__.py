"""The scheduler as a library: nodes as columns, plugins, queue, preemption, explanations. No I/O."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cybernetes.core.scheduling.explanation import Explanation
    from cybernetes.core.scheduling.profile import Profile, ProfileError
    from cybernetes.core.scheduling.scheduler import Placement, Scheduler

__all__ = ["Explanation", "Placement", "Profile", "ProfileError", "Scheduler"]

_HOMES = {
    "Explanation": "explanation",
    "Placement": "scheduler",
    "Profile": "profile",
    "ProfileError": "profile",
    "Scheduler": "scheduler",
}


def __getattr__(name: str) -> Any:  # on first use: it brings numpy
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"cybernetes.core.scheduling.{home}"), name)

"""One copy of every module, under whichever name it is imported.

In a checkout the folders ``core``, ``ext`` and ``services`` stand at the top, so ``import core.labels`` finds them
there. Left alone, Python would load a second copy beside ``cybernetes.core.labels``: every class would exist twice and
``isinstance`` would lie. ``adopt`` makes the short name another name for the same modules.
"""

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class _Alias(MetaPathFinder, Loader):
    def __init__(self, short_name: str) -> None:
        self.prefix = short_name + "."

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname.startswith(self.prefix) else None

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__
        sys.modules[name] = importlib.import_module("cybernetes." + name)


def adopt(short_name: str) -> None:
    """Make ``short_name`` and everything below it another name for ``cybernetes.<short_name>``."""
    sys.meta_path.insert(0, _Alias(short_name))
    sys.modules[short_name] = importlib.import_module("cybernetes." + short_name)

"""Every plugin that is on by default, in the order in which upstream asks them."""

from __future__ import annotations

from cybernetes.core.admission.contract import Mutating, Validating
from cybernetes.core.admission.namespace_lifecycle import NamespaceLifecycle
from cybernetes.core.admission.service_account import ServiceAccount

#: One instance serves all clusters of the process: plugins have no state.
PLUGINS: tuple[Mutating | Validating, ...] = (
    NamespaceLifecycle(),
    ServiceAccount(),
)

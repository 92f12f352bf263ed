"""What is accepted and should be done otherwise: deprecated fields, and values that hardly mean what they say.

Each function takes an object that is about to be stored and returns texts for Warning headers, as upstream words them.
"""

from __future__ import annotations

from collections.abc import Mapping

from cybernetes.core.objects import Gvk

#: Kinds that are deprecated as a whole: any request for them is warned about.
DEPRECATED: Mapping[Gvk, str] = {
    Gvk("", "v1", "Endpoints"): "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
    Gvk("", "v1", "ComponentStatus"): "v1 ComponentStatus is deprecated in v1.19+",
}

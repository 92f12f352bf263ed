"""DenyServiceExternalIPs: no Service takes an external address that it does not have already (CVE-2020-8554)."""

from __future__ import annotations

from cybernetes.core.admission.contract import Attributes, Reader, refused
from cybernetes.core.objects import SERVICES


class DenyServiceExternalIPs:
    """Off unless asked for. What a Service has may stay, or go one by one.

    Source: documentation "Admission Control in Kubernetes", DenyServiceExternalIPs.
    """

    name = "DenyServiceExternalIPs"

    def validate(self, attributes: Attributes, cluster: Reader) -> None:
        """Raises ApiError 403."""
        if (
            attributes.obj is None
            or attributes.operation not in ("CREATE", "UPDATE")
            or not attributes.is_for(SERVICES)
        ):
            return
        had = ((attributes.old or {}).get("spec") or {}).get("externalIPs") or ()
        if not set(attributes.obj["spec"].get("externalIPs") or ()).issubset(had):
            raise refused(attributes, "Use of external IPs is denied by admission control")

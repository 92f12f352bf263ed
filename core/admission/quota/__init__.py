"""Resource quota: what objects use, which quotas count them, and whether there is room.

``checking`` decides about a write; ``usage`` says what objects use, and is what the quota controller adds up.
"""

from cybernetes.core.admission.quota.checking import ResourceQuota, charged
from cybernetes.core.admission.quota.usage import is_counted, matches, resource_names, usage

__all__ = ["ResourceQuota", "charged", "is_counted", "matches", "resource_names", "usage"]

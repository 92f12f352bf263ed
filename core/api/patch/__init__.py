"""Patches: what PATCH makes of an object, in each of the forms that clients send. Inputs are never changed.

JSON patch           a list of operations (RFC 6902)
merge patch          an object that is laid over the other, null removing a field (RFC 7386)
strategic merge      a merge patch that knows from the schema how lists are merged; built-in kinds only
"""

from cybernetes.core.api.patch.json_patch import OPERATIONS_MAX, apply_json_patch
from cybernetes.core.api.patch.merge import apply_merge_patch
from cybernetes.core.api.patch.strategic import apply_strategic_merge_patch
from cybernetes.core.api.patch.undecodable import undecodable, undecodable_strategic

__all__ = [
    "OPERATIONS_MAX",
    "apply_json_patch",
    "apply_merge_patch",
    "apply_strategic_merge_patch",
    "undecodable",
    "undecodable_strategic",
]

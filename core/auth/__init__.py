"""Who asks, and what they may do. No I/O: certificates, tokens and RBAC as functions of what was read elsewhere."""

from cybernetes.core.auth.user import User

__all__ = ["User"]

"""Custom resources as they are served: definitions followed, their conditions written, instances converted and deleted.

What a definition means is core/api/custom; this is what has to reach for the store, the registry and webhooks.
"""

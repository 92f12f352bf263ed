from typing import Any

def pod_key(
    pod: dict[str, Any], fields: tuple[str, ...], container_fields: tuple[str, ...], volume_sources: frozenset[str]
) -> bytes: ...

"""Pod specs that were found right a moment ago need not be looked at again.

The pods of a workload have one spec, but for the random name of the token volume that admission adds. A spec is
remembered as its bytes with that name struck out: as long as it is one that admission could have drawn, nothing depends
on which it is. What depends on the pod's own name (claims made for it) is not remembered.

Only specs without a complaint are kept, so a memory tells nothing but "right". Dropped whole when it is full.
"""

from __future__ import annotations

import marshal
import re

from cybernetes.core.objects import Object

SPECS_MAX = 1024
#: Longer specs are checked every time.
BYTES_MAX = 16_384
_TOKEN_VOLUME = re.compile(r"kube-api-access-[a-z0-9]{5}", re.ASCII)
#: A version of the format that depends on nothing but the value.
_PLAIN = 2


class Sound:
    """One memory for each question that is asked of specs."""

    def __init__(self) -> None:
        self._specs: set[bytes] = set()

    def __contains__(self, key: bytes | None) -> bool:
        return key in self._specs

    def add(self, key: bytes | None) -> None:
        if key is None or len(key) > BYTES_MAX:
            return
        if len(self._specs) >= SPECS_MAX:
            self._specs.clear()
        self._specs.add(key)


def spec_key(spec: Object) -> bytes | None:
    """Equal for specs that are right or wrong together; None where that depends on the pod's name."""
    if spec.get("resourceClaims"):
        return None
    token = ""
    for volume in spec.get("volumes") or ():
        if volume.get("ephemeral") is not None:
            return None
        name = volume.get("name")
        if isinstance(name, str) and _TOKEN_VOLUME.fullmatch(name):
            token = name
    try:
        data = marshal.dumps(spec, _PLAIN)
    except ValueError:  # something that is no JSON; whoever checks it says so
        return None
    # Marked, for who writes the stars himself.
    return b"token" + data.replace(token.encode(), b"*" * len(token)) if token else b"plain" + data

"""What the engine says has happened to our containers, as long as we listen.

One connection, read line by line. When it breaks (the engine was restarted) it is made again after a pause that doubles
from 0.1 s to 5 s, and a single event with no pod says that anything may have happened meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import NamedTuple
from urllib.parse import quote

import orjson

from cybernetes.services.kubelet.runtimes.docker import configs
from cybernetes.services.kubelet.runtimes.docker.engine import Engine, EngineRefusal, read_chunk

log = logging.getLogger(__name__)

PAUSE_FIRST_S = 0.1
PAUSE_MAX_S = 5.0
ACTIONS = ("create", "start", "die", "destroy", "oom")


class EngineEvent(NamedTuple):
    """``action`` is empty when the connection was made anew."""

    action: str
    container_id: str
    pod_uid: str


async def listen(engine: Engine, node: str) -> AsyncIterator[EngineEvent]:
    filters = {"type": ["container"], "label": [f"{configs.NODE}={node}"], "event": list(ACTIONS)}
    path = "/events?filters=" + quote(orjson.dumps(filters).decode())
    pause_s = PAUSE_FIRST_S
    while True:
        try:
            reader, writer, _ = await engine.open_stream("GET", path, hijack=False)
        except (OSError, EngineRefusal, asyncio.IncompleteReadError) as error:
            log.warning("the Docker engine does not answer, trying again in %.1f s: %s", pause_s, error)
            await asyncio.sleep(pause_s)
            pause_s = min(PAUSE_MAX_S, pause_s * 2)
            continue
        pause_s = PAUSE_FIRST_S
        yield EngineEvent("", "", "")
        try:
            unread = b""
            while data := await read_chunk(reader):
                *lines, unread = (unread + data).split(b"\n")
                for line in lines:
                    if line.strip():
                        event = orjson.loads(line)
                        actor = event["Actor"]
                        yield EngineEvent(event["Action"], actor["ID"], actor["Attributes"].get(configs.POD_UID, ""))
        except (OSError, asyncio.IncompleteReadError) as error:
            log.warning("lost the Docker engine's events: %s", error)
        finally:
            writer.close()

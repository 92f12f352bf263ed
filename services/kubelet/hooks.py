"""Lifecycle hooks: what a container asks to be done right after it started and before it is stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from cybernetes.core.kubelet import spec
from cybernetes.core.objects import Object
from cybernetes.services.kubelet.checks import CheckError, Checks, resolve_port

#: A hook without a bound of its own (postStart) must not hold its pod for ever.
HTTP_TIMEOUT_S = 30.0


class HookError(Exception):
    """The hook failed; the text is for logs and the container's status, never for events (it may hold secrets)."""


async def run_hook(
    checks: Checks,
    pod: Object,
    container: spec.Container,
    container_id: str,
    handler: Mapping[str, Any],
    pod_address: str,
) -> None:
    """Run one handler to its end. Raises HookError. The caller bounds the time."""
    where = f'for Container "{container["name"]}" in Pod "{spec.describe(pod)}" failed'
    try:
        if handler.get("exec"):
            command = handler["exec"].get("command") or []
            outcome = await checks.command(container_id, command, 0)
            if not outcome.success:
                words = " ".join(command)
                raise HookError(f"Exec lifecycle hook ([{words}]) {where} - error: command failed, "
                                f'message: "{outcome.output}"')  # fmt: skip
        elif handler.get("httpGet"):
            action = handler["httpGet"]
            if not (action.get("host") or pod_address):
                raise CheckError("failed to find networking container")
            outcome = await checks.http(action, container, pod_address, HTTP_TIMEOUT_S, "lifecycle")
            if not outcome.success and not outcome.output.startswith("HTTP probe failed"):
                raise HookError(f"HTTP lifecycle hook ({action.get('path', '')}) {where} - error: {outcome.output}")
        elif handler.get("sleep"):
            await asyncio.sleep(float(handler["sleep"].get("seconds") or 0))
        elif handler.get("tcpSocket"):
            action = handler["tcpSocket"]
            port = resolve_port(action["port"], container)
            outcome = await checks.tcp(action.get("host") or pod_address, port, HTTP_TIMEOUT_S)
            if not outcome.success:
                raise HookError(f"TCP lifecycle hook {where} - error: {outcome.output}")
        else:
            raise HookError(f"Cannot run handler: invalid handler {where}")
    except CheckError as error:
        raise HookError(f"lifecycle hook {where} - error: {error}") from error

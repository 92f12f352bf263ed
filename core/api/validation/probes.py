"""Probes and lifecycle hooks of a container."""

from __future__ import annotations

from cybernetes.core.api.fielderror import FieldError, forbidden, invalid_value, not_supported, required
from cybernetes.core.api.validation import names
from cybernetes.core.api.validation.metadata import check_not_negative, invalid_each
from cybernetes.core.objects import Object

_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")
_SCHEMES = ("HTTP", "HTTPS")
_COUNTS = ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold")
_WINDOWS_SIGNALS = ("SIGKILL", "SIGTERM")
_LINUX_SIGNALS = tuple(
    sorted(
        f"SIG{name}"
        for name in (
            "ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT SEGV STKFLT STOP SYS TERM"
            " TRAP TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ RTMIN RTMAX"
        ).split()
        + [f"RTMIN+{index}" for index in range(1, 16)]
        + [f"RTMAX-{index}" for index in range(1, 15)]
    )
)


def check_port(port: int | str, path: str) -> list[FieldError]:
    """A number, or the name of a port."""
    return invalid_each(path, port, names.port_number(port) if isinstance(port, int) else names.port_name(port))


def check_probes(container: Object, grace_period_s: int | None, path: str) -> list[FieldError]:
    """All three probes of a container."""
    errors: list[FieldError] = []
    for kind in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe = container.get(kind)
        if probe is None:
            continue
        at = f"{path}.{kind}"
        errors += _check_probe(probe, grace_period_s, at)
        if kind != "readinessProbe":
            if probe.get("successThreshold", 0) != 1:
                errors.append(invalid_value(f"{at}.successThreshold", probe.get("successThreshold", 0), "must be 1"))
        elif probe.get("terminationGracePeriodSeconds") is not None:
            value = probe["terminationGracePeriodSeconds"]
            errors.append(
                invalid_value(f"{at}.terminationGracePeriodSeconds", value, "must not be set for readinessProbes")
            )
    return errors


def _check_probe(probe: Object, grace_period_s: int | None, path: str) -> list[FieldError]:
    errors = check_handler(probe, grace_period_s, path)
    for field in _COUNTS:
        if probe.get(field, 0) < 0:
            errors += check_not_negative(probe[field], f"{path}.{field}")
    period = probe.get("terminationGracePeriodSeconds")
    if period is not None and period <= 0:
        errors.append(invalid_value(f"{path}.terminationGracePeriodSeconds", period, "must be greater than 0"))
    return errors


def check_handler(holder: Object, grace_period_s: int | None, path: str) -> list[FieldError]:
    """What a probe or hook does: exactly one thing."""
    errors: list[FieldError] = []
    found = ""
    for kind in _HANDLERS:
        handler = holder.get(kind)
        if handler is None:
            continue
        at = f"{path}.{kind}"
        if found:
            errors.append(forbidden(at, "may not specify more than 1 handler type"))
            continue
        found = kind
        if kind == "exec":
            if not handler.get("command"):
                errors.append(required(f"{at}.command"))
        elif kind == "httpGet":
            errors += _check_http_get(handler, at)
        elif kind == "sleep":
            seconds = handler.get("seconds") or 0
            if grace_period_s is not None and not 0 <= seconds <= grace_period_s:
                message = f"must be non-negative and less than terminationGracePeriodSeconds ({grace_period_s})"
                errors.append(invalid_value(at, seconds, message))
        else:
            errors += check_port(handler.get("port") or 0, f"{at}.port")
    if not found:
        errors.append(required(path, "must specify a handler type"))
    return errors


def _check_http_get(action: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    if not action.get("path"):
        errors.append(required(f"{path}.path"))
    port = action.get("port")
    errors += check_port(0 if port is None else port, f"{path}.port")
    scheme = action.get("scheme") or ""
    if scheme not in _SCHEMES:
        errors.append(not_supported(f"{path}.scheme", scheme, _SCHEMES))
    for header in action.get("httpHeaders") or ():
        name = header.get("name") or ""
        errors += invalid_each(f"{path}.httpHeaders", name, names.header_name(name))
    return errors


def check_lifecycle(lifecycle: Object, grace_period_s: int | None, os_name: str | None, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for kind in ("postStart", "preStop"):
        if lifecycle.get(kind) is not None:
            errors += check_handler(lifecycle[kind], grace_period_s, f"{path}.{kind}")
    signal = lifecycle.get("stopSignal")
    if signal is not None:
        at = f"{path}.stopSignal"
        if os_name is None:
            errors.append(forbidden(at, "may not be set for containers with empty `spec.os.name`"))
        elif os_name == "windows" and signal not in _WINDOWS_SIGNALS:
            errors.append(not_supported(at, signal, _WINDOWS_SIGNALS))
        elif os_name == "linux" and signal not in _LINUX_SIGNALS:
            errors.append(not_supported(at, signal, _LINUX_SIGNALS))
    return errors

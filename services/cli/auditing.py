"""The audit options of ``up`` and ``apiserver``, under kube-apiserver's names."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from cybernetes.services.apiserver.audit.log import LogFile
from cybernetes.services.apiserver.audit.policy import Policy, PolicyError
from cybernetes.services.cli.datadir import ClusterOptions
from cybernetes.services.cli.failure import UsageError

#: Options -> their fields in ClusterOptions.
_FIELDS = {
    "audit_policy_file": "audit_policy",
    "audit_log_path": "audit_log",
    "audit_log_maxsize": "audit_log_size_mb",
    "audit_log_maxbackup": "audit_log_backups",
    "audit_log_maxage": "audit_log_days",
}


def chosen(given: argparse.Namespace) -> dict[str, Any]:
    """The fields of ClusterOptions that the options set. Raises UsageError."""
    values: dict[str, Any] = {
        field: getattr(given, option) for option, field in _FIELDS.items() if getattr(given, option) is not None
    }
    policy, log = values.get("audit_policy"), values.get("audit_log")
    if bool(policy) != bool(log):
        raise UsageError("--audit-policy-file and --audit-log-path go together: what is noted, and where")
    if policy:
        values["audit_policy"] = str(Path(policy).absolute())
        read(values["audit_policy"])
    if log and log != "-":
        values["audit_log"] = str(Path(log).absolute())
    return values


def read(path: str) -> Policy:
    """Raises UsageError for a file that is no policy."""
    import yaml  # late: few clusters are audited

    try:
        return Policy.of(yaml.safe_load(Path(path).read_text()))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, PolicyError) as error:
        raise UsageError(f"--audit-policy-file {path}: {error}") from None


def settings(options: ClusterOptions, *, is_worker: bool) -> tuple[Policy | None, LogFile | None]:
    """What an API server is told. One more server beside the first has a file of its own. Raises UsageError."""
    if not options.audit_policy:
        return None, None
    path = options.audit_log
    if is_worker and path != "-":
        own = Path(path)
        path = str(own.with_name(f"{own.stem}.{os.getpid()}{own.suffix}"))
    log = LogFile(path, options.audit_log_size_mb, options.audit_log_backups, options.audit_log_days)
    return read(options.audit_policy), log

"""The audit log of a server, as requests of all sorts leave it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from cybernetes.core.clock import ManualClock
from cybernetes.core.objects import CONFIG_MAPS
from cybernetes.services.apiserver.audit.log import AuditLog, LogFile
from cybernetes.services.apiserver.audit.policy import Policy

PATH = "/api/v1/namespaces/default/configmaps"


def policy(*rules: Any, **rest: Any) -> Policy:
    return Policy.of({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": list(rules), **rest})


@pytest.fixture
def audited(start, tmp_path: Path):
    """Starts a server with these rules; gives it and what reads its log (what was read is read once)."""

    async def begin(*rules: Any, **rest: Any):
        path = tmp_path / "logs" / "audit.log"
        cluster = await start(audit_policy=policy(*rules, **rest), audit_log=LogFile(str(path)))
        seen = len(path.read_bytes().splitlines())

        def read() -> list[Any]:
            nonlocal seen
            lines = path.read_bytes().splitlines()
            fresh, seen = lines[seen:], len(lines)
            return [orjson.loads(line) for line in fresh]

        return cluster, read

    return begin


async def test_a_write_with_what_was_sent_and_answered(audited, make_config_map) -> None:
    cluster, read = await audited({"level": "RequestResponse"}, omitManagedFields=True)
    answer = await cluster.post(f"{PATH}?fieldManager=x", make_config_map("a"), headers={"User-Agent": "me/1"})
    received, complete = read()
    assert (received["stage"], complete["stage"]) == ("RequestReceived", "ResponseComplete")
    assert received["auditID"] == complete["auditID"] == answer.headers["Audit-Id"]
    assert complete["kind"] == "Event" and complete["apiVersion"] == "audit.k8s.io/v1"
    assert complete["requestURI"] == f"{PATH}?fieldManager=x" and complete["verb"] == "create"
    assert complete["user"] == {"username": "admin", "groups": ["system:masters", "system:authenticated"]}
    assert complete["sourceIPs"] == ["127.0.0.1"] and complete["userAgent"] == "me/1"
    assert complete["objectRef"] == {
        "resource": "configmaps",
        "namespace": "default",
        "name": "a",
        "apiVersion": "v1",
    }
    assert complete["responseStatus"] == {"metadata": {}, "code": 201}
    assert complete["requestObject"]["data"] == {"key": "value"}
    assert (
        complete["responseObject"]["metadata"]["uid"] and "managedFields" not in complete["responseObject"]["metadata"]
    )
    assert complete["annotations"]["authorization.k8s.io/decision"] == "allow"
    assert "responseObject" not in received and "responseStatus" not in received


async def test_levels_and_stages(audited, make_config_map) -> None:
    rules = [
        {"level": "None", "verbs": ["delete"]},
        {"level": "Request", "verbs": ["create"]},
        {"level": "Metadata"},
    ]
    cluster, read = await audited(*rules, omitStages=["RequestReceived"])
    await cluster.post(PATH, make_config_map("a"))
    await cluster.get(f"{PATH}/a")
    await cluster.delete(f"{PATH}/a")
    created, got = read()
    assert "requestObject" in created and "responseObject" not in created
    assert got["level"] == "Metadata" and got["stage"] == "ResponseComplete" and got["verb"] == "get"


async def test_refusals(audited) -> None:
    cluster, read = await audited({"level": "Metadata"}, omitStages=["RequestReceived"])
    await cluster.get(PATH, token="jane-token")
    await cluster.get(PATH, token="nobody's")
    await cluster.get("/metrics", token="jane-token")
    forbidden, unknown, page = read()
    assert forbidden["responseStatus"]["code"] == 403 and forbidden["responseStatus"]["reason"] == "Forbidden"
    assert forbidden["annotations"]["authorization.k8s.io/decision"] == "forbid"
    assert unknown["responseStatus"]["code"] == 401 and unknown["user"] == {}
    assert page["responseStatus"]["code"] == 403 and page["requestURI"] == "/metrics" and "objectRef" not in page


async def test_who_asks_for_another(audited) -> None:
    cluster, read = await audited({"level": "Metadata"}, omitStages=["RequestReceived"])
    await cluster.get("/version", headers={"Impersonate-User": "jane", "Audit-ID": "mine"})
    (event,) = read()
    assert event["user"]["username"] == "admin" and event["impersonatedUser"]["username"] == "jane"
    assert event["auditID"] == "mine" and event["responseStatus"]["code"] == 200


async def test_a_watch_is_noted_when_it_starts_and_when_it_ends(audited, make_config_map) -> None:
    cluster, read = await audited({"level": "RequestResponse", "verbs": ["watch"]})
    url = f"{cluster.base}{PATH}?watch=1&timeoutSeconds=1"
    async with (
        aiohttp.ClientSession() as session,
        session.get(url, headers={"Authorization": "Bearer admin-token"}) as response,
    ):
        await cluster.post(PATH, make_config_map("a"))
        await response.content.readline()
        assert [event["stage"] for event in read()] == ["RequestReceived", "ResponseStarted"]
    await cluster.server.stop()
    (end,) = read()
    assert end["stage"] == "ResponseComplete" and "responseObject" not in end


async def test_calls_of_the_same_process(audited) -> None:
    cluster, read = await audited({"level": "Metadata", "resources": [{"group": "", "resources": ["configmaps"]}]})
    await cluster.direct().list(CONFIG_MAPS, "default")
    events = read()
    assert [event["stage"] for event in events] == ["RequestReceived", "ResponseComplete"]
    assert events[0]["requestURI"] == PATH and events[0]["userAgent"] == "test"


def test_full_files_are_put_aside(tmp_path: Path) -> None:
    clock = ManualClock()
    path = tmp_path / "audit.log"
    log = AuditLog(LogFile(str(path), size_mb_max=1, backups=2, age_days=1), clock)
    log.open()
    event = b"x" * (600 * 1024)
    for _ in range(5):
        log.write(event)
        clock.advance(1.0)
    assert len(list(tmp_path.glob("audit-*.log"))) == 2 and path.stat().st_size == len(event) + 1
    assert path.stat().st_mode & 0o777 == 0o600
    clock.advance(2 * 86400.0)
    log.write(event)
    assert len(list(tmp_path.glob("audit-*.log"))) == 1
    log.close()
    log.write(b"late")

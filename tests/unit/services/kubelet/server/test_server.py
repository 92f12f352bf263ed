"""The kubelet's endpoint: plain answers, logs, exec and attach, port-forward, in every protocol that clients speak."""

import asyncio
import base64
import json

import pytest
from serverworld import InWebSocket, SpdyClient, upgrade

EXEC = "/exec/ns/p/c?command=sh&input=1&output=1&error=1"


async def text_of(client, path):
    async with client.get(path) as answer:
        return answer.status, await answer.text()


async def soon(condition):
    """The server notices by itself; what it does then takes a few turns of the loop."""
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0)


async def test_health_and_pods(client, node):
    assert await text_of(client, "/healthz") == (200, "ok")
    node.unhealthy.append("syncloop: stuck")
    status, text = await text_of(client, "/healthz")
    assert status == 500 and "[-]syncloop: stuck" in text
    status, text = await text_of(client, "/pods")
    assert status == 200 and json.loads(text)["items"][0]["metadata"]["name"] == "p"
    assert (await text_of(client, "/nothing"))[0] == 404
    status, text = await text_of(client, "/stats/summary")
    assert json.loads(text)["node"]["nodeName"] == "n1"
    status, text = await text_of(client, "/metrics/resource")
    assert status == 200 and "scrape_error 0" in text


async def test_logs(client, node):
    status, text = await text_of(client, "/containerLogs/ns/p/c?tailLines=5&timestamps=true&previous=true")
    assert (status, text) == (200, "one\ntwo\n")
    assert node.options.tail_lines == 5 and node.options.timestamps and node.options.previous


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/containerLogs/ns/other/c", 404, 'pod "other" does not exist'),
        ("/containerLogs/ns/p/other", 404, 'container "other" not found in pod "p"'),
        ("/containerLogs/ns/p/init", 400, "is waiting to start: PodInitializing"),
        ("/containerLogs/ns/p/c?tailLines=-1", 422, "must be greater than or equal to 0"),
        ("/containerLogs/ns/p/c?sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z", 422, "at most one of"),
        ("/containerLogs/ns/p", 404, ""),
    ],
)
async def test_logs_that_there_are_not(client, path, status, text):
    found, body = await text_of(client, path)
    assert found == status and text in body


async def test_logs_are_followed(client, node):
    async with client.get("/containerLogs/ns/p/c?follow=true") as answer:
        assert await answer.content.readexactly(8) == b"one\ntwo\n"
        node.log_goes_on.set()
        assert await answer.content.read() == b"three\n"


async def test_who_follows_logs_and_goes_is_noticed(client, node):
    answer = await client.get("/containerLogs/ns/p/c?follow=true")
    await answer.content.readexactly(8)
    answer.close()
    await asyncio.wait_for(node.log_closed.wait(), 5)


# Exec over WebSockets.


def message(protocol, channel, data):
    if "base64" in protocol:
        return f"{channel}{base64.b64encode(data).decode()}"
    return bytes([channel]) + data


def parsed(protocol, data):
    if "base64" in protocol:
        return int(data[0]), base64.b64decode(data[1:])
    return data[0], data[1:]


async def send(socket, protocol, channel, data):
    framed = message(protocol, channel, data)
    await (socket.send_str(framed) if isinstance(framed, str) else socket.send_bytes(framed))


async def collect(socket, protocol):
    """What came on each channel until the connection ended."""
    found = {}
    async with asyncio.timeout(10):
        async for received in socket:
            channel, data = parsed(protocol, received.data)
            found[channel] = found.get(channel, b"") + data
    return found


@pytest.mark.parametrize("protocol", ["v5.channel.k8s.io", "v4.channel.k8s.io", "v4.base64.channel.k8s.io"])
async def test_exec_over_a_websocket(client, node, protocol):
    async with client.ws_connect(EXEC, protocols=[protocol]) as socket:
        assert socket.protocol == protocol
        await send(socket, protocol, 0, b"out hello\nerr oh\nexit 7\n")
        found = await collect(socket, protocol)
    assert found[1] == b"hello" and found[2] == b"oh"
    status = json.loads(found[3])
    assert status["status"] == "Failure" and status["reason"] == "NonZeroExitCode"
    assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "7"}]
    assert node.commands == [("c", ["sh"], True, False)]
    await soon(lambda: node.programs[0].is_closed)


async def test_success_is_said(client):
    async with client.ws_connect("/exec/ns/p/c?command=exit&command=0&output=1", protocols=["v4.channel.k8s.io"]) as s:
        found = await collect(s, "v4")
    assert json.loads(found[3])["status"] == "Success"


async def test_a_client_takes_the_best_protocol_that_both_know(client):
    offered = ["v9.channel.k8s.io", "v4.channel.k8s.io", "channel.k8s.io"]
    async with client.ws_connect("/exec/ns/p/c?command=exit&command=0&output=1", protocols=offered) as socket:
        assert socket.protocol == "v4.channel.k8s.io"


async def test_stdin_can_end_alone_in_version_5(client, node):
    protocol = "v5.channel.k8s.io"
    async with client.ws_connect(EXEC, protocols=[protocol]) as socket:
        await socket.send_bytes(b"\x00out last words\n")
        await socket.send_bytes(b"\xff\x00")
        found = await collect(socket, protocol)
    assert node.programs[0].stdin_closed and found[1] == b"last words"


async def test_the_terminal_s_size(client, node):
    async with client.ws_connect(EXEC + "&tty=1", protocols=["v5.channel.k8s.io"]) as socket:
        await socket.send_bytes(b"\x04" + json.dumps({"Width": 120, "Height": 40}).encode())
        await socket.send_bytes(b"\x00exit 0\n")
        await collect(socket, "v5")
    assert node.programs[0].sizes == [(120, 40)] and node.programs[0].tty


async def test_a_client_that_goes_has_its_command_ended(client, node):
    async with client.ws_connect(EXEC, protocols=["v5.channel.k8s.io"]) as socket:
        await socket.send_bytes(b"\x00out x\n")
        await socket.receive()
    await soon(lambda: node.programs[0].is_closed)


async def test_what_cannot_be_executed_is_said_on_the_error_channel(client):
    async with client.ws_connect("/exec/ns/p/c?command=missing&output=1", protocols=["v4.channel.k8s.io"]) as socket:
        found = await collect(socket, "v4")
    assert "no such command" in json.loads(found[3])["message"]


async def test_a_flood_is_passed_on_whole(client):
    async with client.ws_connect(EXEC, protocols=["v5.channel.k8s.io"]) as socket:
        await socket.send_bytes(b"\x00flood 200\nexit 0\n")
        found = await collect(socket, "v5")
    assert len(found[1]) == 200 * 65536


async def test_attach(client, node):
    async with client.ws_connect("/attach/ns/p/c?input=1&output=1", protocols=["v4.channel.k8s.io"]) as socket:
        await socket.send_bytes(b"\x00hi\nexit 0\n")
        found = await collect(socket, "v4")
    assert found[1] == b"hi" and json.loads(found[3])["status"] == "Success"


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/exec/ns/other/c?command=x&output=1", 404, "pod does not exist"),
        ("/exec/ns/p/uid-2/c?command=x&output=1", 404, "pod does not exist"),
        ("/exec/ns/p/other?command=x&output=1", 404, 'container not found ("other")'),
        ("/exec/ns/p/c?command=x", 400, "you must specify at least 1 of stdin, stdout, stderr"),
        ("/exec/ns/p/c?command=x&output=1", 400, "Upgrade request required"),
        ("/portForward/ns/p", 400, "Upgrade request required"),
    ],
)
async def test_streams_that_there_are_not(client, path, status, text):
    found, body = await text_of(client, path)
    assert found == status and text in body


async def test_run_gives_the_output(client, node):
    async with client.post("/run/ns/p/c?cmd=exit+0") as answer:
        assert answer.status == 200 and await answer.read() == b""
    assert node.commands == [("c", ["exit", "0"], False, False)]


# Exec over SPDY.


@pytest.mark.parametrize("protocol", ["v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io"])
async def test_exec_over_spdy(server, node, protocol):
    connection, head = await upgrade(server.port, EXEC, X_Stream_Protocol_Version=protocol)
    assert head.startswith("HTTP/1.1 101") and f"X-Stream-Protocol-Version: {protocol}" in head
    client = SpdyClient(connection)
    error, stdin, stdout, stderr = [
        await client.open(streamtype=kind) for kind in ("error", "stdin", "stdout", "stderr")
    ]
    await client.send(stdin, b"out hello\nerr oh\n")
    await client.send(stdin, b"exit 5\n")
    await client.until(lambda: error in client.ended)
    assert client.text(stdout) == "hello" and client.text(stderr) == "oh"
    if protocol.startswith("v4"):
        assert client.status(error)["details"]["causes"] == [{"reason": "ExitCode", "message": "5"}]
    else:
        assert client.text(error) == "command terminated with non-zero exit code: exit code 5"
    await client.close()


async def test_stdin_ends_over_spdy(server, node):
    connection, _ = await upgrade(server.port, EXEC, X_Stream_Protocol_Version="v4.channel.k8s.io")
    client = SpdyClient(connection)
    error, stdin, stdout, _ = [await client.open(streamtype=kind) for kind in ("error", "stdin", "stdout", "stderr")]
    await client.send(stdin, b"out end\n", is_finished=True)
    await client.until(lambda: error in client.ended)
    assert client.status(error)["status"] == "Success" and client.text(stdout) == "end"
    await client.close()


async def test_a_protocol_that_nobody_knows_is_refused(server):
    connection, head = await upgrade(server.port, EXEC, X_Stream_Protocol_Version="v9.channel.k8s.io")
    assert head.startswith("HTTP/1.1 403")
    await connection.close()


# Port-forward.


async def forwarded(client, request="0", port="80"):
    error = await client.open(streamtype="error", port=port, requestid=request)
    data = await client.open(streamtype="data", port=port, requestid=request)
    return error, data


async def tunnelled(session):
    socket = await session.ws_connect("/portForward/ns/p", protocols=["SPDY/3.1+portforward.k8s.io"])
    assert socket.protocol == "SPDY/3.1+portforward.k8s.io"
    return SpdyClient(InWebSocket(socket))


async def test_ports_through_spdy_in_a_websocket(client, node):
    spdy = await tunnelled(client)
    first, second = await forwarded(spdy, "0"), await forwarded(spdy, "1")
    await spdy.send(first[1], b"one")
    await spdy.send(second[1], b"two")
    await spdy.until(lambda: spdy.text(first[1]) == "ONE" and spdy.text(second[1]) == "TWO")
    await spdy.send(first[1], b"", is_finished=True)
    await spdy.until(lambda: first[1] in spdy.ended and first[0] in spdy.ended)
    await spdy.send(second[1], b" three")
    await spdy.until(lambda: spdy.text(second[1]) == "TWO THREE")
    await spdy.close()
    await soon(lambda: all(port.is_closed for port in node.ports))


async def test_a_port_where_nobody_listens(client):
    spdy = await tunnelled(client)
    error, _ = await forwarded(spdy, port="1")
    await spdy.until(lambda: error in spdy.ended or error in spdy.reset)
    assert spdy.text(error) == "error forwarding port 1 to pod: connection refused"
    await spdy.close()


async def test_ports_over_spdy(server):
    connection, head = await upgrade(server.port, "/portForward/ns/p", X_Stream_Protocol_Version="portforward.k8s.io")
    assert head.startswith("HTTP/1.1 101") and "portforward.k8s.io" in head
    spdy = SpdyClient(connection)
    _, data = await forwarded(spdy)
    await spdy.send(data, b"hello" * 50_000)
    await spdy.until(lambda: len(spdy.text(data)) == 250_000)
    await spdy.close()


@pytest.mark.parametrize("port", ["", "0", "70000", "http"])
async def test_ports_that_are_none(client, port):
    spdy = await tunnelled(client)
    number = await spdy.open(streamtype="error", port=port, requestid="0")
    assert number in spdy.reset
    await spdy.close()


async def test_ports_over_channels(client, node):
    socket = await client.ws_connect("/portForward/ns/p?port=80&port=81", protocols=["v4.channel.k8s.io"])
    heads = sorted([(await socket.receive()).data for _ in range(4)])
    assert heads == [b"\x00P\x00", b"\x01P\x00", b"\x02Q\x00", b"\x03Q\x00"]
    await socket.send_bytes(b"\x02hello")
    assert (await asyncio.wait_for(socket.receive(), 5)).data == b"\x02HELLO"
    await socket.close()


async def test_a_server_that_stops_ends_its_streams(server, client, node):
    socket = await client.ws_connect(EXEC, protocols=["v5.channel.k8s.io"])
    await socket.send_bytes(b"\x00out x\n")
    await socket.receive()
    await asyncio.wait_for(server.stop(), 10)
    assert node.programs[0].is_closed
    await socket.close()

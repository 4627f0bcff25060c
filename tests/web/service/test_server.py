"""The service behind uvicorn, on real sockets: clients that send half, go away, or send too much."""

import contextlib
import json
import socket
import time

import pytest

from pipeline.web.service import server
from pipeline.web.service.protocol import CONTINUE
from tests.conftest import TEA
from tests.words import mentions, refused

BODY = json.dumps({"contexts": [TEA], "questions": [{"question": "Who?"}]}).encode()
HEAD = b"POST /answer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def whole(body=BODY):
    return HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body


def send(address, data):
    connection = socket.create_connection(address, timeout=10)
    connection.sendall(data)
    return connection


def answer(connection):
    """Status, headers and JSON of an answer, read until the service closes the connection or the JSON is complete."""
    data = b""
    while True:
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.decode().lower().splitlines()
        headers = dict(line.split(": ", 1) for line in lines[1:])
        if body and len(body) == int(headers["content-length"]):
            return int(lines[0].split()[1]), headers, json.loads(body)
        received = connection.recv(65536)
        assert received, data
        data += received


def closed(connection):
    """Whether the service closes the connection."""
    return connection.recv(1) == b""


def until(condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def health(address):
    with send(address, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n") as connection:
        return answer(connection)[2]


def test_a_connection_serves_several_requests(serve, answerer):
    with send(serve(), whole()) as connection:
        assert answer(connection)[0] == 200
        connection.sendall(whole())
        assert answer(connection)[0] == 200
    assert answerer.calls == [["Who?"]] * 2


def test_a_half_sent_body_is_given_up(serve, answerer):
    address = serve(body_seconds=0.1, queue=1)
    with send(address, whole()[:-5]) as half:
        status, headers, body = answer(half)
        assert (status, headers["connection"]) == (408, "close")
        mentions(body["error"], "body", "0.1 s")
        assert closed(half)
    with send(address, whole()) as connection:  # its place in the queue is free
        assert answer(connection)[0] == 200
    assert answerer.calls == [["Who?"]]


def test_a_client_that_goes_away_while_it_sends_leaves_nothing(serve, answerer):
    address = serve(queue=1)
    send(address, whole()[:-5]).close()

    def free():
        with send(address, whole()) as connection:
            return answer(connection)[0] == 200

    until(free)
    assert answerer.calls == [["Who?"]]


def test_a_client_that_goes_away_is_dropped_from_the_queue(serve, answerer):
    answerer.free.clear()
    address = serve()
    with send(address, whole()) as first:
        assert answerer.entered.wait(10)
        second = send(address, whole(BODY.replace(b"Who", b"Gone")))
        until(lambda: health(address)["in_progress"] == 2)
        with send(address, whole(BODY.replace(b"Who", b"Last"))) as last:
            until(lambda: health(address)["in_progress"] == 3)
            second.close()
            until(lambda: health(address)["in_progress"] == 2)
            answerer.free.set()
            assert answer(first)[0] == answer(last)[0] == 200
    assert answerer.calls == [["Who?"], ["Last?"]]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_is_answered_though_the_client_still_sends(serve, answerer, chunked):
    address = serve(body_bytes=1000)
    body = b"x" * 1_000_000
    data = whole(body)
    if chunked:
        data = HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"%x\r\n%b\r\n" % (len(body), body) + b"0\r\n\r\n"
    with send(address, data) as connection:
        status, headers, error = answer(connection)
        assert status == 413
        mentions(error["error"], "body", "1,000 bytes")
        assert headers["connection"] == "close" and closed(connection)
    assert answerer.calls == []


def test_a_body_without_end_is_refused(serve, monkeypatch):
    monkeypatch.setattr("pipeline.web.service.guard.DISCARD_SECONDS", 0.1)
    address = serve(body_bytes=1000)
    with send(address, HEAD + b"Transfer-Encoding: chunked\r\n\r\n") as connection:
        connection.settimeout(10)
        with pytest.raises(OSError):  # the service has closed the connection
            while True:
                connection.sendall(b"1000\r\n" + b"x" * 0x1000 + b"\r\n")
    assert health(address)["status"] == "ok"


def test_half_heads_are_given_up(serve, answerer):
    address = serve(head_seconds=0.2)
    with contextlib.ExitStack() as stack:
        halves = [stack.enter_context(send(address, data)) for data in [HEAD[:30], HEAD, b""] * 20]
        with send(address, whole()) as connection:
            assert answer(connection)[0] == 200
            connection.sendall(HEAD[:-10])  # of a second request
            halves.append(connection)
            assert all(closed(half) for half in halves)
    assert answerer.calls == [["Who?"]]


def test_a_head_byte_by_byte_is_given_up_in_the_same_time(serve):
    with send(serve(head_seconds=0.2), b"") as connection:
        begin = time.monotonic()
        with pytest.raises(OSError):
            while time.monotonic() < begin + 10:
                connection.sendall(b"G")
                time.sleep(0.01)
        assert time.monotonic() < begin + 5


def test_a_slow_answer_is_not_taken_for_a_half_head(serve, answerer):
    answerer.free.clear()
    with send(serve(head_seconds=0.05), whole()) as connection:
        assert answerer.entered.wait(10)
        time.sleep(0.1)
        answerer.free.set()
        assert answer(connection)[0] == 200


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
def test_a_client_that_sends_no_more_gets_its_answer(serve, answerer, version, monkeypatch):
    monkeypatch.setattr("pipeline.web.service.protocol.PROBE_SECONDS", 0.01)
    answerer.free.clear()
    with send(serve(), whole().replace(b"HTTP/1.1", b"HTTP/" + version)) as connection:
        connection.shutdown(socket.SHUT_WR)
        assert answerer.entered.wait(10)
        if version == b"1.1":
            for _ in range(3):
                assert connection.recv(len(CONTINUE), socket.MSG_WAITALL) == CONTINUE
        answerer.free.set()
        data = b""
        while received := connection.recv(65536):
            data += received
        final = data[data.rindex(b"HTTP/1.1 ") :]
        assert final.startswith(b"HTTP/1.1 200")
        assert json.loads(final.partition(b"\r\n\r\n")[2])["student"] == "first"


def test_what_is_no_http_is_refused(serve):
    address = serve()
    with send(address, b"\x16\x03\x01\x02\x00" + bytes(100)) as connection:
        assert b"400" in connection.recv(1000)
    for line in (b"Content-Length: -1", b"Content-Length: many"):
        with send(address, HEAD + line + b"\r\n\r\n") as connection:
            assert b"400" in connection.recv(1000)
    assert health(address)["status"] == "ok"


def test_a_port_in_use_and_an_address_of_another_machine():
    with server.listen(server.LOOPBACK, 0) as listening:
        port = listening.getsockname()[1]
        assert server.url(listening) == f"http://127.0.0.1:{port}"
        with refused(f"port {port}", "127.0.0.1", "--port"):
            server.listen(server.LOOPBACK, port)
    with refused("192.0.2.1", "--host"):
        server.listen("192.0.2.1", 0)
    with refused("--port 70000", "65535"):
        server.listen(server.LOOPBACK, 70_000)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("192.0.2.1", False), ("", False)],
)
def test_loopback(host, loopback):
    assert server.is_loopback(host) == loopback

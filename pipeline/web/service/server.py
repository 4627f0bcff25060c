"""The process that serves: its socket, and uvicorn."""

import contextlib
import ipaddress
import socket
from functools import partial

import uvicorn

from pipeline.errors import InputError
from pipeline.web.service.app import build
from pipeline.web.service.limits import Limits
from pipeline.web.service.protocol import Protocol
from pipeline.web.service.served import Served

LOOPBACK = "127.0.0.1"
SHUTDOWN_SECONDS = 5  # for requests in progress


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        InputError: the address is not this machine's, or the port is in use.
    """
    if not 0 <= port < 1 << 16:
        raise InputError(f"--port {port}: ports are 0 to 65535")
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        raise InputError(f"cannot listen on port {port} of {host} ({error}); choose another --port or --host") from None


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def url(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def configure(students: list[Served], limits: Limits, host: str) -> uvicorn.Server:
    config = uvicorn.Config(
        build(students, limits, host),
        # pyrefly: ignore [bad-argument-type]  uvicorn calls it like the class
        http=partial(Protocol, limits.head_seconds),
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    return uvicorn.Server(config)


def run(students: list[Served], limits: Limits, host: str, listening: socket.socket) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises it again after it has stopped
        configure(students, limits, host).run(sockets=[listening])

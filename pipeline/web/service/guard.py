"""Checks every request before the application reads it: its source, the size of its body, and the queue."""

import asyncio
import ipaddress
import re

from fastapi.responses import JSONResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.web.service.limits import Limits

DISCARD_SECONDS = 1.0  # for the rest of a body that is too large: a client that still sends would not read the answer
HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([\w.-]+))(?::\d*)?", re.ASCII)  # name or address, and port
CLOSE = {"Connection": "close"}  # the rest of the body is not read
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class Refused(Exception):
    """A request that is answered by a status and a sentence."""

    def __init__(self, status: int, sentence: str, **headers: str):
        super().__init__(sentence)
        self.status, self.headers = status, headers

    def response(self) -> JSONResponse:
        return JSONResponse({"error": str(self)}, self.status, self.headers)


class ClientGone(Exception):
    """The client has closed the connection."""


class Guard:
    """ASGI middleware. It reads the whole body, within the limits, before the application is called.

    Args:
        host: the host name that the service was started with.
    """

    def __init__(self, app: ASGIApp, limits: Limits, host: str):
        self.app, self.limits, self.host = app, limits, host
        self.in_progress = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        try:
            await self._pass(scope, receive, send_with_headers)
        except Refused as refused:
            await refused.response()(scope, receive, send_with_headers)
        except ClientGone:
            pass

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application with an acceptable request."""
        check_source(Headers(scope=scope), self.host)
        asks = scope["method"] == "POST"
        if asks and self.in_progress >= self.limits.queue:
            await _discard(receive)
            sentence = f"{self.limits.queue} requests are in progress; ask again in a moment"
            raise Refused(503, sentence, **{"Retry-After": "1", **CLOSE})
        self.in_progress += asks
        try:
            body = await self._body(scope, receive)
            await self.app(scope, _replay(body, receive), send)
        finally:
            self.in_progress -= asks

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        most = self.limits.body_bytes if scope["method"] == "POST" else 0  # only these count for the queue
        seconds = self.limits.body_seconds
        try:
            async with asyncio.timeout(seconds):
                if int(Headers(scope=scope).get("content-length", "0")) <= most:
                    body = await _read(receive, most)
                    if len(body) <= most:
                        return body
        except TimeoutError:
            raise Refused(408, f"the body was not complete after {seconds:g} s", **CLOSE) from None
        await _discard(receive)
        raise Refused(413, f"the body has more than {most:,} bytes", **CLOSE)


def check_source(headers: Headers, host: str) -> None:
    """Check that a request was meant for this service, and not sent by another site's page.

    A page on the web can make its own host name point to this machine (DNS rebinding), but not an address or localhost.

    Raises:
        Refused: `Host` is another name, or `Origin` is not the service itself.
    """
    sent_to = headers.get("host", "")
    match = HOST.fullmatch(sent_to)
    name = (match[1] or match[2]).lower() if match else ""
    if name not in ("localhost", host.lower()) and not _is_address(name):
        raise Refused(403, "the Host header names another host; use localhost or the address of this service")
    if any(origin.partition("://")[2] != sent_to for origin in headers.getlist("origin")):
        raise Refused(403, "the Origin header names another site; only the page of this service may ask")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body and then what follows it: that the client has gone."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay


async def _read(receive: Receive, most: int) -> bytes:
    """The body; only the beginning of one that is longer than `most` bytes."""
    body, more = bytearray(), True
    while more and len(body) <= most:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return bytes(body)


async def _discard(receive: Receive) -> None:
    try:
        async with asyncio.timeout(DISCARD_SECONDS):
            while (await receive()).get("more_body"):
                pass
    except TimeoutError:
        pass

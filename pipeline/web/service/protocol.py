"""uvicorn's HTTP protocol, which also gives up half a request's headers, and answers clients that half-close."""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

PROBE_SECONDS = 0.5
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"  # clients skip it


class Protocol(H11Protocol):
    """A connection.

    Args:
        head_seconds: until the headers of a request, or of the first one, are complete; then the connection is closed.
    """

    def __init__(self, head_seconds: float, **options: Any):
        super().__init__(**options)
        self.head_seconds = head_seconds
        self.head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._limit_head()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop_timer()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._limit_head()
        else:
            self._stop_timer()

    # pyrefly: ignore [bad-override]  asyncio keeps the connection open if the result is true
    def eof_received(self) -> bool:
        """Keep the connection open if the client has sent its request, since it may still read.

        A client that has gone looks the same until something is sent to it.
        """
        if self.cycle is None or self.cycle.more_body or self.cycle.response_complete:
            return False
        self.cycle.keep_alive = False
        if self.scope["http_version"] != "1.0":  # which has no interim responses
            self._probe()
        return True

    def _probe(self) -> None:
        """Send interim responses until the answer begins. A client that has gone resets the connection."""
        if not self.transport.is_closing() and not self.cycle.response_started:
            self.transport.write(CONTINUE)
            self.loop.call_later(PROBE_SECONDS, self._probe)

    def _limit_head(self) -> None:
        if self.head_timer is None:
            self.head_timer = self.loop.call_later(self.head_seconds, self.transport.close)

    def _stop_timer(self) -> None:
        if self.head_timer is not None:
            self.head_timer.cancel()
            self.head_timer = None

"""Defers Ctrl-C and SIGTERM until a step is complete."""

import signal
from typing import Any


class DeferSignals:
    """Defers Ctrl-C and SIGTERM to the end of the block, then raises KeyboardInterrupt."""

    def __enter__(self) -> None:
        self.received = False
        self.handlers = {number: signal.signal(number, self.note) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(self, number: int, frame: Any) -> None:
        self.received = True

    def __exit__(self, kind: type | None, *_) -> None:
        for number, handler in self.handlers.items():
            signal.signal(number, handler)
        if self.received and kind is None:
            raise KeyboardInterrupt

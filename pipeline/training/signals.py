"""Ctrl-C and SIGTERM, held back while a step is taken."""

import signal
from typing import Any


class DeferSignals:
    """Holds Ctrl-C and SIGTERM back until the block is done, so that no step is left half taken."""

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

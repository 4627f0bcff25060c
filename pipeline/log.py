"""The log of library code: lines on standard output, warnings on standard error with `warning: ` in front."""

import logging
import sys

log = logging.getLogger("span_distill")


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            print(f"warning: {record.getMessage()}", file=sys.stderr, flush=True)
        else:
            print(record.getMessage(), flush=True)


def show_log() -> None:
    """Show the log; stages and commands call this. Other programs configure the logger `span_distill` as they like."""
    log.handlers[:] = [_Lines()]
    log.setLevel(logging.INFO)
    log.propagate = False

"""What the service accepts: the limits of a request, of the queue, and of a batch."""

from dataclasses import dataclass, field
from typing import Any


def limit(default: float, unit: str, meaning: str) -> Any:
    """A field with a default, and the unit and meaning that the command line's help shows."""
    return field(default=default, metadata={"unit": unit, "help": meaning})


@dataclass(frozen=True)
class Limits:
    """Each limit is a command-line option of the same name."""

    body_bytes: int = limit(8_000_000, "N", "bytes in a request's body")
    head_seconds: float = limit(10.0, "S", "until a request's headers are complete")
    body_seconds: float = limit(10.0, "S", "until a request's body is complete")
    characters: int = limit(1_000_000, "N", "characters in a request's contexts and questions")
    questions: int = limit(1000, "N", "questions in a request")
    windows: int = limit(50_000, "N", "windows that a request's questions have on their contexts")
    queue: int = limit(64, "N", "requests in progress, including those that wait")
    timeout: float = limit(120.0, "S", "from a request's body to its answer")
    batch_ms: float = limit(5.0, "MS", "that a request waits for others, to be batched with them")
    batch_windows: int = limit(64, "N", "windows in a batch; longer requests are computed in parts, others in between")

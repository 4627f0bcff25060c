"""Atomic file writes: a file is either complete or absent."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to. If the block succeeds, the file is flushed to disk and replaces `path`."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{uuid4().hex[:8]}")
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)

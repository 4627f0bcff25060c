"""Atomic file writes: a file is either complete or absent."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

# the names of files that are not finished, as `atomic_write` makes them
UNFINISHED = re.compile(r"\..+\.\d+\.[0-9a-f]+")


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


def remove_unfinished(folder: Path) -> None:
    """Delete the files that killed processes left unfinished in a folder; no other process may write in it."""
    for path in folder.glob(".*"):
        if UNFINISHED.fullmatch(path.name):
            path.unlink(missing_ok=True)

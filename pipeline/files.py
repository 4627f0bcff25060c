"""Atomic writes: a file or a folder is either complete or absent. And the space that large ones need."""

import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO
from uuid import uuid4

from pipeline.errors import InputError
from pipeline.locks import hold

# the names of files that are not finished, as `atomic_write` makes them
UNFINISHED = re.compile(r"\..+\.\d+\.[0-9a-f]+")


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to. If the block succeeds, the file is flushed to disk and replaces `path`.

    A symbolic link stays, and its target is replaced. What is not a regular file, such as a device, is written to.
    """
    path = path.resolve()
    if path.exists() and not path.is_file():
        yield path
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{uuid4().hex[:8]}")
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def opened(path: Path | None) -> Iterator[TextIO]:
    """A text file to write to, which is there when all is written; without a path standard output."""
    if path is None:
        yield sys.stdout
        return
    with atomic_write(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        yield file


@contextmanager
def replacing(out: Path) -> Iterator[Path]:
    """Yield a new folder beside `out` to write to. If the block succeeds, it replaces `out`, a folder or nothing.

    A symbolic link stays, and its target is replaced. If an earlier replacement was killed between its two renames, the
    folder that was there before is restored first. Files get the permissions that the umask says.
    """
    out = out.resolve()
    temporary, old = (out.with_name(f".{out.name}.{name}") for name in ("unfinished", "old"))
    with hold(out, "one command at a time writes there"):
        if old.exists() and not out.exists():
            old.rename(out)
        try:
            for left_over in (temporary, old):
                shutil.rmtree(left_over, ignore_errors=True)
            temporary.mkdir(parents=True)
            yield temporary
            _apply_umask(temporary)
            if out.exists():
                out.rename(old)
            temporary.rename(out)
            shutil.rmtree(old, ignore_errors=True)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _apply_umask(folder: Path) -> None:
    """Give files the permissions of new ones: safetensors writes weights that nobody else can read."""
    umask = os.umask(0)
    os.umask(umask)
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(0o666 & ~umask)


def check_space(folder: Path, needed: int, what: str, temporary: int = 0) -> None:
    """Print how many bytes will be written to a folder, and check that its disk has them.

    Args:
        needed: in bytes.
        what: is written, such as `windows`.
        temporary: bytes that are needed beside these for a while.

    Raises:
        InputError: the disk lacks them.
    """
    free = shutil.disk_usage(folder).free
    print(f"about {in_units(needed)} of {what} will be written to {folder}", flush=True)
    if free < needed + temporary:
        raise InputError(
            f"{folder} needs about {in_units(needed + temporary)} for {what}, and its disk has {in_units(free)} free"
        )


def in_units(size: int) -> str:
    """A number of bytes for people, such as 2.3 GB."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size / 1000:.0f} kB"


def remove_unfinished(folder: Path) -> None:
    """Delete the files that killed processes left unfinished in a folder; no other process may write in it."""
    for path in folder.glob(".*"):
        if UNFINISHED.fullmatch(path.name):
            path.unlink(missing_ok=True)

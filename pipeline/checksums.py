"""SHA-256 checksums of the files that stages pass to each other.

They are in SHA256SUMS in the folder of the files, in the format of coreutils: `sha256sum -c SHA256SUMS` compares them.
"""

import hashlib
from collections.abc import Collection
from pathlib import Path

from pipeline.errors import InputError, rebuild

SUMS = "SHA256SUMS"


def seal(path: Path) -> None:
    """Store the checksum of a file beside it, or the checksums of all files of a folder in the folder."""
    if path.is_dir():
        files = [file for file in path.rglob("*") if file.is_file() and file != path / SUMS]
        _write(path, {file.relative_to(path).as_posix(): sha256(file) for file in files})
    else:
        sums = _read(path.parent) if (path.parent / SUMS).exists() else {}
        _write(path.parent, {**sums, path.name: sha256(path)})


def verified(path: Path, stage: str) -> Path:
    """The path of a sealed file or folder, after a comparison with its checksums.

    Args:
        stage: the DVC stage that writes it, for the error.

    Raises:
        InputError: a file is missing, or differs from its checksum.
    """
    if not path.exists():
        raise InputError(f"{path} is missing; {rebuild(path, stage)}")
    folder = path if path.is_dir() else path.parent
    found = fault(folder, None if path.is_dir() else path.name)
    if found:
        raise InputError(f"{found}; {rebuild(folder, stage)}")
    return path


def checksum(file: Path) -> str:
    """The checksum that is stored beside a sealed file."""
    return _read(file.parent)[file.name]


def intact(folder: Path) -> Path:
    """A folder that a user names, which may be a copy or a download, after a comparison with its checksums.

    A folder without checksums is not compared: another program may have written it.

    Raises:
        InputError: a file is missing, or differs from its checksum.
    """
    found = fault(folder) if (folder / SUMS).is_file() else None
    if found:
        raise InputError(f"{found}; copy or download the folder again, or restore it with `dvc checkout`")
    return folder


def sealed(folder: Path) -> Collection[str]:
    """The files of a folder that have a checksum; none if it has no checksums."""
    return _read(folder) if (folder / SUMS).is_file() else ()


def matches(content: bytes, name: str, sums: bytes) -> bool:
    """Whether the content of a file has the checksum that `sums`, the content of SHA256SUMS, has for its name."""
    return hashlib.sha256(content).hexdigest() == _parse(sums).get(name)


def fault(folder: Path, name: str | None = None) -> str | None:
    """What is wrong with a file of a folder, or with the first of all its sealed files; None if nothing is."""
    if not (folder / SUMS).is_file():
        return f"{folder / SUMS} is missing"
    sums = _read(folder)
    for each in sums if name is None else [name]:
        if not (folder / each).is_file():
            return f"{folder / each} is missing"
        if sha256(folder / each) != sums.get(each):
            return f"{folder / each} is damaged: it does not match its checksum in {SUMS}"
    return None


def sha256(file: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _read(folder: Path) -> dict[str, str]:
    return _parse((folder / SUMS).read_bytes())


def _parse(sums: bytes) -> dict[str, str]:
    """The checksum of each sealed file, by its path in the folder."""
    lines = sums.decode(errors="replace").removesuffix("\n").split("\n")
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def _write(folder: Path, sums: dict[str, str]) -> None:
    text = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
    (folder / SUMS).write_text(text, encoding="utf-8")

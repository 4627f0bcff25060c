"""The exception for users' errors, how to rebuild an output, and a check for a lost process."""

from pathlib import Path


class InputError(Exception):
    """The user's parameters, files or environment are wrong; the message says what, where, and what would be right."""


def rebuild(path: Path, stage: str) -> str:
    """How to rebuild a damaged output. If its size and modification time have not changed, DVC sees no damage."""
    command = f"`dvc repro {stage}` rebuilds it"
    return f"delete {path}, then {command}" if path.exists() else command


def is_lost_process(error: Exception) -> bool:
    """Whether a process of the run was lost. Checks the text, because torch raises a plain RuntimeError."""
    return any(name in f"{type(error).__name__} {error}" for name in ("gloo", "NCCL", "DistError", "DistBackendError"))

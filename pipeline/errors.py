"""The exception for users' errors, and a check for a lost process."""


class InputError(Exception):
    """The user's parameters, files or environment are wrong; the message says what, where, and what would be right."""


def is_lost_process(error: Exception) -> bool:
    """Whether a process of the run was lost. Checks the text, because torch raises a plain RuntimeError."""
    return any(name in f"{type(error).__name__} {error}" for name in ("gloo", "NCCL", "DistError", "DistBackendError"))

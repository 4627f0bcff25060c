"""The exceptions that users are meant to see."""


class InputError(Exception):
    """Something the user brought is wrong; the message says what, where, and what would be right."""


def is_lost_process(error: Exception) -> bool:
    """Whether an error says that another process of a run does not answer; by its text, as torch's is a plain one."""
    return any(name in f"{type(error).__name__} {error}" for name in ("gloo", "NCCL", "DistError", "DistBackendError"))

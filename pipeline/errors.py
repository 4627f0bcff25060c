"""The exceptions that users are meant to see, and how a command shows them."""

import signal
import sys
from collections.abc import Callable

from safetensors import SafetensorError


class InputError(Exception):
    """Something the user brought is wrong; the message says what, where, and what would be right."""


def is_of_lost_processes(error: Exception) -> bool:
    """Whether an error says that another process of a run does not answer; by its text, as torch's is a plain one."""
    return any(name in f"{type(error).__name__} {error}" for name in ("gloo", "NCCL", "DistError", "DistBackendError"))


def run(command: Callable[[], None]) -> None:
    """Run a stage or command; what is not a fault of ours becomes one line and an exit code, 130 for Ctrl-C.

    SIGTERM does what Ctrl-C does.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        command()
    except InputError as error:
        sys.exit(f"error: {error}")
    except FileNotFoundError as error:
        sys.exit(f"error: {error}; `dvc repro` makes what is missing in data, or `dvc pull` brings it")
    except (OSError, SafetensorError) as error:  # a full disk, say; the message is enough
        sys.exit(f"error: {error}; what was finished is kept, the same command goes on from there")
    except RuntimeError as error:
        if not is_of_lost_processes(error):
            raise
        sys.exit(
            f"error: another process of this run was lost ({str(error).splitlines()[0]}); what was finished is kept"
        )
    except KeyboardInterrupt as interrupt:
        kept = str(interrupt) or "what was finished is kept"
        print(f"interrupted: {kept}; the same command goes on from there", file=sys.stderr)
        sys.exit(130)

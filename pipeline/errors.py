"""The exceptions that users are meant to see, and how a command shows them."""

import signal
import sys
from collections.abc import Callable

from safetensors import SafetensorError


class InputError(Exception):
    """Something the user brought is wrong; the message says what, where, and what would be right."""


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
    except KeyboardInterrupt as interrupt:
        kept = str(interrupt) or "what was finished is kept"
        print(f"interrupted: {kept}; the same command goes on from there", file=sys.stderr)
        sys.exit(130)

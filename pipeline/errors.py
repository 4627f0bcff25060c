"""The one exception that users are meant to see, and how a stage shows it."""

import sys
from collections.abc import Callable


class InputError(Exception):
    """Something the user brought is wrong; the message says what, where, and what would be right."""


def run(stage: Callable[[], None]) -> None:
    """Run a stage; an `InputError` becomes its message and exit code 1, Ctrl-C becomes one line and 130."""
    try:
        stage()
    except InputError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("interrupted: what was finished is kept; the same command goes on from there", file=sys.stderr)
        sys.exit(130)

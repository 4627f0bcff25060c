"""How a stage or a command starts and ends: its arguments, and an error as one line and an exit code."""

import argparse
import signal
import sys
from collections.abc import Callable
from typing import Any

from safetensors import SafetensorError

from pipeline.errors import InputError, is_lost_process

RESUMES = "what was finished is cached, the same command resumes from there"


def parser(module: str, description: str) -> argparse.ArgumentParser:
    """A parser that knows `--help` and refuses whatever it was not told of.

    Args:
        module: dotted name, as `python -m` takes it.
        description: printed by `--help` as it is; the module's docstring.
    """
    return argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def run(main: Callable[..., None], arguments: argparse.ArgumentParser) -> None:
    """Parse the command line and call `main` with what it says."""
    report_errors(main, **vars(arguments.parse_args()))


def report_errors(main: Callable[..., None], **said: Any) -> None:
    """Call `main`; what is not a fault of ours becomes one line and an exit code, 130 for Ctrl-C.

    SIGTERM does what Ctrl-C does.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main(**said)
    except InputError as error:
        sys.exit(f"error: {error}")
    except FileNotFoundError as error:
        sys.exit(f"error: {error}; `dvc repro` makes what is missing in data, or `dvc pull` fetches it")
    except (OSError, SafetensorError) as error:  # a full disk, say; the message is enough
        sys.exit(f"error: {error}; {RESUMES}")
    except RuntimeError as error:
        if not is_lost_process(error):
            raise
        sys.exit(f"error: lost another process of this run ({str(error).splitlines()[0]}); {RESUMES}")
    except KeyboardInterrupt as interrupt:
        print(f"interrupted: {interrupt or 'what was finished is cached'}; the same command resumes", file=sys.stderr)
        sys.exit(130)

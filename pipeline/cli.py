"""The command line of stages and commands: argument parsing, and errors as one line and an exit code."""

import argparse
import signal
import sys
from collections.abc import Callable
from typing import Any

from safetensors import SafetensorError

from pipeline.errors import InputError, is_lost_process

RESUME_HINT = "what was finished is cached, the same command resumes from there"


def parser(module: str, description: str) -> argparse.ArgumentParser:
    """An argument parser that shows `description` unwrapped and accepts no abbreviated options.

    Args:
        module: dotted name, as in `python -m`.
        description: text of `--help`; the module's docstring.
    """
    return argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def run(main: Callable[..., None], arguments: argparse.ArgumentParser) -> None:
    """Parse the command line and call `main` with its arguments."""
    report_errors(main, **vars(arguments.parse_args()))


def report_errors(main: Callable[..., None], **options: Any) -> None:
    """Call `main`; print an expected error as one line and exit with 1, or with 130 after Ctrl-C.

    SIGTERM is handled like Ctrl-C. Other exceptions, which are bugs, are raised with their traceback.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main(**options)
    except InputError as error:
        sys.exit(f"error: {error}")
    except FileNotFoundError as error:
        sys.exit(f"error: {error}; `dvc repro` builds what is missing in data, `dvc pull` downloads it")
    except (OSError, SafetensorError) as error:  # a full disk, for example; the message is enough
        sys.exit(f"error: {error}; {RESUME_HINT}")
    except RuntimeError as error:
        if not is_lost_process(error):
            raise
        sys.exit(f"error: lost another process of this run ({str(error).splitlines()[0]}); {RESUME_HINT}")
    except KeyboardInterrupt as interrupt:
        what = str(interrupt) or "what was finished is cached"
        print(f"interrupted: {what}; the same command resumes", file=sys.stderr)
        sys.exit(130)

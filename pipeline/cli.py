"""The command line of stages and commands: argument parsing, and errors as one line and an exit code."""

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from pipeline import paths
from pipeline.errors import InputError, is_lost_process
from pipeline.locks import hold
from pipeline.log import show_log

RESUME_HINT = "what was finished is cached, the same command resumes from there"


Formatter = argparse.RawDescriptionHelpFormatter


def parser(prog: str, description: str) -> argparse.ArgumentParser:
    """An argument parser that shows `description` unwrapped and accepts no abbreviated options.

    Args:
        prog: what the user types before the arguments.
        description: text of `--help`; the module's docstring.
    """
    return argparse.ArgumentParser(prog=prog, description=description, formatter_class=Formatter, allow_abbrev=False)


def stage_parser(name: str, docstring: str | None) -> argparse.ArgumentParser:
    """The argument parser of a stage."""
    return parser(f"python -m pipeline.stages.{name}", docstring or "")


def output_file(text: str) -> Path:
    """argparse type: an output file, checked before any work starts."""
    path = Path(text)
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {path.parent}")
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{path} is a folder; give a file")
    return path


def refuse_input(out: Path | None, *inputs: Path | None) -> None:
    """Check that an output file is not a file that is read, nor a file in a folder that is read.

    Raises:
        InputError: it is.
    """
    if out is None or not out.exists():
        return
    for path in filter(None, inputs):
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        if any(out.samefile(file) for file in files):
            raise InputError(f"--out {out} is read by this command ({path}); name another file")


def refuse_shallow_clone(folder: Path) -> None:
    """Check that DVC can save experiments that it runs in copies of a repository.

    Raises:
        InputError: the repository is a shallow clone. DVC would run the experiment, lose its result and exit with 0.
    """
    command = ["git", "-C", str(folder), "rev-parse", "--is-shallow-repository"]
    if subprocess.run(command, capture_output=True, text=True).stdout.strip() == "true":
        raise InputError(
            f"{folder} is a shallow clone: DVC cannot save an experiment that runs in a copy of it (--temp, queue); "
            "`git fetch --unshallow` completes the clone"
        )


def run(main: Callable[..., None], arguments: argparse.ArgumentParser) -> None:
    """Parse the command line and call `main` with its arguments."""
    report_errors(main, **vars(arguments.parse_args()))


def run_stage(main: Callable[..., None], arguments: argparse.ArgumentParser) -> None:
    """Like `run`, for a stage: only one stage at a time writes in a workspace.

    DVC locks the workspace too, but a stage can outlive DVC. Of several processes of a stage, the main one waits; the
    others wait for it.
    """

    def alone(**options: Any) -> None:
        workspace = os.environ.get("DVC_ROOT")  # in a temporary copy, the workspace that it was made from
        if workspace and Path(workspace).resolve() != Path.cwd().resolve():
            refuse_shallow_clone(Path(workspace))
        with hold(paths.DATA, "one stage at a time writes to data"):
            main(**options)

    is_main_process = os.environ.get("RANK", "0") == "0"  # set by torchrun and accelerate
    run(alone if is_main_process else main, arguments)


def report_errors(main: Callable[..., None], **options: Any) -> None:
    """Call `main`; print an expected error and its notes as one line and exit with 1, or with 130 after Ctrl-C.

    SIGTERM is handled like Ctrl-C. Other exceptions, which are bugs, are raised with their traceback.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    show_log()
    try:
        main(**options)
    except InputError as error:
        sys.exit(f"error: {error}")
    except FileNotFoundError as error:
        sys.exit(f"error: {error}; `dvc repro` builds what is missing in data, `dvc pull` downloads it")
    except (OSError, SafetensorError) as error:  # a full disk, for example; the message is enough
        sys.exit("; ".join([f"error: {error}", *getattr(error, "__notes__", [])]))
    except RuntimeError as error:
        if not is_lost_process(error):
            raise
        sys.exit(f"error: lost another process of this run ({str(error).splitlines()[0]}); {RESUME_HINT}")
    except KeyboardInterrupt as interrupt:
        print(
            f"interrupted: {interrupt}; the same command resumes" if str(interrupt) else "interrupted", file=sys.stderr
        )
        sys.exit(130)

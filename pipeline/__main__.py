"""The command `span-distill`, also `python -m pipeline`.

Nothing heavy is imported before the arguments are read.
"""

import argparse
import ast
import importlib
import sys
from pathlib import Path
from typing import Any

from pipeline import cli
from pipeline.commands import arguments

GROUPS = {
    "Train and compare students": ("sweep", "show", "compare", "cost", "sizes", "report", "answers"),
    "Use a student": ("ask", "serve", "export", "page", "publish"),
    "Maintain the cache": ("cache",),
}
PACKAGE = Path(__file__).parent
USAGE = "Distill extractive question-answering models. `dvc repro` runs the pipeline; these commands use its results."


def main() -> None:
    refuse_another_checkout()
    options = vars(parser().parse_args())
    name = options.pop("name")

    def command(**options: Any) -> None:
        importlib.import_module(f"pipeline.commands.{name}").main(**options)

    cli.report_errors(command, **options)


def parser() -> argparse.ArgumentParser:
    """The parser of all commands. `name` has the command; all else are arguments of its `main`."""
    parser = cli.parser("span-distill", f"{USAGE}\n\n{overview()}\n")
    commands = parser.add_subparsers(dest="name", required=True, metavar="COMMAND", help="its own --help says more")
    for name in (name for names in GROUPS.values() for name in names):
        add_arguments = getattr(arguments, name)
        add_arguments(
            commands.add_parser(name, description=docstring(name), formatter_class=cli.Formatter, allow_abbrev=False)
        )
    return parser


def overview() -> str:
    """All commands in their groups, with a line each."""
    lines = []
    for group, names in GROUPS.items():
        summaries = [docstring(name).partition("\n")[0].partition(": ")[2] for name in names]
        lines += [f"{group}:", *(f"  {name:9}{summary}" for name, summary in zip(names, summaries, strict=True)), ""]
    return "\n".join(lines).rstrip()


def docstring(name: str) -> str:
    """The docstring of a command, read without importing the command."""
    source = (PACKAGE / "commands" / f"{name}.py").read_text(encoding="utf-8")
    return ast.get_docstring(ast.parse(source)) or ""


def refuse_another_checkout() -> None:
    """Exit if the working directory is another checkout than the one that is installed: its code would not run."""
    here = Path("pipeline/__main__.py")
    if here.is_file() and not here.samefile(__file__):
        sys.exit(
            f"error: this folder is another checkout than the installed one, {PACKAGE.parent}; install this one with "
            "`make .venv/installed` and activate its .venv, or run `python -m pipeline` here"
        )


if __name__ == "__main__":
    main()

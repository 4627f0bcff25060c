"""serve: answer questions over HTTP, on this machine: a page at /, `POST /answer`, /health, and /openapi.json.

Reads the students in the folders named, and the teacher's if given; writes nothing. Ctrl-C stops it.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from pipeline import cli, paths
from pipeline.web.service import server
from pipeline.web.service.limits import Limits
from pipeline.web.service.served import load

UNPROTECTED = "there is no password and no encryption"


def arguments() -> argparse.ArgumentParser:
    parser = cli.parser("pipeline.commands.serve", __doc__)
    parser.add_argument("folders", nargs="+", metavar="FOLDER", type=Path, help="of a student, such as data/student")
    parser.add_argument("--teacher", metavar="FOLDER", type=Path, help="of a question-answering model, to compare with")
    parser.add_argument("--port", type=int, default=8000, help="by default 8000; 0 for any that is free")
    parser.add_argument("--host", default=server.LOOPBACK, help=f"address to listen on, by default {server.LOOPBACK}")
    limits = parser.add_argument_group("limits")
    for field in fields(Limits):
        limits.add_argument(
            f"--{field.name.replace('_', '-')}",
            type=positive(type(field.default)),
            default=field.default,
            metavar=field.metadata["unit"],
            help=f"{field.metadata['help']}; by default {field.default:,}",
        )
    return parser


def positive(kind: type) -> Callable[[str], float]:
    """A type of argparse: a positive number."""

    def number(text: str) -> float:
        if not 0 < (value := kind(text)) < float("inf"):
            raise ValueError
        return value

    number.__name__ = f"positive {kind.__name__}"  # in argparse's message
    return number


def tokenizer_of(teacher: Path) -> Path:
    """The folder of a teacher's tokenizer: its own, or data/tokenizer/NAME for data/teacher/NAME."""
    beside = teacher.resolve().parent.parent / paths.tokenizer(teacher.resolve().name).relative_to(paths.TEACHER.parent)
    return beside if beside.is_dir() and not (teacher / "tokenizer.json").exists() else teacher


def main(folders: list[Path], teacher: Path | None, port: int, host: str, **limits: Any) -> None:
    students = load(folders, teacher, teacher and tokenizer_of(teacher))
    with server.listen(host, port) as socket:
        if not server.is_loopback(host):
            print(f"warning: --host {host} lets other machines ask; {UNPROTECTED}", file=sys.stderr)
        names = ", ".join(student.name for student in students)
        print(f"{names}: ask at {server.url(socket)} (Ctrl-C stops)", flush=True)
        server.run(students, Limits(**limits), host, socket)


if __name__ == "__main__":
    cli.run(main, arguments())

"""show: print the scores of the teachers and of the student side by side.

Reads metrics/teacher.json and metrics/eval.json. Computes and writes nothing.
"""

import json
from pathlib import Path
from typing import Any

from pipeline import cli, paths
from pipeline.errors import InputError


def main() -> None:
    teachers = {f"teacher {name}": row for name, row in read(paths.TEACHER_METRICS).items()}
    rows = {**teachers, "student": read(paths.EVAL_METRICS)}
    width = max(map(len, rows))
    print(f"{'':{width}}{'exact match':>13}{'F1':>8}{'span accuracy':>15}{'questions':>11}")
    for name, row in rows.items():
        scores = f"{row['exact_match']:13.2f}{row['f1']:8.2f}{row['span_accuracy']:15.2f}{row['questions']:11d}"
        print(f"{name:{width}}{scores}")


def read(path: Path) -> dict[str, Any]:
    """Read a metrics file.

    Raises:
        InputError: the file is missing or damaged.
    """
    if not path.exists():
        raise InputError(f"{path} is missing; `dvc repro` rebuilds it")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is damaged: {error}; delete it, then `dvc repro` rebuilds it") from None


if __name__ == "__main__":
    cli.run(main, cli.parser("pipeline.commands.show", __doc__))

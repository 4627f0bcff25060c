"""show: print the scores of the teachers and the student.

With unanswerable questions, F1 of those with and without an answer too, and how many are answered with none.
Reads metrics/teacher.json and metrics/eval.json, and says if they are not those of params.yaml, or a run was
interrupted after them. Computes and writes nothing.
"""

import json
import sys
from pathlib import Path
from typing import Any

from pipeline import paths
from pipeline.errors import InputError
from pipeline.experiments.lockfile import stale
from pipeline.params import read_yaml

COLUMNS = {
    "exact_match": "exact match",
    "f1": "    F1",
    "HasAns_f1": "F1 HasAns",
    "NoAns_f1": "F1 NoAns",
    "no_answer_rate": "% no answer",
    "span_accuracy": "span accuracy",
    "questions": "questions",
}
ALWAYS = ("exact_match", "f1", "span_accuracy", "questions")


def main() -> None:
    teachers = {f"teacher {name}": row for name, row in read(paths.TEACHER_METRICS).items()}
    rows = {**teachers, "student": read(paths.EVAL_METRICS)}
    columns = COLUMNS if "NoAns_f1" in rows["student"] else {key: COLUMNS[key] for key in ALWAYS}
    width = max(map(len, rows))
    print(" " * width + "".join(f"{title:>{len(title) + 2}}" for title in columns.values()))
    for name, row in rows.items():
        print(f"{name:{width}}" + "".join(cell(row, key, len(title) + 2) for key, title in columns.items()))
    if paths.LOCK.exists() and (difference := stale(read_yaml(paths.PARAMS), read_yaml(paths.LOCK) or {})):
        print(f"these are scores of an earlier run: {difference}; `dvc repro` updates them", file=sys.stderr)


def cell(row: dict[str, Any] | None, key: str, width: int) -> str:
    """A score in a column; a dash where a teacher has none, since it answers no such question."""
    if row is None or key not in row:
        return f"{'-':>{width}}"
    return f"{row[key]:{width}{'d' if key == 'questions' else '.2f'}}"


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

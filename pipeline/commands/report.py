"""report: write an HTML page that compares students; it needs no network.

Reads the scores, curves, params and costs of the runs named: revisions, DVC experiments, or `workspace`; and the
questions and the teachers' answers of the baseline. Computes nothing on a device; writes only --out.
"""

import io
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.csv

from pipeline import paths
from pipeline.commands.compare import group, read_costs, read_runs
from pipeline.errors import InputError
from pipeline.experiments.run import Run, read_questions, with_defaults
from pipeline.report.content import Entry, build
from pipeline.report.page import render
from pipeline.scores.question_scores import QUESTIONS


def main(names: list[str], baseline: str | None, out: Path) -> None:
    runs = read_runs(names, baseline)
    entries, questions, teachers = read_entries(runs), read_questions(runs[0]), read_teachers(runs[0])
    base = next(entry.student.name for entry in entries if runs[0].name in entry.student.runs)
    print(f"{len(entries)} students, {len(questions)} questions: computing intervals", file=sys.stderr)
    try:
        view, data = build(entries, base, questions, teachers)
    except ValueError as error:
        raise InputError(f"the students cannot be compared: {error}") from None
    page = render(view, data).encode()
    out.write_bytes(page)
    print(f"{out}: {len(entries)} students, {view['questions']} questions, {len(page) / 1e6:.1f} MB")


def read_entries(runs: list[Run]) -> list[Entry]:
    """The students of the runs, with what DVC and the cache hold of each."""
    by_name = {run.name: run for run in runs}
    students = group(runs)
    costs = read_costs(students, runs)
    entries = []
    for student in students:
        seeds = [by_name[name] for name in student.runs]
        curves = [(read_curve(run, "train"), read_curve(run, "validation")) for run in seeds]
        scores = [run.scores for run in seeds]
        entries.append(Entry(student, with_defaults(seeds[0].params), scores, curves, costs.get(student.name)))
    return entries


def read_curve(run: Run, name: str) -> pa.Table:
    """A curve of a run; without rows where it has none, since a run of few steps writes none.

    Raises:
        InputError: it is no table.
    """
    path = paths.CURVES / f"{name}.tsv"
    try:
        content = run.read(path)
    except InputError:
        return pa.table({"step": []})
    try:
        return pyarrow.csv.read_csv(io.BytesIO(content), parse_options=pyarrow.csv.ParseOptions(delimiter="\t"))
    except pa.ArrowInvalid as error:
        raise InputError(f"{path} of {run.name} is damaged ({error}); `dvc repro train` rebuilds it") from None


def read_teachers(run: Run) -> dict[str, pa.Table]:
    """The scores of each question of each teacher; where there are several, `mean` is the last.

    Raises:
        InputError: a teacher has none, or they are damaged.
    """
    names = sorted(run.params["teacher"]["models"])
    names += ["mean"] if len(names) > 1 else []
    files = {name: paths.question_scores(paths.TEACHER_PREDICTIONS / name) for name in names}
    tables = {name: run.read_table(path, "logits") for name, path in files.items()}
    for name, table in tables.items():
        if (table.schema.metadata or {}).get(QUESTIONS) != run.questions:
            raise InputError(f"the teacher {name} of {run.name} was scored on other questions; `dvc repro` scores it")
    return tables

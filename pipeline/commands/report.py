"""report: write an HTML page that compares students; it needs no network.

Reads the scores, curves, params and costs of the runs named: revisions, DVC experiments, or `workspace`; and the
questions and the teachers' answers of the baseline. Computes nothing on a device; writes only --out.
"""

import io
import sys
from pathlib import Path

import pandas as pd

from pipeline import paths
from pipeline.commands.compare import group, read_costs, read_runs
from pipeline.comparison import frames
from pipeline.comparison.leaderboard import Candidate
from pipeline.errors import InputError
from pipeline.experiments.run import Run, read_questions, with_defaults
from pipeline.report.content import Entry, build
from pipeline.report.page import render
from pipeline.scores.question_scores import QUESTIONS
from pipeline.scores.standard_errors import clusters_of


def main(names: list[str], baseline: str | None, out: Path) -> None:
    runs = read_runs(names, baseline)
    candidates = group(runs)
    entries, costs = read_entries(candidates, runs), read_costs(candidates, runs)
    questions, teachers = read_questions(runs[0]), read_teachers(runs[0])
    base = next(candidate.name for candidate in candidates if runs[0].name in candidate.runs)
    print(f"{len(entries)} students, {len(questions)} questions: computing intervals", file=sys.stderr)
    try:
        view, data = build(entries, costs, base, clusters_of(runs[0].scores), questions, teachers)
    except ValueError as error:
        raise InputError(f"the students cannot be compared: {error}") from None
    page = render(view, data).encode()
    out.write_bytes(page)
    print(f"{out}: {len(entries)} students, {view['questions']} questions, {len(page) / 1e6:.1f} MB")


def read_entries(candidates: list[Candidate], runs: list[Run]) -> list[Entry]:
    """The candidates with the params and curves of their runs."""
    by_name = {run.name: run for run in runs}
    return [
        Entry(
            candidate,
            with_defaults(by_name[candidate.runs[0]].params),
            [(read_curve(by_name[name], "train"), read_curve(by_name[name], "validation")) for name in candidate.runs],
        )
        for candidate in candidates
    ]


def read_curve(run: Run, name: str) -> pd.DataFrame:
    """A curve of a run; without rows where it has none, since a run of few steps writes none.

    Raises:
        InputError: it is not a table.
    """
    path = paths.CURVES / f"{name}.tsv"
    try:
        content = run.read(path)
    except InputError:
        return pd.DataFrame(columns=["step"])
    try:
        return pd.read_csv(io.BytesIO(content), sep="\t", engine="pyarrow")
    except ValueError as error:
        raise InputError(f"{path} of {run.name} is damaged ({error}); `dvc repro train` rebuilds it") from None


def read_teachers(run: Run) -> dict[str, pd.DataFrame]:
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
    return {name: frames.from_table(table) for name, table in tables.items()}

"""report: write an HTML page that compares students; it needs no network.

Reads the scores, curves, params and costs of the runs named: revisions, DVC experiments, or `workspace`; and the
questions and the teachers' answers of the baseline. Computes nothing on a device; writes only --out.
"""

import io
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline import paths
from pipeline.commands.compare import cost_columns, group, read_costs, read_runs, read_teacher_costs, read_teachers
from pipeline.comparison.leaderboard import Candidate
from pipeline.errors import InputError
from pipeline.experiments import costs
from pipeline.experiments.run import Run, read_questions, with_defaults
from pipeline.report.content import Entry, build
from pipeline.report.page import render
from pipeline.scores.standard_errors import clusters_of


def main(names: list[str], baseline: str | None, out: Path) -> None:
    runs = read_runs(names, baseline)
    candidates = group(runs)
    entries = read_entries(candidates, runs)
    measured = cost_columns(read_costs(candidates, runs) | read_teacher_costs(runs[0]), sizes=True)
    questions, teachers = read_questions(runs[0]), read_teachers(runs[0])
    base = next(candidate.name for candidate in candidates if runs[0].name in candidate.runs)
    print(f"{len(entries)} students, {len(questions)} questions: computing intervals", file=sys.stderr)
    try:
        view, data = build(entries, measured, base, clusters_of(runs[0].scores), questions, teachers)
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
            costs.gain_of(first_measured(candidate, by_name), float(candidate.by_run("f1").mean())),
            int8(first_measured(candidate, by_name)),
        )
        for candidate in candidates
    ]


def first_measured(candidate: Candidate, runs: Mapping[str, Run]) -> Run:
    """The first run of a candidate whose cost was measured, or else the first."""
    of_candidate = [runs[name] for name in candidate.runs]
    return next(filter(costs.read, of_candidate), of_candidate[0])


def int8(run: Run) -> dict[str, Any] | None:
    """The scores and the cost of a student's int8 export, if they were measured on all questions."""
    found = ((costs.read(run) or {}).get(costs.FORMS) or {}).get(costs.INT8)
    return found if found and found["questions"] == len(run.scores) and "f1_low" in found else None


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

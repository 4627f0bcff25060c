"""compare: print a leaderboard of students with intervals and verdicts.

Reads the scores of each question of the runs named: revisions, DVC experiments, or `workspace`.
Runs that differ only in their seed count as one student. With --slices, prints scores by question word, answer and
context length, answer position and number of windows, and the slices that differ most from the baseline.
Costs are shown where `span-distill cost` measured them. Computes nothing on a device; writes only --out.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline import paths
from pipeline.comparison import frames
from pipeline.comparison.leaderboard import Candidate, leaderboard, teacher_rows
from pipeline.comparison.settings import labels
from pipeline.comparison.slices import slice_rows
from pipeline.comparison.slices import slices as labels_of_slices
from pipeline.comparison.tables import markdown, markdown_slices
from pipeline.errors import InputError
from pipeline.experiments import costs
from pipeline.experiments.run import (
    Run,
    read_questions,
    read_run,
    refuse_other_questions,
    scored_runs,
    with_defaults,
)
from pipeline.scores.question_scores import QUESTIONS
from pipeline.scores.standard_errors import Clusters, clusters_of

SIZES = ("parameters", "nonzero_parameters", "bytes")  # in metrics/eval.json


def main(names: list[str], baseline: str | None, slices: bool, format: str, out: Path | None) -> None:
    runs = read_runs(names, baseline)
    candidates = group(runs)
    base = next(candidate.name for candidate in candidates if runs[0].name in candidate.runs)
    clusters = clusters_of(runs[0].scores)
    measured = {} if slices else read_costs(candidates, runs)
    try:
        if slices:
            kinds = labels_of_slices(frames.from_table(runs[0].scores), read_questions(runs[0]))
            rows = slice_rows(candidates, clusters.labels, base, kinds)
        else:
            rows = leaderboard(candidates, clusters.labels, base).join(cost_columns(measured), on="name")
    except ValueError as error:
        raise InputError(f"the students cannot be compared: {error}") from None
    if format == "csv":
        text = rows.to_csv(index=False)
    elif format == "json":
        text = json.dumps(frames.records(rows), indent=2) + "\n"
    elif slices:
        text = markdown_slices(rows, base, clusters)
    else:
        exported = {name: values[costs.FORMS] for name, values in measured.items() if values.get(costs.FORMS)}
        text = markdown(rows, clusters, read_teacher_rows(runs[0], clusters), exported, len(runs[0].scores))
    if out:
        out.write_text(text, encoding="utf-8")
    else:
        print(text, end="")


def read_runs(names: list[str], baseline: str | None) -> list[Run]:
    """The runs named, that of the baseline first; by default HEAD, the workspace and every experiment.

    Raises:
        InputError: a run cannot be read, or was scored on other questions than the first.
    """
    first = [baseline] if baseline else []
    runs = [read_run(name) for name in dict.fromkeys([*first, *names])] if names else scored_runs(first)
    refuse_other_questions(runs)
    return runs


def read_costs(candidates: Sequence[Candidate], runs: Sequence[Run]) -> dict[str, dict[str, Any]]:
    """The costs of the candidates by name: of the first run whose cost was measured, if any was."""
    by_name = {run.name: run for run in runs}
    measured = {}
    for candidate in candidates:
        found = filter(None, (costs.read(by_name[name]) for name in candidate.runs))
        if first := next(found, None):
            measured[candidate.name] = first
    return measured


def read_teacher_costs(run: Run) -> dict[str, dict[str, Any]]:
    """The costs of a run's teachers by `teacher NAME`; of one that was not measured, the bytes of its weights alone."""
    known = {f"teacher {name}": costs.figures(run, name) for name in costs.teachers(run)}
    return {name: {"bytes": figures.bytes, **(figures.cost or {})} for name, figures in known.items() if figures.bytes}


def cost_columns(measured: Mapping[str, Mapping[str, Any]], sizes: bool = False) -> pd.DataFrame:
    """Costs as a frame with a row for each model.

    Args:
        sizes: whether with the columns that a leaderboard has.
    """
    columns = [key for key in costs.KEYS if sizes or key not in SIZES]
    found = pd.DataFrame.from_dict(dict(measured), orient="index").reindex(columns=columns)
    return found.astype({"compressed_bytes": "Int64", "threads": "Int64"})


def read_teacher_rows(run: Run, clusters: Clusters) -> pd.DataFrame:
    """The scores and the costs of a run's teachers, with columns of a leaderboard; none if it has no scores of them."""
    try:
        found = read_teachers(run)
    except InputError as error:
        print(f"without its teachers: {error}", file=sys.stderr)
        found = {}
    rows = teacher_rows(found, clusters.labels)
    return rows.join(cost_columns(read_teacher_costs(run), sizes=True), on="name")


def read_teachers(run: Run) -> dict[str, pd.DataFrame]:
    """The scores of each question of each teacher; where there are several, `mean` is the last.

    Raises:
        InputError: a teacher has none, or they are damaged.
    """
    names = costs.teachers(run)
    names += ["mean"] if len(names) > 1 else []
    files = {name: paths.question_scores(paths.TEACHER_PREDICTIONS / name) for name in names}
    tables = {name: run.read_table(path, "logits") for name, path in files.items()}
    for name, table in tables.items():
        if (table.schema.metadata or {}).get(QUESTIONS) != run.questions:
            raise InputError(f"the teacher {name} of {run.name} was scored on other questions; `dvc repro` scores it")
    return {name: frames.from_table(table) for name, table in tables.items()}


def group(runs: Sequence[Run]) -> list[Candidate]:
    """Candidates from runs: runs that differ only in their seed count as one.

    Of several runs with equal params, the first is taken, for example of an experiment and the workspace that it was
    applied to. A run with equal params but other scores, from other code or data, is named. So are runs that had other
    questions, logits or another encoder than the first run with the same params of these.
    """
    settings: dict[str, dict[Any, Run]] = {}
    first_with: dict[str, Run] = {}
    other_inputs: dict[str, list[str]] = {}
    for run in runs:
        taken = settings.setdefault(run.setting, {}).setdefault(run.params.get("seed"), run)
        if not taken.scores.equals(run.scores):
            print(f"left out: {run.name} has the same params as {taken.name}, but other scores", file=sys.stderr)
    grouped = [list(seeds.values()) for seeds in settings.values()]
    for run in chain(*grouped):
        first = first_with.setdefault(run.input_setting, run)
        if run.inputs != first.inputs:
            other_inputs.setdefault(first.name, []).append(run.name)
    for first_name, others in other_inputs.items():
        print(
            f"warning: {', '.join(others)} had other questions, logits or another encoder than {first_name}, although "
            "the params are equal; a difference between their scores may come from these",
            file=sys.stderr,
        )
    names = labels([with_defaults(seeds[0].params) for seeds in grouped])
    return [_candidate(name, seeds) for name, seeds in zip(names, grouped, strict=True)]


def _candidate(name: str, runs: Sequence[Run]) -> Candidate:
    scores = {run.name: frames.from_table(run.scores) for run in runs}
    return Candidate(name, scores, *(runs[0].metrics[key] for key in SIZES))

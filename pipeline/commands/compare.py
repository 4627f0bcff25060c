"""compare: print a leaderboard of students with intervals and verdicts.

Reads the scores of each question of the runs named: revisions, DVC experiments, or `workspace`.
Runs that differ only in their seed count as one student. With --slices, prints scores by question word, answer and
context length, answer position and number of windows, and the slices that differ most from the baseline.
Costs are shown where `span-distill cost` measured them. Computes nothing on a device; writes only --out.
"""

import json
import sys
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.commands import cost
from pipeline.comparison import frames
from pipeline.comparison.leaderboard import Candidate, leaderboard
from pipeline.comparison.settings import labels
from pipeline.comparison.slices import slice_rows
from pipeline.comparison.slices import slices as labels_of_slices
from pipeline.comparison.tables import markdown, markdown_slices
from pipeline.errors import InputError
from pipeline.experiments.run import (
    Run,
    read_questions,
    read_run,
    refuse_other_questions,
    scored_runs,
    with_defaults,
)
from pipeline.scores.standard_errors import Clusters, clusters_of

SIZES = ("parameters", "nonzero_parameters", "bytes")  # in metrics/eval.json


def main(names: list[str], baseline: str | None, slices: bool, format: str, out: Path | None) -> None:
    runs = read_runs(names, baseline)
    candidates = group(runs)
    base = next(candidate.name for candidate in candidates if runs[0].name in candidate.runs)
    clusters = clusters_of(runs[0].scores)
    try:
        if slices:
            kinds = labels_of_slices(frames.from_table(runs[0].scores), read_questions(runs[0]))
            rows = slice_rows(candidates, clusters.labels, base, kinds)
        else:
            rows = leaderboard(candidates, clusters.labels, base).join(read_costs(candidates, runs), on="name")
    except ValueError as error:
        raise InputError(f"the students cannot be compared: {error}") from None
    text = render(rows, base, clusters, format)
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


def read_costs(candidates: Sequence[Candidate], runs: Sequence[Run]) -> pd.DataFrame:
    """The costs of the candidates by name, without sizes: of the first run whose cost was measured, if any was."""
    by_name = {run.name: run for run in runs}
    measured = {}
    for candidate in candidates:
        costs = filter(None, (cost.read(by_name[name]) for name in candidate.runs))
        if first := next(costs, None):
            measured[candidate.name] = first
    columns = [key for key in cost.KEYS if key not in SIZES]
    found = pd.DataFrame.from_dict(measured, orient="index").reindex(columns=columns)
    return found.astype({"compressed_bytes": "Int64", "threads": "Int64"})


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


def render(rows: pd.DataFrame, baseline: str, clusters: Clusters, format: str) -> str:
    """A leaderboard, or rows of slices, in one of the formats."""
    if format == "csv":
        return rows.to_csv(index=False)
    if format == "json":
        return json.dumps(frames.records(rows), indent=2) + "\n"
    return markdown_slices(rows, baseline, clusters) if "kind" in rows else markdown(rows, clusters)

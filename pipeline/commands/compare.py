"""compare: print a leaderboard of students with intervals and verdicts.

Reads the scores of each question of the runs named: revisions, DVC experiments, or `workspace`.
Runs whose params differ in the seed alone are one student. With --slices, prints their scores on slices of the
questions, by question word, lengths, place of the answer and windows, and where they differ most from the baseline.
Costs are shown where `span-distill cost` measured them. Computes nothing on a device; writes only --out.
"""

import csv
import io
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.commands import cost
from pipeline.comparison.leaderboard import Row, Student, as_dict, leaderboard
from pipeline.comparison.settings import labels
from pipeline.comparison.slices import SliceRow, slice_rows
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


def main(names: list[str], baseline: str | None, slices: bool, format: str, out: Path | None) -> None:
    runs = read_runs(names, baseline)
    students = group(runs)
    base = next(student.name for student in students if runs[0].name in student.runs)
    paragraphs = runs[0].scores["paragraph"].to_numpy(zero_copy_only=False)
    try:
        if slices:
            kinds = labels_of_slices(runs[0].scores, read_questions(runs[0]))
            text = render_slices(slice_rows(students, paragraphs, base, kinds), base, format)
        else:
            text = render(leaderboard(students, paragraphs, base), read_costs(students, runs), format)
    except ValueError as error:
        raise InputError(f"the students cannot be compared: {error}") from None
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


def read_costs(students: Sequence[Student], runs: Sequence[Run]) -> dict[str, dict[str, Any]]:
    """The cost of each student by its name: of its first run whose cost was measured, if there is one."""
    by_name = {run.name: run for run in runs}
    known = {student.name: [cost.read(by_name[name]) for name in student.runs] for student in students}
    return {name: values for name, of_runs in known.items() for values in list(filter(None, of_runs))[:1]}


def group(runs: Sequence[Run]) -> list[Student]:
    """Students from runs: those whose params differ in the seed alone are one.

    Of several runs with equal params, the first is taken: an experiment that was applied to the workspace, say. One
    that has other scores, since it is of other code or data, is named. So is a run that had other questions, logits or
    another encoder than the first run with the same params of these.
    """
    settings: dict[str, dict[Any, Run]] = {}
    first_with: dict[str, Run] = {}
    for run in runs:
        taken = settings.setdefault(run.setting, {}).setdefault(run.params.get("seed"), run)
        if not taken.scores.equals(run.scores):
            print(f"left out: {run.name} has the params of {taken.name}, but other scores", file=sys.stderr)
    students = [list(seeds.values()) for seeds in settings.values()]
    for run in chain(*students):
        first = first_with.setdefault(run.input_setting, run)
        if run.inputs != first.inputs:
            print(
                f"warning: {run.name} had other questions, logits or another encoder than {first.name}, with the same "
                "params of these; their difference is also one of these",
                file=sys.stderr,
            )
    names = labels([with_defaults(seeds[0].params) for seeds in students])
    return [_student(name, seeds) for name, seeds in zip(names, students, strict=True)]


def _student(name: str, runs: Sequence[Run]) -> Student:
    def stacked(column: str) -> np.ndarray:
        return np.stack([run.scores[column].to_numpy() for run in runs])

    return Student(
        name,
        tuple(run.name for run in runs),
        stacked("exact_match"),
        stacked("f1"),
        stacked("agreement"),
        *(runs[0].metrics[key] for key in ("parameters", "nonzero_parameters", "bytes")),
    )


def render(rows: list[Row], costs: dict[str, dict[str, Any]], format: str) -> str:
    """The leaderboard in one of the formats."""
    if format == "markdown":
        return markdown(rows, costs)
    unknown = dict.fromkeys(cost.KEYS)
    return _values([{**unknown, **costs.get(row.name, {}), **as_dict(row)} for row in rows], format)


def render_slices(rows: list[SliceRow], baseline: str, format: str) -> str:
    """The slices in one of the formats."""
    return markdown_slices(rows, baseline) if format == "markdown" else _values([asdict(row) for row in rows], format)


def _values(rows: list[dict[str, Any]], format: str) -> str:
    if format == "json":
        return json.dumps(rows, indent=2) + "\n"
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()

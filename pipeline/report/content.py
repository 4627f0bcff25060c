"""What the report shows, from the scores, params, curves and costs of students. Pure: takes values, returns values."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.comparison.leaderboard import Row, Student, leaderboard, with_interval
from pipeline.comparison.settings import differing_in, flatten
from pipeline.comparison.slices import slice_rows, slices
from pipeline.comparison.statistics import score_interval
from pipeline.report import charts
from pipeline.report.examples import pack

Values = list[dict[str, Any]]

EFFECTS = ("distill.alpha", "distill.temperature", "train.epochs", "prune.amount")
CURVE_POINTS = 200  # of a run; a screen shows no more


@dataclass(frozen=True)
class Entry:
    """A student and what is known of its S runs.

    Attributes:
        params: values of params.yaml, of the first run.
        scores: S tables, a row a question.
        curves: S times the training curve and the validation curve.
        costs: as measured by `commands.cost`; None where they were not.
    """

    student: Student
    params: Mapping[str, Any]
    scores: Sequence[pa.Table]
    curves: Sequence[tuple[pa.Table, pa.Table]]
    costs: Mapping[str, Any] | None


def build(
    entries: Sequence[Entry], baseline: str, records: Sequence[dict[str, Any]], teachers: Mapping[str, pa.Table]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The two arguments of `page.render`.

    Args:
        baseline: the name of a student.
        records: the N questions that the students and teachers were scored on.
        teachers: scores of each question, by the teacher's name; the last decides what "the teacher" answers.

    Raises:
        ValueError: the students cannot be compared.
    """
    table = entries[0].scores[0]
    paragraphs = table["paragraph"].to_numpy()
    rows = leaderboard([entry.student for entry in entries], paragraphs, baseline)
    by_name = {entry.student.name: entry for entry in entries}
    ranked = [by_name[row.name] for row in rows]

    latency, device = latencies({entry.student.name: entry.costs for entry in ranked if entry.costs}, baseline)
    costs = cost_charts(rows, latency, device, baseline)
    effects = effect_charts(rows, [entry.params for entry in ranked], baseline)
    kinds = slices(table, records)
    sliced = [asdict(row) for row in slice_rows([entry.student for entry in ranked], paragraphs, baseline, kinds)]
    by_kind = {
        f"slice {kind}": charts.slices([row for row in sliced if row["kind"] == kind], kind, baseline) for kind in kinds
    }
    view = {
        "rows": rows,
        "baseline": baseline,
        "questions": len(table),
        "paragraphs": len(set(paragraphs)),
        "latency": latency,
        "device": device,
        "teachers": [teacher_row(name, scores) for name, scores in teachers.items()],
        "costs": list(costs),
        "effects": list(effects),
        "kinds": list(kinds),
    }
    data = {
        "students": [row.name for row in rows],
        "baseline": baseline,
        "config": charts.CONFIG,
        "charts": {**costs, **effects, **by_kind, "curves": charts.curves(curve_values(ranked), baseline)},
        "slices": sliced,
        "examples": pack(records, teachers, [entry.scores for entry in ranked]),
    }
    return view, data


def teacher_row(name: str, scores: pa.Table) -> dict[str, Any]:
    """A teacher's name, and its exact match and F1 with intervals, named as in a `Row`."""
    row: dict[str, Any] = {"name": name}
    for metric in ("exact_match", "f1"):
        row |= with_interval(metric, score_interval(scores[metric].to_numpy(), scores["paragraph"].to_numpy()))
    return row


def latencies(costs: Mapping[str, Mapping[str, Any]], baseline: str) -> tuple[dict[str, float], str]:
    """The latencies, ms, that can be compared: those on the baseline's device with as many threads, and which it is.

    Without a cost of the baseline, the first one's device counts.
    """
    if not costs:
        return {}, ""
    devices = {name: f"{cost['device']} x{cost['threads']}" for name, cost in costs.items()}
    device = devices.get(baseline, next(iter(devices.values())))
    return {name: cost["latency_ms_median"] for name, cost in costs.items() if devices[name] == device}, device


def cost_charts(
    rows: Sequence[Row], latency: Mapping[str, float], device: str, baseline: str
) -> dict[str, charts.Spec]:
    """F1 against size, and against latency where that is known of any student.

    Args:
        latency: ms, by the student's name.
        device: on which.
    """
    shown = points(rows)
    sizes = [{**point, "size": row.bytes / 1e6} for point, row in zip(shown, rows, strict=True)]
    timed = [{**point, "latency": latency[point["student"]]} for point in shown if point["student"] in latency]
    found = {"size": charts.against(sizes, "size", "size, MB", baseline)}
    if timed:
        found["latency"] = charts.against(timed, "latency", f"latency of one window on {device}, ms", baseline)
    return found


def effect_charts(rows: Sequence[Row], settings: Sequence[Mapping[str, Any]], baseline: str) -> dict[str, charts.Spec]:
    """F1 against each of `EFFECTS` in which alone some students differ.

    Args:
        settings: the params of each row's student.
    """
    shown, found = points(rows), {}
    for key in EFFECTS:
        values = [
            {**shown[i], "group": group, "value": flatten(settings[i])[key]}
            for group, members in enumerate(differing_in(key, settings))
            for i in members
        ]
        if values:
            found[key] = charts.effect(values, key, baseline)
    return found


def points(rows: Sequence[Row]) -> Values:
    """Of each student, its place in the leaderboard and its F1 with the interval."""
    return [
        {"student": row.name, "number": i, "f1": row.f1, "f1_low": row.f1_low, "f1_high": row.f1_high}
        for i, row in enumerate(rows, 1)
    ]


def curve_values(entries: Sequence[Entry]) -> Values:
    """The rows of all runs' curves, at most `CURVE_POINTS` of a curve, evenly spaced."""
    return [
        {"student": entry.student.name, "run": run, **row}
        for entry in entries
        for run, curves in zip(entry.student.runs, entry.curves, strict=True)
        for curve in curves
        for row in curve.take(pa.array(evenly_spaced(len(curve), CURVE_POINTS), pa.int64())).to_pylist()
    ]


def evenly_spaced(length: int, most: int) -> list[int]:
    """Indices below `length`, at most `most` of them, the first and the last among them."""
    return np.unique(np.linspace(0, length - 1, min(length, most)).round().astype(int)).tolist()

"""What the report shows, from the scores, params, curves and costs of students. Pure: takes values, returns values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.comparison import frames, notes, tables
from pipeline.comparison.leaderboard import Candidate, leaderboard, teacher_rows
from pipeline.comparison.settings import differing_in, flatten
from pipeline.comparison.slices import slice_rows, slices
from pipeline.questions.question import Question
from pipeline.report import charts
from pipeline.report.examples import pack
from pipeline.scores.standard_errors import Clusters

EFFECTS = ("distill.alpha", "distill.temperature", "train.epochs", "prune.amount")
LATENCIES = {"latency_ms_median": "latency", "latency_ms_low": "latency_low", "latency_ms_high": "latency_high"}
CURVE_POINTS = 200  # of a run; a screen shows no more


@dataclass(frozen=True, eq=False)
class Entry:
    """A student and what is known of its runs.

    Attributes:
        params: values of params.yaml, of the first run.
        curves: of each run the training curve and the validation curve.
        gain: over its teachers, see `answering.gain`; "" if it is not known.
        int8: the scores and cost of its int8 export, if they were measured on all questions, see `experiments.costs`.
    """

    candidate: Candidate
    params: Mapping[str, Any]
    curves: Sequence[tuple[pd.DataFrame, pd.DataFrame]]
    gain: str
    int8: Mapping[str, Any] | None


def build(
    entries: Sequence[Entry],
    costs: pd.DataFrame,
    baseline: str,
    clusters: Clusters,
    records: Sequence[Question],
    teachers: Mapping[str, pd.DataFrame],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The two arguments of `page.render`.

    Args:
        costs: of some students by name, and of some teachers by `teacher NAME`; as `span-distill cost` measured them.
            Of the others, a teacher may have `bytes` alone.
        baseline: the name of a student.
        clusters: of the questions.
        records: the N questions that the students and teachers were scored on.
        teachers: scores of each question, by the teacher's name; the last decides what "the teacher" answers.

    Raises:
        ValueError: the students cannot be compared.
    """
    candidates = [entry.candidate for entry in entries]
    scores = next(iter(candidates[0].scores.values()))
    rows = leaderboard(candidates, clusters.labels, baseline)
    by_name = {entry.candidate.name: entry for entry in entries}
    ranked = [by_name[name] for name in rows["name"]]

    taught = teacher_rows(teachers, clusters.labels)
    timed, device = latencies(costs, baseline)
    cost_specs = cost_charts(rows, taught, [entry.int8 for entry in ranked], costs, timed, device, baseline)
    effects = effect_charts(rows, [entry.params for entry in ranked], baseline)
    labels = slices(scores, records)
    sliced = slice_rows([entry.candidate for entry in ranked], clusters.labels, baseline, labels)
    by_kind = {
        f"slice {kind}": charts.slices(frames.records(of_kind), str(kind), baseline)
        for kind, of_kind in sliced.groupby("kind", sort=False)
    }
    view = {
        "rows": frames.records(rows.assign(verdict_text=tables.verdicts(rows))),
        "baseline": baseline,
        "questions": len(scores),
        "clusters": f"{len(set(clusters.labels)):,} {clusters.unit}s",
        "notes": notes.of_leaderboard(rows, clusters),
        "slice_notes": notes.of_slices(sliced, clusters),
        "gain": {"student": ranked[0].candidate.name, "text": ranked[0].gain},
        "latency": timed[[*LATENCIES]].rename(columns=lambda name: name.rpartition("_")[2]).to_dict("index"),
        "device": device,
        "teachers": frames.records(taught.join(costs[["parameters", "nonzero_parameters", "bytes"]], on="name")),
        "costs": list(cost_specs),
        "exported": any(entry.int8 for entry in entries),
        "effects": list(effects),
        "kinds": sliced["kind"].unique().tolist(),
    }
    data = {
        "students": rows["name"].tolist(),
        "baseline": baseline,
        "gains": [entry.gain for entry in ranked],
        "config": charts.CONFIG,
        "charts": {**cost_specs, **effects, **by_kind, "curves": charts.curves(curve_values(ranked), baseline)},
        "slices": frames.records(sliced.assign(verdict_text=tables.verdicts(sliced))),
        "examples": pack(records, teachers, [entry.candidate for entry in ranked]),
    }
    return view, data


def latencies(costs: pd.DataFrame, baseline: str) -> tuple[pd.DataFrame, str]:
    """The costs whose latencies can be compared: on the baseline's device with as many threads, and which it is.

    Without a cost of the baseline, the first one's device counts.
    """
    timed = costs.dropna(subset="latency_ms_median")
    devices = timed["device"].astype(str) + " x" + timed["threads"].astype(str)
    device = devices.get(baseline, next(iter(devices), ""))
    return timed[devices == device], device


def cost_charts(
    rows: pd.DataFrame,
    teachers: pd.DataFrame,
    exports: Sequence[Mapping[str, Any] | None],
    costs: pd.DataFrame,
    timed: pd.DataFrame,
    device: str,
    baseline: str,
) -> dict[str, charts.Spec]:
    """F1 against size, and against latency where that is known of any student.

    Args:
        rows: a leaderboard.
        teachers: their scores, see `leaderboard.teacher_rows`.
        exports: of each row's student, see `Entry.int8`.
        costs: see `build`.
        timed, device: see `latencies`.
    """
    students = points(rows).assign(bytes=rows["bytes"], teacher=False, exported=False)
    students = students.join(timed[[*LATENCIES]], on="student").assign(label=students["number"].astype(str))
    taught = teachers.rename(columns={"name": "student"}).join(costs["bytes"], on="student")
    taught = taught.join(timed[[*LATENCIES]], on="student")
    taught = taught.assign(teacher=True, exported=False, label=taught["student"])
    exported = [
        {**export, "student": name, "number": number, "label": f"{number} int8", "teacher": False, "exported": True}
        for number, (name, export) in enumerate(zip(rows["name"], exports, strict=True), 1)
        if export
    ]
    hollow = pd.DataFrame(exported, columns=[*students.columns, "device", "threads"])
    elsewhere = hollow["device"].astype(str) + " x" + hollow["threads"].astype(str) != device
    hollow.loc[elsewhere, [*LATENCIES]] = np.nan
    shown = pd.concat([students, taught, hollow])[[*students.columns]].rename(columns=LATENCIES)
    sizes = shown.assign(size=shown["bytes"] / 1e6).drop(columns=["bytes", *LATENCIES.values()]).dropna(subset="size")
    latency = shown.drop(columns="bytes").dropna(subset="latency")
    found = {"size": charts.against(frames.records(sizes), "size", "size, MB", baseline)}
    if not latency["teacher"].all():
        title = f"latency of one window on {device}, ms"
        found["latency"] = charts.against(frames.records(latency), "latency", title, baseline)
    return found


def effect_charts(rows: pd.DataFrame, settings: Sequence[Mapping[str, Any]], baseline: str) -> dict[str, charts.Spec]:
    """F1 against each of `EFFECTS` in which alone some students differ.

    Args:
        settings: the params of each row's student.
    """
    shown, found = frames.records(points(rows)), {}
    for key in EFFECTS:
        values = [
            {**shown[i], "group": group, "value": flatten(settings[i])[key]}
            for group, members in enumerate(differing_in(key, settings))
            for i in members
        ]
        if values:
            found[key] = charts.effect(values, key, baseline)
    return found


def points(rows: pd.DataFrame) -> pd.DataFrame:
    """Of each student, its place in the leaderboard and its F1 with the interval."""
    shown = rows[["name", "f1", "f1_low", "f1_high"]].rename(columns={"name": "student"})
    return shown.assign(number=range(1, len(rows) + 1))


def curve_values(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """The rows of all runs' curves, at most `CURVE_POINTS` of a curve, evenly spaced."""
    return [
        {"student": entry.candidate.name, "run": run, **row}
        for entry in entries
        for run, curves in zip(entry.candidate.runs, entry.curves, strict=True)
        for curve in curves
        for row in frames.records(curve.iloc[evenly_spaced(len(curve), CURVE_POINTS)])
    ]


def evenly_spaced(length: int, most: int) -> list[int]:
    """Indices below `length`, at most `most` of them, the first and the last among them."""
    return np.unique(np.linspace(0, length - 1, min(length, most)).round().astype(int)).tolist()

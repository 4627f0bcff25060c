"""compare: print a leaderboard of students, with intervals, paired differences and verdicts.

Reads the scores of each question of the runs named: revisions, DVC experiments, or `workspace`.
Runs whose params differ in the seed alone are one student. With --slices, prints their scores on slices of the
questions, by question word, lengths, place of the answer and windows, and where they differ most from the baseline.
Costs are shown where `pipeline.commands.cost` measured them. Computes nothing on a device; writes only --out.
"""

import argparse
import csv
import io
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import numpy as np
import tabulate

from pipeline import cli
from pipeline.commands import cost
from pipeline.commands.experiments import (
    Run,
    read_questions,
    read_run,
    refuse_other_questions,
    scored_runs,
    with_defaults,
)
from pipeline.comparison.leaderboard import Row, Student, as_dict, leaderboard
from pipeline.comparison.settings import labels
from pipeline.comparison.slices import SliceRow, slice_rows
from pipeline.comparison.slices import slices as labels_of_slices
from pipeline.errors import InputError

FORMATS = ("markdown", "csv", "json")
INTERVALS = """\
Intervals hold 95 %. Paragraphs are resampled, since questions about one are dependent; seeds too,
where there are several. sd: standard deviation of F1 between seeds.
"""
TESTS = """\
p: paired by question, signs flipped by paragraph; with several seeds, that of a t test that counts
them, if it is larger. Holm-corrected over all rows. verdict: by F1.
"""
COSTS = """
MB: weights, plain and zipped. ms: latency, median and 95th percentile. on: device and CPU threads.
"""
POWER = """\
detects: the smallest F1 difference that one such test, uncorrected, shows with a power of 80 %.
"""
MCNEMAR = """\
McNemar: exact, uncorrected, ignores paragraphs.
"""
NAME_WIDTH = 14  # longer names would make tables wider than 100 columns
MOST_DIFFERENT = 3  # slices named as those where a student differs most

tabulate.MIN_PADDING = 0  # by default headers are two wider than they need to be


def arguments() -> argparse.ArgumentParser:
    parser = cli.parser("pipeline.commands.compare", __doc__)
    parser.add_argument(
        "names",
        nargs="*",
        metavar="REV|EXP",
        help="by default HEAD, the workspace, and every experiment of the repository",
    )
    parser.add_argument("--baseline", metavar="REV|EXP", help="by default the first run named or read")
    parser.add_argument("--slices", action="store_true", help="scores on slices of the questions, not the leaderboard")
    parser.add_argument("--format", choices=FORMATS, default="markdown")
    parser.add_argument("--out", metavar="FILE", type=cli.output_file, help="write there, not to the terminal")
    return parser


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
    """The leaderboard in one of `FORMATS`."""
    if format == "markdown":
        return markdown(rows, costs)
    unknown = dict.fromkeys(cost.KEYS)
    return _values([{**unknown, **costs.get(row.name, {}), **as_dict(row)} for row in rows], format)


def render_slices(rows: list[SliceRow], baseline: str, format: str) -> str:
    """The slices in one of `FORMATS`."""
    return markdown_slices(rows, baseline) if format == "markdown" else _values([asdict(row) for row in rows], format)


def markdown(rows: list[Row], costs: dict[str, dict[str, Any]]) -> str:
    """Markdown tables of scores, differences and costs, and what to know about them, 100 columns wide."""
    short, legend = _short_names([row.name for row in rows])
    scores = [
        {
            "student": short[row.name],
            "seeds": len(row.runs),
            "exact match": _interval(row, "exact_match"),
            "F1": _interval(row, "f1"),
            "sd": "" if row.seed_deviation is None else f"{row.seed_deviation:.2f}",
            "weights": f"{row.parameters / 1e6:.3g} M",
            "zeros": f"{100 * row.zeros:.0f} %",
        }
        for row in rows
    ]
    parts = [_table(scores) + legend]
    differences = [
        {
            "student": short[row.name],
            "F1": _interval(row, "f1_difference", "+"),
            "p": _p_value(row.f1_p),
            "EM": _fixed(row.exact_match_difference, 2, "+"),
            "p EM": _p_value(row.exact_match_p),
            "McNemar": _p_value(row.mcnemar_p),
            "detects": f"{row.detectable:.2f}",
            "verdict": row.verdict,
        }
        for row in rows
        if row.verdict
    ]
    (base,) = (row.name for row in rows if not row.verdict)
    if differences:
        parts.append(f"Less {base}, the baseline:\n\n{_table(differences)}")
    known = [
        {
            "student": short[row.name],
            "GFLOP": f"{costs[row.name]['gflops_per_window']:.3g}",
            "MB": f"{costs[row.name]['bytes'] / 1e6:.3g}",
            "zipped": f"{costs[row.name]['compressed_bytes'] / 1e6:.3g}",
            "ms": f"{costs[row.name]['latency_ms_median']:.1f}",
            "p95": f"{costs[row.name]['latency_ms_p95']:.1f}",
            "windows/s": f"{costs[row.name]['windows_per_second']:.0f}",
            "peak MB": f"{costs[row.name]['peak_memory_mb']:.0f}",
            "on": f"{costs[row.name]['device']} x{costs[row.name]['threads']}",
        }
        for row in rows
        if row.name in costs
    ]
    if known:
        parts.append(f"Cost of one window of mean length, by pipeline.commands.cost:\n\n{_table(known)}{COSTS}")
    notes = [INTERVALS, *([TESTS, POWER] if differences else [])]
    notes += [MCNEMAR] * any(row.mcnemar_p is not None for row in rows)
    parts.append("".join(notes))
    return "\n".join(parts)


def markdown_slices(rows: list[SliceRow], baseline: str) -> str:
    """For each student a Markdown table, 100 columns wide, and the slices where it differs most from the baseline."""
    parts = []
    for student, of_student in groupby(rows, lambda row: row.student):
        mine = list(of_student)
        lines: list[dict[str, Any]] = []
        for kind, of_kind in groupby(mine, lambda row: row.kind):
            lines.append({"slice": f"{kind}:"})
            lines += [
                {
                    "slice": row.label,
                    "n": row.questions,
                    "EM": f"{row.exact_match:.2f}",
                    "F1": _interval(row, "f1"),
                    "difference": _interval(row, "f1_difference", "+"),
                    "p": _p_value(row.f1_p),
                }
                for row in of_kind
            ]
        parts.append(f"## {student}\n\n{_table(lines)}{_most_different(mine, baseline)}")
    return "\n".join([*parts, INTERVALS + TESTS])


def _most_different(rows: Sequence[SliceRow], baseline: str) -> str:
    compared = [row for row in rows if row.f1_p is not None]
    first = sorted(compared, key=lambda row: (row.f1_p, -abs(row.f1_difference or 0)))[:MOST_DIFFERENT]
    lines = [
        f"- {row.kind}, {row.label}: {_interval(row, 'f1_difference', '+')}, p {_p_value(row.f1_p)}, {row.verdict}\n"
        for row in first
    ]
    return (
        "".join(["\nDiffers most from ", baseline, ", the least likely by chance first:\n\n", *lines]) if lines else ""
    )


def _short_names(names: Sequence[str]) -> tuple[dict[str, str], str]:
    """Each name's own text in tables, and a legend: numbers for all if one is longer than `NAME_WIDTH`."""
    if max(map(len, names)) <= NAME_WIDTH:
        return {name: name for name in names}, ""
    short = {name: str(number) for number, name in enumerate(names, 1)}
    return short, "\n" + "".join(f"{number}. {name}\n" for name, number in short.items())


def _interval(row: Any, name: str, sign: str = "") -> str:
    mean, low, high = (getattr(row, f"{name}{end}") for end in ("", "_low", "_high"))
    if mean is None:
        return ""
    interval = "" if low is None else f" [{_fixed(low, 1, sign)}, {_fixed(high, 1, sign)}]"
    return _fixed(mean, 2, sign) + interval


def _fixed(value: float | None, digits: int, sign: str = "") -> str:
    """With as many decimals, "" for None; what rounds to 0 is not negative."""
    return "" if value is None else f"{round(value, digits) + 0.0:{sign}.{digits}f}"


def _p_value(value: float | None) -> str:
    """Four decimals, without the 0 before them; no p is 0."""
    if value is None:
        return ""
    return "1" if value > 0.99995 else "<.0001" if value < 0.00005 else f"{value:.4f}".removeprefix("0")


def _table(rows: Sequence[dict[str, Any]]) -> str:
    """A Markdown table; columns that are empty in all rows are left out."""
    keys = max(rows, key=len)
    headers = [key for key in keys if any(row.get(key, "") != "" for row in rows)]
    cells = [[row.get(header, "") for header in headers] for row in rows]
    aligned = ["left", *["right"] * (len(headers) - 1)]
    return tabulate.tabulate(cells, headers, tablefmt="github", colalign=aligned, disable_numparse=True) + "\n"


def _values(rows: list[dict[str, Any]], format: str) -> str:
    if format == "json":
        return json.dumps(rows, indent=2) + "\n"
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


if __name__ == "__main__":
    cli.run(main, arguments())

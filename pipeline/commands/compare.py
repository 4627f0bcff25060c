"""compare: print a leaderboard of students, with intervals, paired differences and verdicts.

Reads the scores of each question of the runs named: revisions, DVC experiments, or `workspace`.
Runs whose params differ in the seed alone are one student. Computes nothing on a device; writes only --out.
"""

import argparse
import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from pipeline import cli
from pipeline.commands.experiments import Run, read_run, refuse_other_questions, scored_runs
from pipeline.comparison.leaderboard import Row, Student, as_dict, leaderboard
from pipeline.errors import InputError

FORMATS = ("markdown", "csv", "json")


def arguments() -> argparse.ArgumentParser:
    parser = cli.parser("pipeline.commands.compare", __doc__)
    parser.add_argument(
        "names",
        nargs="*",
        metavar="REV|EXP",
        help="by default HEAD, the workspace, and every experiment of the repository",
    )
    parser.add_argument("--baseline", metavar="REV|EXP", help="by default the first run named, or HEAD")
    parser.add_argument("--format", choices=FORMATS, default="markdown")
    parser.add_argument("--out", metavar="FILE", type=Path, help="write there, not to the terminal")
    return parser


def main(names: list[str], baseline: str | None, format: str, out: Path | None) -> None:
    students, base, paragraphs = read_students(names, baseline)
    try:
        rows = leaderboard(students, paragraphs, base)
    except ValueError as error:
        raise InputError(f"the students cannot be compared: {error}") from None
    text = {"markdown": markdown, "csv": as_csv, "json": as_json}[format](rows)
    if out:
        out.write_text(text, encoding="utf-8")
    else:
        print(text, end="")


def read_students(names: list[str], baseline: str | None) -> tuple[list[Student], str, np.ndarray]:
    """The students of the runs named, the baseline's name among them, and the paragraph of each question.

    Raises:
        InputError: a run cannot be read, or was scored on other questions than the first.
    """
    first = [baseline] if baseline else []
    runs = [read_run(name) for name in dict.fromkeys([*first, *names])] if names else scored_runs(first or ["HEAD"])
    refuse_other_questions(runs)
    students = group(runs)
    base = next(student for student in students if runs[0].name in student.runs)
    return students, base.name, runs[0].scores["paragraph"].to_numpy(zero_copy_only=False)


def group(runs: Sequence[Run]) -> list[Student]:
    """Students from runs: those whose params differ in the seed alone are one.

    Of several runs with equal params, the first is taken: an experiment that was applied to the workspace, say.
    """
    settings: dict[str, dict[Any, Run]] = {}
    for run in runs:
        setting = json.dumps({key: value for key, value in run.params.items() if key != "seed"}, sort_keys=True)
        settings.setdefault(setting, {}).setdefault(run.params.get("seed"), run)
    students = [list(seeds.values()) for seeds in settings.values()]
    return [_student(name, seeds) for name, seeds in zip(labels(students), students, strict=True)]


def labels(students: Sequence[Sequence[Run]]) -> list[str]:
    """What tells each student from the others: the params in which they differ, or its head."""
    flat = [flatten({k: v for k, v in runs[0].params.items() if k != "seed"}) for runs in students]
    keys = sorted({key for params in flat for key in params})
    differing = [key for key in keys if len({json.dumps(params.get(key)) for params in flat}) > 1]
    differing = [key for key in differing if key != "head"]
    return [
        " ".join([str(params.get("head")), *(f"{key.rpartition('.')[2]}={params.get(key)}" for key in differing)])
        for params in flat
    ]


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by dotted key."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def _student(name: str, runs: Sequence[Run]) -> Student:
    first = runs[0].metrics
    scores = {
        column: np.stack([run.scores[column].to_numpy() for run in runs])
        for column in ("exact_match", "f1", "agreement")
    }
    sizes = {key: first[key] for key in ("parameters", "nonzero_parameters", "bytes")}
    return Student(name, tuple(run.name for run in runs), **scores, **sizes)


def markdown(rows: list[Row]) -> str:
    """Two Markdown tables and what to know about them, 100 columns wide."""
    scores = [
        [
            row.name,
            len(row.runs),
            f"{row.exact_match:.2f} [{row.exact_match_low:.1f}, {row.exact_match_high:.1f}]",
            f"{row.f1:.2f} [{row.f1_low:.1f}, {row.f1_high:.1f}]",
            "" if row.seed_deviation is None else f"{row.seed_deviation:.2f}",
            f"{row.parameters / 1e6:.2f} M",
            f"{100 * row.zeros:.0f} %",
            f"{row.bytes / 1e6:.1f}",
        ]
        for row in rows
    ]
    text = _table(scores, ["student", "seeds", "exact match", "F1", "sd of seeds", "weights", "zeros", "MB"])
    (base,) = (row for row in rows if row.verdict is None)
    differences = [
        [
            row.name,
            f"{row.f1_difference:+.2f} [{row.f1_difference_low:+.1f}, {row.f1_difference_high:+.1f}]",
            f"{row.f1_p:.4f}",
            f"{row.exact_match_difference:+.2f}",
            f"{row.exact_match_p:.4f}",
            "" if row.mcnemar_p is None else f"{row.mcnemar_p:.4f}",
            f"{row.detectable:.2f}",
            row.verdict,
        ]
        for row in rows
        if row is not base
    ]
    if not differences:
        return text
    headers = [f"less {base.name}", "F1", "p", "EM", "p (EM)", "McNemar", "detectable", "verdict"]
    return f"""{text}
{_table(differences, headers)}
Intervals hold 95 %. Paragraphs are resampled, since questions about one are dependent; seeds too, where there are
several. p: paired by question, signs flipped by paragraph, Holm-corrected over the rows. McNemar: exact, uncorrected,
ignores paragraphs. detectable: the smallest F1 difference that these questions show with a power of 80 %.
"""


def _table(rows: list[list[Any]], headers: list[str]) -> str:
    columns = ["left", *["right"] * (len(headers) - 1)]
    return tabulate(rows, headers, tablefmt="github", colalign=columns, disable_numparse=True) + "\n"


def as_csv(rows: list[Row]) -> str:
    values = [as_dict(row) for row in rows]
    file = io.StringIO()
    writer = csv.DictWriter(file, list(values[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(values)
    return file.getvalue()


def as_json(rows: list[Row]) -> str:
    return json.dumps([as_dict(row) for row in rows], indent=2) + "\n"


if __name__ == "__main__":
    cli.run(main, arguments())

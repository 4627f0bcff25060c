"""Tables of a comparison in Markdown, 100 columns wide: the leaderboard with its costs, and the slices."""

import textwrap
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import pandas as pd
import tabulate

from pipeline.comparison import notes
from pipeline.scores.standard_errors import Clusters

WIDTH = 100
COSTS = "MB: weights, plain and zipped. ms: latency, median and 95th percentile. on: device and CPU threads."
FORMS = (
    "less torch's: difference of F1, paired by question, with its interval. MB: the file. ms: one window of mean "
    "length alone. windows/s: in batches. peak MB: a process with the form, Python and torch included."
)
FORM_DIFFERENCE = ["f1_difference", "f1_difference_low", "f1_difference_high"]  # of exported forms alone
NAME_WIDTH = 14  # longer names would make tables wider than 100 columns
MOST_DIFFERENT = 3  # slices named as those where a student differs most

tabulate.MIN_PADDING = 0  # by default headers are two wider than they need to be


def markdown(
    rows: pd.DataFrame,
    clusters: Clusters,
    teachers: pd.DataFrame,
    exported: Mapping[str, Mapping[str, Mapping[str, Any]]],
    questions: int,
) -> str:
    """Tables of scores, differences and costs, and what to know about them.

    Args:
        rows: a leaderboard, with the columns of `span-distill cost`, which may be empty.
        clusters: what the intervals resample.
        teachers: scores and costs of teachers, with some of the columns of `rows`.
        exported: the forms of some students, see `forms`.
        questions: how many validation questions there are.
    """
    short, legend = _short_names(rows["name"].tolist())
    rows = rows.assign(student=rows["name"].map(short))
    models = pd.concat([rows, teachers.assign(student=teachers["name"])])
    scores = pd.DataFrame(
        {
            "student": models["student"],
            "seeds": _formatted(models["seeds"], "{:.0f}"),
            "exact match": _intervals(models, "exact_match"),
            "F1": _intervals(models, "f1"),
            "sd": _formatted(models["seed_deviation"], "{:.2f}"),
            "weights": _formatted(models["parameters"] / 1e6, "{:.3g} M"),
            "zeros": _formatted(100 * models["zeros"], "{:.0f} %"),
        }
    )
    parts = [_table(scores) + legend]
    compared = rows[rows["verdict"].notna()]
    if len(compared):
        (base,) = rows["name"][rows["verdict"].isna()]
        parts.append(f"Difference from the baseline ({base}):\n\n{_table(_differences(compared))}")
    known = models[models["gflops_per_window"].notna()]
    if len(known):
        parts.append(f"Cost of one window of mean length:\n\n{_table(_costs(known))}\n{COSTS}\n")
    if exported:
        shown = {short[name]: found for name, found in exported.items()}
        parts.append(f"Students as ONNX files:\n\n{forms(shown, questions)}")
    deviations = ["sd: standard deviation of F1 between seeds."] if rows["seed_deviation"].notna().any() else []
    parts.append(_wrapped([*deviations, *notes.of_leaderboard(rows, clusters)]))
    return "\n".join(parts)


def _differences(rows: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "student": rows["student"],
            "F1": _intervals(rows, "f1_difference", "+"),
            "p": _p_values(rows["f1_p"]),
            "EM": _fixed(rows["exact_match_difference"], 2, "+"),
            "MDE": _fixed(rows["mde"], 2),
            "verdict": verdicts(rows),
        }
    )


def _costs(rows: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "student": rows["student"],
            "GFLOP": _formatted(rows["gflops_per_window"], "{:.3g}"),
            "MB": _formatted(rows["bytes"] / 1e6, "{:.3g}"),
            "zipped": _formatted(rows["compressed_bytes"] / 1e6, "{:.3g}"),
            "ms": _formatted(rows["latency_ms_median"], "{:.1f}"),
            "p95": _formatted(rows["latency_ms_p95"], "{:.1f}"),
            "windows/s": _formatted(rows["windows_per_second"], "{:.0f}"),
            "peak MB": _formatted(rows["peak_memory_mb"], "{:.0f}"),
            "on": rows["device"] + " x" + rows["threads"].astype(str),
        }
    )


def forms(of_students: Mapping[str, Mapping[str, Mapping[str, Any]]], questions: int) -> str:
    """A table of students in torch and as ONNX files: their scores on the same questions, and costs.

    Args:
        of_students: the forms of each student by name, as `experiments.costs.read` has them; of one at least.
        questions: how many validation questions there are.
    """
    each = [
        {"student": name, "form": form, **row} for name, found in of_students.items() for form, row in found.items()
    ]
    rows = pd.DataFrame(each, columns=list(dict.fromkeys(chain(*each, *[FORM_DIFFERENCE]))))
    where = rows["device"] + " x" + rows["threads"].astype(str)
    table = pd.DataFrame(
        {
            "student": rows["student"] if len(of_students) > 1 else "",
            "form": rows["form"],
            "EM": _fixed(rows["exact_match"], 2),
            "F1": _fixed(rows["f1"], 2),
            "less torch's": _intervals(rows, "f1_difference", "+"),
            "MB": _formatted(rows["bytes"] / 1e6, "{:.3g}"),
            "ms": _formatted(rows["latency_ms_median"], "{:.3g}"),
            "p95": _formatted(rows["latency_ms_p95"], "{:.3g}"),
            "windows/s": _formatted(rows["windows_per_second"], "{:.0f}"),
            "peak MB": _formatted(rows["peak_memory_mb"], "{:.0f}"),
            "on": where if where.nunique() > 1 else "",
        }
    )
    scored = int(rows["questions"].max())
    some = f"all {questions:,}" if scored == questions else f"the first {scored:,} of {questions:,}"
    return f"{_table(table)}\n{_wrapped([f'EM and F1: on {some} validation questions. {FORMS}'])}"


def verdicts(rows: pd.DataFrame) -> pd.Series:
    """`better (these models)` where a decided verdict is about two trained models, not about their settings."""
    about_models = (rows["verdict_scope"] == "these models") & (rows["verdict"] != "undecided")
    return rows["verdict"] + pd.Series(" (these models)", rows.index).where(about_models, "")


def markdown_slices(rows: pd.DataFrame, baseline: str, clusters: Clusters) -> str:
    """For each student a table, and the slices where it differs most from the baseline."""
    parts = []
    for student, of_student in rows.groupby("student", sort=False):
        kinds = [
            pd.concat([pd.DataFrame({"slice": [f"{kind}:"]}), _slices(of_kind)])
            for kind, of_kind in of_student.groupby("kind", sort=False)
        ]
        parts.append(f"## {student}\n\n{_table(pd.concat(kinds))}{_most_different(of_student, baseline)}")
    return "\n".join([*parts, _wrapped(notes.of_slices(rows, clusters))])


def _slices(rows: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "slice": rows["label"],
            "n": rows["questions"].astype(str),
            "EM": _fixed(rows["exact_match"], 2),
            "F1": _intervals(rows, "f1"),
            "difference": _intervals(rows, "f1_difference", "+"),
            "p": _p_values(rows["f1_p"]),
        }
    )


def _most_different(rows: pd.DataFrame, baseline: str) -> str:
    tested = rows[rows["f1_p"].notna()].sort_values("f1_difference", key=abs, ascending=False, kind="stable")
    first = tested.sort_values("f1_p", kind="stable")[:MOST_DIFFERENT]
    if not len(first):
        return ""
    results = _intervals(first, "f1_difference", "+") + ", p " + _p_values(first["f1_p"]) + ", " + verdicts(first)
    lines = "- " + first["kind"] + ", " + first["label"] + ": " + results
    return "\n".join([f"\nLargest differences from {baseline}, smallest p first:\n", *lines, ""])


def _wrapped(sentences: Sequence[str]) -> str:
    return "".join(textwrap.fill(sentence, WIDTH) + "\n" for sentence in sentences)


def _short_names(names: Sequence[str]) -> tuple[dict[str, str], str]:
    """Each name's own text in tables, and a legend: numbers for all if one is longer than `NAME_WIDTH`."""
    if max(map(len, names)) <= NAME_WIDTH:
        return {name: name for name in names}, ""
    short = {name: str(number) for number, name in enumerate(names, 1)}
    return short, "\n" + "".join(f"{number}. {name}\n" for name, number in short.items())


def _intervals(rows: pd.DataFrame, name: str, sign: str = "") -> pd.Series:
    low, high = (_fixed(rows[f"{name}{end}"], 1, sign) for end in ("_low", "_high"))
    return _fixed(rows[name], 2, sign) + (" [" + low + ", " + high + "]").where(low != "", "")


def _fixed(values: pd.Series, digits: int, sign: str = "") -> pd.Series:
    """With as many decimals; what rounds to 0 is not negative."""
    return _formatted(values.round(digits) + 0.0, f"{{:{sign}.{digits}f}}")


def _p_values(values: pd.Series) -> pd.Series:
    """Four decimals, without the 0 before them; no p is 0."""
    texts = _formatted(values, "{:.4f}").str.removeprefix("0")
    return texts.mask(values > 0.99995, "1").mask(values < 0.00005, "<.0001")


def _formatted(values: pd.Series, form: str) -> pd.Series:
    """Texts; "" where a value is missing."""
    return values.map(form.format, na_action="ignore").astype(object).fillna("")


def _table(rows: pd.DataFrame) -> str:
    """A Markdown table; columns that are empty in all rows are left out."""
    shown = rows.fillna("").loc[:, lambda cells: (cells != "").any()]
    aligned = ["left", *["right"] * (len(shown.columns) - 1)]
    text = shown.to_markdown(index=False, tablefmt="github", colalign=aligned, disable_numparse=True)
    return text + "\n"

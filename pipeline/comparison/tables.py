"""Tables of a comparison in Markdown, 100 columns wide: the leaderboard with its costs, and the slices."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import tabulate

from pipeline.comparison.leaderboard import Row
from pipeline.comparison.slices import SliceRow

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


def markdown(rows: Sequence[Row], costs: Mapping[str, Mapping[str, Any]]) -> str:
    """Tables of scores, differences and costs, and what to know about them.

    Args:
        costs: by the student's name, what `span-distill cost` measured; of some students or none.
    """
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


def markdown_slices(rows: Sequence[SliceRow], baseline: str) -> str:
    """For each student a table, and the slices where it differs most from the baseline."""
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

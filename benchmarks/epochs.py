"""F1 over epochs and over minutes of students trained from labels and from logits, as an SVG. See docs/results.md."""

import argparse
from pathlib import Path
from typing import Any

import vl_convert

from pipeline import cli, paths
from pipeline.commands.report import read_curve
from pipeline.errors import InputError
from pipeline.experiments.run import Run, read_run

LABELS, LOGITS = "labels", "logits"
COLORS = {LABELS: "#b45309", LOGITS: "#1d4ed8"}
INTERVAL = 1.96  # standard errors on each side of a score, for 95 %
Rows = list[dict[str, Any]]


def arguments() -> argparse.ArgumentParser:
    parser = cli.parser("benchmarks.epochs", __doc__)
    parser.add_argument("names", nargs="+", metavar="EXP", help="experiments with distill.alpha 0 or 1")
    parser.add_argument("--out", metavar="FILE", type=Path, default=Path("epochs.svg"))
    return parser


def main(names: list[str], out: Path) -> None:
    rows = [row for name in names for row in evaluations(read_run(name))]
    out.write_text(vl_convert.vegalite_to_svg(chart(rows)) + "\n", encoding="utf-8")
    print(f"{out}: {len(names)} students, {len(rows)} evaluations")


def evaluations(run: Run) -> Rows:
    """A row for each evaluation of a run; the last one, which is its score, has an interval.

    Raises:
        InputError: the run was trained on both labels and logits, could end before its last epoch, or kept other
            weights than the last.
    """
    alpha, train = run.params["distill"]["alpha"], run.params["train"]
    if alpha not in (0, 1):
        raise InputError(f"{run.name} has distill.alpha {alpha}; the picture is of 0 (labels) and 1 (logits)")
    if train.get("max_steps") or train.get("time_limit_minutes"):
        raise InputError(f"{run.name} has train.max_steps or train.time_limit_minutes; the picture is of whole epochs")
    if train.get("keep", "best") != "last":
        raise InputError(f"{run.name} has train.keep best; the picture is of the last weights")
    curve = read_curve(run, "validation").to_dict("records")
    if not curve:
        raise InputError(f"{run.name} has no {paths.CURVES / 'validation.tsv'}")
    rows = [
        {
            "run": run.name,
            "from": LOGITS if alpha else LABELS,
            "epochs": train["epochs"] * row["step"] / curve[-1]["step"],
            "minutes": row["minutes"],
            "f1": row["f1"],
        }
        for row in curve
    ]
    half = INTERVAL * run.metrics.get("f1_error", 0.0)  # not there with one paragraph
    rows[-1] |= {"low": rows[-1]["f1"] - half, "high": rows[-1]["f1"] + half}
    return rows


def chart(rows: Rows) -> dict[str, Any]:
    """Two panels with the same F1 axis: one line for each run, a point with an interval where it ends."""
    color = {"field": "from", "type": "nominal", "title": "trained on"}
    color["scale"] = {"domain": list(COLORS), "range": list(COLORS.values())}
    shape = {"field": "from", "type": "nominal", "title": "trained on", "scale": {"domain": list(COLORS)}}
    ends = [{"filter": "isValid(datum.low)"}]

    def panel(field: str, title: str) -> dict[str, Any]:
        x = {"field": field, "type": "quantitative", "title": title, "scale": {"zero": True}}
        y = {"field": "f1", "type": "quantitative", "title": "F1", "scale": {"zero": False}}
        shared = {"x": x, "y": y, "color": color}
        interval = {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}, "color": color}
        point = {"type": "point", "filled": True, "size": 70, "opacity": 1}
        layers = [
            {"mark": {"type": "line", "strokeWidth": 1.5}, "encoding": {**shared, "detail": {"field": "run"}}},
            {"transform": ends, "mark": "rule", "encoding": interval},
            {"transform": ends, "mark": point, "encoding": {**shared, "shape": shape}},
        ]
        return {"width": 300, "height": 260, "layer": layers}

    return {
        "background": "white",
        "padding": 12,
        "data": {"values": rows},
        "hconcat": [panel("epochs", "epochs"), panel("minutes", "minutes of training")],
    }


if __name__ == "__main__":
    cli.run(main, arguments())

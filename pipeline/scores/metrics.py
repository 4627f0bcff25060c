"""Scores of a model's logits on a split, and the files that scores are written to."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.questions.features import Features
from pipeline.scores import cmrc_metric, mlqa_metric, spans, squad_metric

Logits = tuple[np.ndarray, np.ndarray]
# the values of evaluate.metric
METRICS = {
    "squad": squad_metric.METRIC,
    "cmrc2018": cmrc_metric.METRIC,
    **{f"mlqa-{language}": mlqa_metric.metric(language) for language in mlqa_metric.ARTICLES},
}


def scores(
    features: Features,
    records: list[dict[str, Any]],
    logits: Logits,
    max_answer_length: int,
    metric: str = "squad",
    n_best: int = 1,
) -> tuple[dict[str, float], list[list[spans.Answer]]]:
    """Exact match, F1, span accuracy (0-100) and the number of questions; and the n best answers to each question.

    Args:
        logits: start and end, each (T,), concatenated over the windows of `features`.
        max_answer_length: in tokens, inclusive.
        metric: the name of exact match and F1 in `METRICS`.
    """
    contexts = [record["context"] for record in records]
    found = spans.answers(features, contexts, *logits, n_best, max_answer_length)
    predictions = {record["id"]: best[0].text for record, best in zip(records, found, strict=True) if best}
    return {
        **squad_metric.score(predictions, records, METRICS[metric]),
        "span_accuracy": spans.window_accuracy(features, *logits),
        "questions": len(records),
    }, found


def write_json(values: dict[str, Any], path: Path) -> None:
    """Write scores as JSON; floats are rounded to four decimals."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_rounded(values), indent=2) + "\n", encoding="utf-8")


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return round(value, 4) if isinstance(value, float) else value


def write_tsv(rows: list[dict[str, Any]], columns: Sequence[str], path: Path) -> None:
    """Write rows as TSV; missing values are empty."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)

"""Scores of a model's logits on a split, and the files that scores are written to."""

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.questions.features import Features
from pipeline.questions.offsets import trimmed
from pipeline.questions.question import Question
from pipeline.scores import cmrc_metric, mlqa_metric, null_threshold, spans, squad2_metric, squad_metric
from pipeline.scores.squad_metric import Metric

Logits = tuple[np.ndarray, np.ndarray]


def _of_trimmed(metric: Metric) -> Metric:
    """The metric of texts without invisible characters at their edges: labels and predictions leave these out.

    Else a right answer scores 0 against a reference that ends in a right-to-left mark.
    """

    def of_trimmed(function: Callable[[str, str], float]) -> Callable[[str, str], float]:
        return lambda prediction, reference: function(trimmed(prediction), trimmed(reference))

    return Metric(*map(of_trimmed, metric))


PUBLISHED = {
    "squad": squad_metric.METRIC,
    "cmrc2018": cmrc_metric.METRIC,
    **{f"mlqa-{language}": mlqa_metric.metric(language) for language in mlqa_metric.ARTICLES},
}
# the values of evaluate.metric
METRICS = {name: _of_trimmed(metric) for name, metric in PUBLISHED.items()}


def scores(
    features: Features,
    records: Sequence[Question],
    logits: Logits,
    max_answer_length: int,
    metric: str = "squad",
    n_best: int = 1,
) -> tuple[dict[str, float], list[list[spans.Answer]]]:
    """Exact match, F1, span accuracy (0-100) and the number of questions; and the n best answers to each question.

    If some questions are unanswerable, the evaluation is that of SQuAD 2.0, with the scores of `squad2_metric.evaluate`
    too, and each question's answers include "": the first where its null odds are above the threshold that is chosen on
    other questions.

    Args:
        logits: start and end, each (T,), concatenated over the windows of `features`.
        max_answer_length: in tokens, inclusive.
        metric: the name of exact match and F1 in `METRICS`.
    """
    contexts = [record["context"] for record in records]
    found = spans.answers(features, contexts, *logits, n_best, max_answer_length)
    no_answer: dict[str, float] = {}
    if not all(record["answers"]["text"] for record in records):
        null_scores = spans.null_scores(features, *logits, len(records))
        candidates = _candidates(records, found, null_scores, metric)
        folds = null_threshold.folds(records).of_question
        thresholds = null_threshold.cross_fitted(*candidates.f1, candidates.null_odds, folds)
        no_answer = squad2_metric.evaluate(candidates, thresholds)
        found = [spans.with_no_answer(*row) for row in zip(found, null_scores, thresholds, strict=True)]
    predictions = {record["id"]: best[0].text for record, best in zip(records, found, strict=True) if best}
    return {
        **{name: 100 * sum(each) / len(each) for name, each in score_each(predictions, records, metric).items()},
        "span_accuracy": spans.window_accuracy(features, *logits),
        "questions": len(records),
        **no_answer,
    }, found


def score_each(predictions: Mapping[str, str], records: Sequence[Question], metric: str) -> dict[str, list[float]]:
    """`exact_match` and `f1` of each record, 0-1: as in SQuAD 2.0 if some record is unanswerable, else as in 1.1.

    Args:
        predictions: question id -> answer.
        metric: the name of exact match and F1 in `METRICS`.
    """
    if all(record["answers"]["text"] for record in records):
        functions = METRICS[metric]._asdict()
        return {name: squad_metric.score_each(each, predictions, records) for name, each in functions.items()}
    return squad2_metric.score_each(predictions, records, METRICS[metric])


def _candidates(
    records: Sequence[Question], found: list[list[spans.Answer]], null_scores: np.ndarray, metric: str
) -> squad2_metric.Candidates:
    """The best span and the answer "" of each question, and what both score."""

    def scored(texts: Sequence[str | None]) -> dict[str, np.ndarray]:
        predictions = {record["id"]: text for record, text in zip(records, texts, strict=True) if text is not None}
        return {name: np.array(each) for name, each in score_each(predictions, records, metric).items()}

    # without a span, the answer is "" if the question has a window, and else there is none
    texts = [
        answers[0].text if answers else "" if np.isfinite(null_score) else None
        for answers, null_score in zip(found, null_scores, strict=True)
    ]
    best = np.array([answers[0].score if answers else np.nan for answers in found])
    answerable = np.array([bool(record["answers"]["text"]) for record in records])
    return squad2_metric.Candidates(texts, scored(texts), scored([""] * len(records)), null_scores - best, answerable)


def write_json(values: dict[str, Any], path: Path) -> None:
    """Write scores as JSON; floats are rounded to four decimals."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_rounded(values), indent=2) + "\n", encoding="utf-8")


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return round(value, 4) if isinstance(value, float) else value


def write_tsv(rows: list[dict[str, Any]], columns: Sequence[str], path: Path) -> None:
    """Write these columns of rows as TSV; missing values are empty."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)

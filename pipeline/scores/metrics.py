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
    records: list[Question],
    logits: Logits,
    max_answer_length: int,
    metric: str = "squad",
    n_best: int = 1,
) -> tuple[dict[str, float], list[list[spans.Answer]]]:
    """Exact match, F1, span accuracy (0-100) and the number of questions; and the n best answers to each question.

    If some questions are unanswerable, the evaluation is that of SQuAD 2.0, and each question's answers include "", the
    first where its null odds are above the threshold chosen on other questions; see `_with_no_answer` for more scores.

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
        found, no_answer = _with_no_answer(records, found, null_scores, metric)
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


def _with_no_answer(
    records: list[Question], found: list[list[spans.Answer]], null_scores: np.ndarray, metric: str
) -> tuple[list[list[spans.Answer]], dict[str, float]]:
    """The answers to each question with "" among them, and the scores that only unanswerable questions have.

    The threshold is cross-fitted, see `null_threshold`. Scores, 0-100, beside those of SQuAD 2.0's evaluation:
    `exact_at_0`, `f1_at_0`, `HasAns_f1_at_0`, `NoAns_f1_at_0` and `no_answer_rate_at_0`, with threshold 0;
    `null_threshold`, fitted on all of these questions; `no_answer_rate`, how many are answered "";
    `null_average_precision` of the null odds.
    """
    answerable = np.array([bool(record["answers"]["text"]) for record in records])
    null_odds = null_scores - np.array([answers[0].score if answers else np.nan for answers in found])
    texts = [_text(*row) for row in zip(found, null_scores, strict=True)]
    predictions = {record["id"]: text for record, text in zip(records, texts, strict=True) if text is not None}
    answered = _arrays(score_each(predictions, records, metric))
    empty = _arrays(score_each({record["id"]: "" for record in records}, records, metric))
    thresholds = null_threshold.cross_fitted(
        answered["f1"], empty["f1"], null_odds, null_threshold.folds(records).of_question
    )

    def at(threshold: np.ndarray | float) -> dict[str, np.ndarray]:
        return {name: np.where(null_odds > threshold, empty[name], answered[name]) for name in answered}

    oracle = {name: squad2_metric.best_score(each, null_odds, answerable, texts) for name, each in answered.items()}
    known, without_span = ~np.isnan(null_odds), np.array([text == "" for text in texts])
    at_0 = squad2_metric.by_answerability(at(0), answerable)
    scores = {
        **squad2_metric.by_answerability(at(thresholds), answerable),
        "exact_at_0": 100 * at(0)["exact_match"].mean(),
        "f1_at_0": 100 * at(0)["f1"].mean(),
        **{f"{name}_at_0": value for name, value in at_0.items() if name.endswith("f1")},
        "best_exact": oracle["exact_match"][0],
        "best_exact_thresh": oracle["exact_match"][1],
        "best_f1": oracle["f1"][0],
        "best_f1_thresh": oracle["f1"][1],
        "null_threshold": null_threshold.fit(answered["f1"], empty["f1"], null_odds),
        "no_answer_rate": 100 * (without_span | (null_odds > thresholds)).mean(),
        "no_answer_rate_at_0": 100 * (without_span | (null_odds > 0)).mean(),
        "null_average_precision": 100 * null_threshold.average_precision(null_odds[known], ~answerable[known]),
    }
    rows = zip(found, null_scores.tolist(), thresholds.tolist(), strict=True)
    return [_ranked(*row) for row in rows], scores


def _text(answers: list[spans.Answer], null_score: float) -> str | None:
    """The best span; "" if the context has no tokens, so no span; None if the question has no windows."""
    if answers:
        return answers[0].text
    return "" if np.isfinite(null_score) else None


def _arrays(scores: dict[str, list[float]]) -> dict[str, np.ndarray]:
    return {name: np.array(each) for name, each in scores.items()}


def _ranked(answers: list[spans.Answer], null_score: float, threshold: float) -> list[spans.Answer]:
    """A question's answers with "" among them: before those whose score is below its own by more than the threshold."""
    if not answers and not np.isfinite(null_score):  # it has no windows
        return []
    place = sum(not null_score - answer.score > threshold for answer in answers)
    return [*answers[:place], spans.Answer("", 0, 0, null_score), *answers[place:]]


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

"""The evaluation of SQuAD 2.0 (Rajpurkar et al. 2018), where some questions have no answer, as evaluate-v2.0.py has it.

The right answer to an unanswerable question is "". The script's rules beside those of SQuAD 1.1:

1. References that normalize to nothing are dropped. If none is left, the reference is "".
2. With an empty side after normalization, exact match and F1 are 1 if both sides are empty, else 0.
3. A question is answerable if it has references, dropped or not.
4. `best_*`, the highest score of any threshold, starts at "" for every question, with threshold 0.0, and adds one
   question after the other, lowest null odds first; so it may stop between two questions with equal odds.
   A prediction that is not "", such as "the", is wrong there for an unanswerable question, whatever it normalizes to.

One difference: a question without a prediction counts as 0. The script leaves it out of the denominator of `exact`,
`f1` and `best_*`, and stops with a KeyError at `HasAns_*` and `NoAns_*`.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from pipeline.questions.question import Question
from pipeline.scores import null_threshold
from pipeline.scores.squad_metric import METRIC, Metric


class Candidates(NamedTuple):
    """The best span of each of N questions and the answer "", and what they score.

    Attributes:
        texts: the best spans; "" where a context has no tokens, None where a question has no windows.
        spans, empty: `exact_match` and `f1` of `texts` and of "", each (N,), 0-1.
        null_odds: (N,) NaN without a span.
        answerable: (N,) bool.
    """

    texts: Sequence[str | None]
    spans: Mapping[str, np.ndarray]
    empty: Mapping[str, np.ndarray]
    null_odds: np.ndarray
    answerable: np.ndarray

    @property
    def f1(self) -> tuple[np.ndarray, np.ndarray]:
        """Of the spans, and of the answer ""."""
        return self.spans["f1"], self.empty["f1"]

    def at(self, threshold: np.ndarray | float) -> dict[str, np.ndarray]:
        """`exact_match` and `f1`, each (N,), if the answer is "" where the null odds are above the threshold."""
        return {name: np.where(self.null_odds > threshold, self.empty[name], self.spans[name]) for name in self.spans}

    def no_answer_rate(self, threshold: np.ndarray | float) -> float:
        """How many are answered "", 0-100."""
        without_span = np.array([text == "" for text in self.texts])
        return 100 * float((without_span | (self.null_odds > threshold)).mean())


def evaluate(candidates: Candidates, thresholds: np.ndarray) -> dict[str, float]:
    """The scores, 0-100, that only sets with unanswerable questions have.

    `HasAns_*` and `NoAns_*` and `no_answer_rate`, at the thresholds; the same and `exact` and `f1` with `_at_0`, at
    threshold 0; `best_*`, see `best_score`; `null_threshold`, fitted on all questions; `null_average_precision` of the
    null odds.

    Args:
        thresholds: (N,) of each question's null odds.
    """
    at_0, null_odds, answerable = candidates.at(0), candidates.null_odds, candidates.answerable
    oracle = {
        name: best_score(each, null_odds, answerable, candidates.texts) for name, each in candidates.spans.items()
    }
    known = ~np.isnan(null_odds)
    precision = null_threshold.average_precision(null_odds[known], ~answerable[known])
    by_kind_at_0 = by_answerability(at_0, answerable)
    return {
        **by_answerability(candidates.at(thresholds), answerable),
        "exact_at_0": 100 * float(at_0["exact_match"].mean()),
        "f1_at_0": 100 * float(at_0["f1"].mean()),
        **{f"{name}_at_0": value for name, value in by_kind_at_0.items() if name.endswith("f1")},
        "best_exact": oracle["exact_match"][0],
        "best_exact_thresh": oracle["exact_match"][1],
        "best_f1": oracle["f1"][0],
        "best_f1_thresh": oracle["f1"][1],
        "null_threshold": null_threshold.fit(*candidates.f1, null_odds),
        "no_answer_rate": candidates.no_answer_rate(thresholds),
        "no_answer_rate_at_0": candidates.no_answer_rate(0),
        "null_average_precision": 100 * precision,
    }


def score_each(
    predictions: Mapping[str, str], records: Sequence[Question], metric: Metric = METRIC
) -> dict[str, list[float]]:
    """`exact_match` and `f1` of each record, 0-1; 0 without a prediction.

    Args:
        predictions: question id -> answer, "" for none.
        metric: SQuAD's, or that of another language, which defines what normalizes to nothing.
    """
    pairs = [_score(predictions.get(record["id"]), record["answers"]["text"], metric) for record in records]
    exact, f1 = map(list, zip(*pairs, strict=True))
    return {"exact_match": exact, "f1": f1}


def _score(prediction: str | None, texts: Sequence[str], metric: Metric) -> tuple[float, float]:
    """Exact match and F1."""
    if prediction is None:
        return 0.0, 0.0
    references = [text for text in texts if not metric.exact_match(text, "")]
    is_empty = bool(metric.exact_match(prediction, ""))
    if is_empty or not references:
        same = float(is_empty and not references)
        return same, same
    exact, f1 = (max(function(prediction, reference) for reference in references) for function in metric)
    return exact, f1


def by_answerability(scores: Mapping[str, np.ndarray], answerable: np.ndarray) -> dict[str, float | int]:
    """`HasAns_*` and `NoAns_*`: means, 0-100, of exact match and F1 over the questions with and without an answer.

    Args:
        scores: `exact_match` and `f1`, each (N,), 0-1.
        answerable: (N,) bool.
    """
    found: dict[str, float | int] = {}
    for prefix, inside in (("HasAns", answerable), ("NoAns", ~answerable)):
        if inside.any():
            found[f"{prefix}_exact"] = 100 * float(scores["exact_match"][inside].mean())
            found[f"{prefix}_f1"] = 100 * float(scores["f1"][inside].mean())
            found[f"{prefix}_total"] = int(inside.sum())
    return found


def best_score(
    scores: np.ndarray, null_odds: np.ndarray, answerable: np.ndarray, predictions: Sequence[str | None]
) -> tuple[float, float]:
    """The highest mean score, 0-100, of N questions at any threshold of the null odds, and the first such threshold.

    It is an oracle: the threshold is chosen on the questions that are scored.

    Args:
        scores: (N,) exact match or F1 of the predictions, 0-1.
        null_odds: (N,) "" is predicted where they are above the threshold; ignored without a prediction.
        answerable: (N,) bool.
        predictions: the answers, were the questions answerable; None without one.
    """
    predicted = np.array([prediction is not None for prediction in predictions])
    order = np.argsort(np.where(predicted, null_odds, np.inf), kind="stable")[: predicted.sum()]
    wrong = np.array([-1.0 if prediction else 0.0 for prediction in predictions])
    gains = np.where(answerable, scores, wrong)[order]
    totals = np.cumsum([(predicted & ~answerable).sum(), *gains])
    best = int(totals.argmax())
    return 100 * float(totals[best]) / len(predictions), float(null_odds[order[best - 1]]) if best else 0.0

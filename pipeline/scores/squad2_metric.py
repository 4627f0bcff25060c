"""The evaluation of SQuAD 2.0 (Rajpurkar et al. 2018), where some questions have no answer, as evaluate-v2.0.py has it.

The right answer to an unanswerable question is "". The script's rules beside those of SQuAD 1.1:

1. References that normalise to nothing are dropped. If none is left, the reference is "".
2. With an empty side after normalisation, exact match and F1 are 1 if both sides are empty, else 0.
3. A question is answerable if it has references, dropped or not.
4. `best_*`, the highest score of any threshold, starts at "" for every question, with threshold 0.0, and adds one
   question after the other, lowest null odds first; so it may stop between two questions with equal odds.
   A prediction that is not "", such as "the", is wrong there for an unanswerable question, whatever it normalises to.

One difference: a question without a prediction counts as 0. The script leaves it out of the denominator of `exact`,
`f1` and `best_*`, and stops with a KeyError at `HasAns_*` and `NoAns_*`.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.questions.question import Question
from pipeline.scores.squad_metric import METRIC, Metric


def score_each(
    predictions: Mapping[str, str], records: Sequence[Question], metric: Metric = METRIC
) -> dict[str, list[float]]:
    """`exact_match` and `f1` of each record, 0-1; 0 without a prediction.

    Args:
        predictions: question id -> answer, "" for none.
        metric: SQuAD's, or that of another language, which defines what normalises to nothing.
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

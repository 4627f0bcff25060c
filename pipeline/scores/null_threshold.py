"""The threshold above which a question has no answer: chosen, cross-fitted, and how well questions are ranked by it.

It applies to the null odds of a question: the null score, the lowest [CLS] start plus end logit over its windows, less
the score of its best span, as in transformers' question-answering example. The answer is "" where they are above the
threshold, strictly. The null odds of a question without a span are NaN; its score is the same with every threshold.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

FOLDS = 5


def choose(scores: np.ndarray, empty: np.ndarray, null_odds: np.ndarray) -> float:
    """The threshold with the highest mean score of N questions, the lowest of several; 0.0 without questions.

    It is the null odds of the last question that is answered, or just below all of them. Unlike that of SQuAD 2.0's
    `best_*`, it reaches the score it was chosen for: of questions with equal null odds, all are answered or none.

    Args:
        scores: (N,) of the best spans.
        empty: (N,) of the answer "".
        null_odds: (N,).
    """
    known = np.flatnonzero(~np.isnan(null_odds))
    if not len(known):
        return 0.0
    order = known[np.argsort(null_odds[known], kind="stable")]
    ordered = null_odds[order]
    totals = np.cumsum([0.0, *(scores - empty)[order]])
    cuts = np.array([0, *(1 + np.flatnonzero(np.diff(ordered))), len(ordered)])
    answered = cuts[totals[cuts].argmax()]
    return float(ordered[answered - 1] if answered else np.nextafter(ordered[0], -np.inf))


def cross_fitted(scores: np.ndarray, empty: np.ndarray, null_odds: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """(N,) the threshold for each question, chosen on the other folds, so on none of the questions it is used for.

    Args:
        folds: (N,) int; other arguments as in `choose`.
    """
    thresholds = np.zeros(len(scores))
    for fold in np.unique(folds):
        others = folds != fold
        thresholds[~others] = choose(scores[others], empty[others], null_odds[others])
    return thresholds


def folds(records: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """(N,) int, the fold of each record: the articles, by title, are dealt to `FOLDS` folds in the order of a hash.

    Questions about one article are alike, so no article is in two folds. If there is one article only, its paragraphs
    are dealt.
    """
    groups = [record["title"] or "" for record in records]
    if len(set(groups)) == 1:
        groups = [record["context"] for record in records]
    order = sorted(set(groups), key=lambda group: hashlib.blake2b(group.encode()).digest())
    fold = {group: i % FOLDS for i, group in enumerate(order)}
    return np.array([fold[group] for group in groups])


def average_precision(scores: np.ndarray, positive: np.ndarray) -> float:
    """Average precision, 0-1: the mean over the positives of the precision among all scores at least as high.

    Args:
        scores: (N,) without NaN.
        positive: (N,) bool, at least one of them true.
    """
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.diff(scores[order], append=np.inf))  # of equal scores
    hits = np.cumsum(positive[order])[last]
    return float((np.diff(hits, prepend=0) * hits / (last + 1)).sum() / hits[-1])

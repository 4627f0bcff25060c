"""The threshold above which a question has no answer: chosen, cross-fitted, and how well questions are ranked by it.

It applies to the null odds of a question: the null score, the lowest [CLS] start plus end logit over its windows, less
the score of its best span, as in transformers' question-answering example. The answer is "" where they are above the
threshold, strictly. The null odds of a question without a span are NaN; its score is the same with every threshold.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pipeline.questions.question import Question
from pipeline.scores.folds import deal, units

SHRINKAGE = 100  # questions; from so many, half of the chosen threshold is kept


class Folds(NamedTuple):
    """The folds of N questions.

    Attributes:
        of_question: (N,) int.
        unit: what is dealt to them, "article", "paragraph" or "question"; "" where there is one fold only.
    """

    of_question: np.ndarray
    unit: str

    @property
    def note(self) -> str:
        """How the threshold for no answer is chosen where scores are measured, in words."""
        if not self.unit:
            return "too few questions of one kind to choose a threshold for no answer: scores have threshold 0"
        return f"scores have thresholds for no answer that are chosen on other {self.unit}s"


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


def fit(scores: np.ndarray, empty: np.ndarray, null_odds: np.ndarray) -> float:
    """The threshold of `choose`, shrunk toward 0: times N / (N + `SHRINKAGE`).

    With few questions the best threshold of some is bad for others, and 0 is what a model is trained for. F1 of
    cross-fitted thresholds less F1 of threshold 0, for 2,000 questions of SQuAD 2.0 and a MiniLM whose best threshold
    gives 0.2 more than 0, and for simulated null odds where it gives 1 and 18 more; 200 to 300 random subsets each:

        questions                    10     20     50    100    200    500   1000
        SQuAD 2.0, chosen          -6.1   -4.4   -2.2   -1.3   -0.9   -0.3   -0.1
        SQuAD 2.0, shrunk           0.0    0.0   -0.1   -0.2   -0.1   -0.1    0.0
        1 to gain, chosen          -5.1   -2.3   -1.0   -0.5   +0.1   +0.5   +0.6
        1 to gain, shrunk          +0.1   +0.5   +0.4   +0.3   +0.4   +0.6   +0.6
        18 to gain, chosen        +12.7  +13.0  +15.7  +15.9  +16.8  +17.4  +17.6
        18 to gain, shrunk         +2.5   +4.4   +7.8  +11.0  +14.5  +16.9  +17.5

    Args:
        scores, empty, null_odds: as in `choose`.
    """
    return choose(scores, empty, null_odds) * len(scores) / (len(scores) + SHRINKAGE)


def cross_fitted(scores: np.ndarray, empty: np.ndarray, null_odds: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """(N,) the threshold for each question, fitted on the other folds, so on none of the questions it is used for.

    Args:
        folds: (N,) int; other arguments as in `choose`.
    """
    thresholds = np.zeros(len(scores))
    for fold in np.unique(folds):
        others = folds != fold
        thresholds[~others] = fit(scores[others], empty[others], null_odds[others]) if others.any() else 0.0
    return thresholds


def folds(records: Sequence[Question]) -> Folds:
    """The fold of each record: articles, by title, are dealt to folds, see `folds.deal`.

    Questions about one article are alike, so no article is in two folds. A threshold that is chosen on questions with
    an answer alone, or on those without, answers all or none. So paragraphs are dealt where the folds other than one
    would have one kind only, and single questions where paragraphs would not do either.
    """
    answerable = np.array([bool(record["answers"]["text"]) for record in records])
    for unit, groups in units(records).items():
        found = deal(groups)
        if all(0 < answerable[found != fold].sum() < (found != fold).sum() for fold in range(found.max() + 1)):
            return Folds(found, unit)
    return Folds(np.zeros(len(records), int), "")


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

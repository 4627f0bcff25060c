"""Exact match and F1 as in SQuAD's official evaluation script (Rajpurkar et al. 2016), averaged over questions.

They are made for English. `cmrc_metric` and `mlqa_metric` have those of other languages, averaged in the same way.
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from pipeline.questions.question import Question

PUNCTUATION = str.maketrans("", "", string.punctuation)


class Metric(NamedTuple):
    """Scores, 0-1, of a prediction and a reference."""

    exact_match: Callable[[str, str], float]
    f1: Callable[[str, str], float]


def normalize_answer(text: str) -> str:
    """Lowercase, remove ASCII punctuation and the words a, an, the, and collapse whitespace."""
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text.lower().translate(PUNCTUATION)).split())


def exact_match(prediction: str, reference: str) -> float:
    """1.0 if the normalized texts are equal, else 0.0."""
    return float(normalize_answer(prediction) == normalize_answer(reference))


def f1(prediction: str, reference: str) -> float:
    """F1, 0-1, over the bags of words of the normalized texts; 0 without a common word, so of two empty texts too."""
    return bag_f1(normalize_answer(prediction).split(), normalize_answer(reference).split())


def bag_f1(predicted: Sequence[str], expected: Sequence[str]) -> float:
    """F1, 0-1, over two bags of words; 0 without a common word."""
    common = (Counter(predicted) & Counter(expected)).total()
    return 2 * common / (len(predicted) + len(expected)) if common else 0.0


METRIC = Metric(exact_match, f1)


def best(metric: Callable[[str, str], float], prediction: str, references: Sequence[str]) -> float:
    """The highest score over the references."""
    return max(metric(prediction, reference) for reference in references)


def score_each(
    metric: Callable[[str, str], float], predictions: Mapping[str, str], records: Sequence[Question]
) -> list[float]:
    """The metric of each record, 0-1; the highest over its references."""
    return [
        best(metric, predictions[record["id"]], record["answers"]["text"]) if record["id"] in predictions else 0.0
        for record in records
    ]

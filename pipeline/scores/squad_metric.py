"""Exact match and F1 as in SQuAD's official evaluation script (Rajpurkar et al. 2016), averaged over questions."""

import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize_answer(text: str) -> str:
    """Lowercase, remove ASCII punctuation and the words a, an, the, and collapse whitespace."""
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text.lower().translate(PUNCTUATION)).split())


def exact_match(prediction: str, reference: str) -> float:
    """1.0 if the normalized texts are equal, else 0.0."""
    return float(normalize_answer(prediction) == normalize_answer(reference))


def f1(prediction: str, reference: str) -> float:
    """F1, 0-1, over the bags of words of the normalized texts; equality if either text is empty."""
    predicted, expected = normalize_answer(prediction).split(), normalize_answer(reference).split()
    if not predicted or not expected:
        return float(predicted == expected)
    common = (Counter(predicted) & Counter(expected)).total()
    return 2 * common / (len(predicted) + len(expected))


def best(metric: Callable[[str, str], float], prediction: str, references: Sequence[str]) -> float:
    """The highest score over the references."""
    return max(metric(prediction, reference) for reference in references)


def score(predictions: Mapping[str, str], records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Mean exact match and F1, 0-100, over all records; a record without a prediction counts as 0.

    Args:
        predictions: question id -> answer.

    Raises:
        ValueError: there are no records.
    """
    if not records:
        raise ValueError("no questions to score")
    return {
        name: 100 * sum(score_each(metric, predictions, records)) / len(records)
        for name, metric in (("exact_match", exact_match), ("f1", f1))
    }


def score_each(
    metric: Callable[[str, str], float], predictions: Mapping[str, str], records: Sequence[Mapping[str, Any]]
) -> list[float]:
    """The metric of each record, 0-1; the highest over its references."""
    return [
        best(metric, predictions[record["id"]], record["answers"]["text"]) if record["id"] in predictions else 0.0
        for record in records
    ]

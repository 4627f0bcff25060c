"""Exact match and F1 as SQuAD's official evaluation defines them (Rajpurkar et al. 2016), per question, 0-100."""

import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise(text: str) -> str:
    """Lower case, without ASCII punctuation and the words a, an, the; single spaces."""
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text.lower().translate(PUNCTUATION)).split())


def exact_match(prediction: str, reference: str) -> float:
    """1.0 where the normalised texts are equal, else 0.0."""
    return float(normalise(prediction) == normalise(reference))


def f1(prediction: str, reference: str) -> float:
    """Harmonic mean of precision and recall over the normalised texts' words, as bags; 0-1."""
    ours, theirs = normalise(prediction).split(), normalise(reference).split()
    if not ours or not theirs:
        return float(ours == theirs)
    common = (Counter(ours) & Counter(theirs)).total()
    return 2 * common / (len(ours) + len(theirs))


def best(metric: Callable[[str, str], float], prediction: str, references: Sequence[str]) -> float:
    """The highest score over the references."""
    return max(metric(prediction, reference) for reference in references)


def score(predictions: Mapping[str, str], records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Mean exact match and F1, 0-100, over all records; one without a prediction counts as 0.

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
    """The metric of each record, 0-1, best over its references."""
    return [
        best(metric, predictions[record["id"]], record["answers"]["text"]) if record["id"] in predictions else 0.0
        for record in records
    ]

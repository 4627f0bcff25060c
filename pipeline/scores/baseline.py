"""The score of an answer that needs no model: what scores less has learnt nothing."""

import sys
from collections.abc import Sequence
from typing import Any

from pipeline.scores import squad_metric
from pipeline.scores.metrics import METRICS
from pipeline.scores.mlqa_metric import CHINESE

# A random span has a higher F1 the longer it is. On SQuAD and on the synthetic corpus the first 25 words reach about 7,
# which is more than random spans of any length, and more than the whole context.
WORDS = 25


def floor(records: Sequence[dict[str, Any]], metric: str) -> float:
    """F1, 0-100, that answering alike everywhere reaches: with the first `WORDS` words of the context, or not at all.

    No answer is right where a question is unanswerable.

    Args:
        metric: the name of exact match and F1 in `metrics.METRICS`.
    """
    answerable = [record for record in records if record["answers"]["text"]]
    constant = {record["id"]: first_words(record["context"]) for record in answerable}
    found = sum(squad_metric.score_each(METRICS[metric].f1, constant, answerable))
    return 100 * max(found, len(records) - len(answerable)) / len(records)


def first_words(text: str) -> str:
    """The first `WORDS` words, with spaces between them; a Chinese character is a word."""
    return " ".join(CHINESE.sub(r" \1 ", text).split()[:WORDS])


def warn_below_floor(name: str, f1: float, records: Sequence[dict[str, Any]], metric: str) -> None:
    """Print a warning if a model's F1 on the records is below the floor."""
    lowest = floor(records, metric)
    if f1 < lowest:
        print(
            f"warning: {name} has F1 {f1:.2f}, less than the {lowest:.2f} of answering every question alike, with the "
            f"first {WORDS} words of its context or not at all; it has learnt nothing",
            file=sys.stderr,
        )

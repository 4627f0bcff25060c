"""The score of an answer that needs no model: what scores less has learnt nothing."""

import sys
from collections.abc import Sequence
from typing import Any

from pipeline.scores import squad_metric

# A random span has a higher F1 the longer it is. On SQuAD and on the synthetic corpus the first 25 words reach about 7,
# which is more than random spans of any length, and more than the whole context.
WORDS = 25


def floor(records: Sequence[dict[str, Any]]) -> float:
    """F1, 0-100, that answering alike everywhere reaches: with the first `WORDS` words of the context, or not at all.

    No answer is right where a question is unanswerable.
    """
    answerable = [record for record in records if record["answers"]["text"]]
    constant = {record["id"]: " ".join(record["context"].split()[:WORDS]) for record in answerable}
    found = sum(squad_metric.score_each(squad_metric.f1, constant, answerable))
    return 100 * max(found, len(records) - len(answerable)) / len(records)


def warn_below_floor(name: str, f1: float, records: Sequence[dict[str, Any]]) -> None:
    """Print a warning if a model's F1 on the records is below the floor."""
    lowest = floor(records)
    if f1 < lowest:
        print(
            f"warning: {name} has F1 {f1:.2f}, less than the {lowest:.2f} of answering every question alike, with the "
            f"first {WORDS} words of its context or not at all; it has learnt nothing",
            file=sys.stderr,
        )

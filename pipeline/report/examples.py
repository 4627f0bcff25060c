"""Questions and answers for the browser of examples: each context once, answers as places in it.

Offsets count Unicode code points, as Python does; the page counts them in the same way.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from pipeline.comparison import frames
from pipeline.comparison.leaderboard import Candidate
from pipeline.questions.question import Question

Place = list[Any]  # [start, length] in the context, or [null, text] of an answer that is not there


def pack(
    records: Sequence[Question], teachers: Mapping[str, pd.DataFrame], candidates: Sequence[Candidate]
) -> dict[str, Any]:
    """What the page shows of each question, as JSON values.

    Args:
        records: N questions.
        teachers: scores of each question, by the teacher's name; the last decides what "the teacher" answers.
        candidates: the students.
    """
    contexts = {context: i for i, context in enumerate(dict.fromkeys(record["context"] for record in records))}
    return {
        "contexts": list(contexts),
        "context": [contexts[record["context"]] for record in records],
        "ids": [record["id"] for record in records],
        "questions": [record["question"] for record in records],
        "titles": [record["title"] or "" for record in records],
        "references": [references(record) for record in records],
        "teachers": [{"name": name, **answers(records, scores)} for name, scores in teachers.items()],
        "students": [[answers(records, scores) for scores in each.scores.values()] for each in candidates],
    }


def references(record: Question) -> list[Place]:
    """The different reference answers, in their order."""
    pairs = zip(record["answers"]["answer_start"], record["answers"]["text"], strict=True)
    return [place(record["context"], start, text) for start, text in dict.fromkeys(pairs)]


def answers(records: Sequence[Question], scores: pd.DataFrame) -> dict[str, list[Any]]:
    """A column for each thing to know of N answers; `start` is null where there is no answer or it is not a span."""
    rows = frames.records(scores[["start", "prediction", "exact_match", "f1", "score"]])
    places = [
        place(record["context"], row["start"], row["prediction"]) for record, row in zip(records, rows, strict=True)
    ]
    return {
        "start": [start for start, _ in places],
        "answer": [answer for _, answer in places],
        "exact": [int(row["exact_match"] == 100) for row in rows],
        "f1": [round(row["f1"]) for row in rows],
        "score": [None if row["score"] is None else round(row["score"], 1) for row in rows],
    }


def place(context: str, start: int | None, text: str | None) -> Place:
    """Where in the context a text is."""
    if start is not None and text and context.startswith(text, start):
        return [start, len(text)]
    return [None, text]

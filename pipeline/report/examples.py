"""Questions and answers for the browser of examples: each context once, answers as places in it.

Offsets count Unicode code points, as Python does; the page counts them in the same way.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

Place = list[Any]  # [start, length] in the context, or [null, text] of an answer that is not there


def pack(
    records: Sequence[Mapping[str, Any]], teachers: Mapping[str, pa.Table], students: Sequence[Sequence[pa.Table]]
) -> dict[str, Any]:
    """What the page shows of each question, as JSON values.

    Args:
        records: N questions.
        teachers: scores of each question, by the teacher's name; the last decides what "the teacher" answers.
        students: the same of each student's seeds.
    """
    contexts = {context: i for i, context in enumerate(dict.fromkeys(record["context"] for record in records))}
    return {
        "contexts": list(contexts),
        "context": [contexts[record["context"]] for record in records],
        "ids": [record["id"] for record in records],
        "questions": [record["question"] for record in records],
        "titles": [record["title"] or "" for record in records],
        "references": [references(record) for record in records],
        "teachers": [{"name": name, **answers(records, table)} for name, table in teachers.items()],
        "students": [[answers(records, table) for table in seeds] for seeds in students],
    }


def references(record: Mapping[str, Any]) -> list[Place]:
    """The different reference answers, in their order."""
    pairs = zip(record["answers"]["answer_start"], record["answers"]["text"], strict=True)
    return [place(record["context"], start, text) for start, text in dict.fromkeys(pairs)]


def answers(records: Sequence[Mapping[str, Any]], table: pa.Table) -> dict[str, list[Any]]:
    """A column for each thing to know of N answers; `start` is null where there is no answer or it is not a span."""
    columns = (table["start"].to_pylist(), table["prediction"].to_pylist())
    places = [place(record["context"], *answer) for record, *answer in zip(records, *columns, strict=True)]
    return {
        "start": [start for start, _ in places],
        "answer": [answer for _, answer in places],
        "exact": [int(value == 100) for value in table["exact_match"].to_pylist()],
        "f1": [round(value) for value in table["f1"].to_pylist()],
        "score": [None if value is None else round(value, 1) for value in table["score"].to_pylist()],
    }


def place(context: str, start: int | None, text: str | None) -> Place:
    """Where in the context a text is."""
    if start is not None and text and context.startswith(text, start):
        return [start, len(text)]
    return [None, text]

"""A question record: what is checked once, stored, and passed to every stage."""

from typing import TypedDict


class Answers(TypedDict):
    """Reference answers: texts, and the index of the first character of each in the context."""

    text: list[str]
    answer_start: list[int]


class Question(TypedDict):
    """A checked question record, as `records.RECORD` stores it.

    `is_impossible` says that the context does not answer it; a question without answers is unlabeled otherwise.
    """

    id: str
    title: str
    context: str
    question: str
    answers: Answers
    is_impossible: bool


def unlabeled(identifier: str, question: str, context: str) -> Question:
    """A question without answers."""
    answers = Answers(text=[], answer_start=[])
    return Question(id=identifier, title="", context=context, question=question, answers=answers, is_impossible=False)

"""Scores of teachers, of which files of answers may not answer every question."""

import numpy as np

from pipeline.logits.targets import answered, of_questions
from pipeline.questions.features import Features, SpanLogits
from pipeline.questions.question import Question
from pipeline.scores import metrics
from pipeline.scores.spans import Answer


def scores_of_answered(
    features: Features, records: list[Question], logits: SpanLogits[np.ndarray], max_answer_length: int, metric: str
) -> tuple[dict[str, float], list[list[Answer] | None]]:
    """`metrics.scores` of the questions that a teacher answers, and its answer to each record, None to the others.

    Without a question that it answers and that has a reference answer, there are no scores and no answers.

    Args:
        logits: start and end, each (T,), concatenated over the windows of `features`.
        max_answer_length: in tokens, inclusive.
        metric: the name of exact match and F1 in `metrics.METRICS`.
    """
    answers: list[list[Answer] | None] = [None] * len(records)
    questions = answered(features, logits, len(records))
    asked = [records[i] for i in questions]
    if not any(record["answers"]["text"] for record in asked):
        return {}, answers
    windows, of_asked = of_questions(features, logits, questions)
    scores, found = metrics.scores(windows, asked, of_asked, max_answer_length, metric)
    for i, best in zip(questions.tolist(), found, strict=True):
        answers[i] = best
    return scores, answers

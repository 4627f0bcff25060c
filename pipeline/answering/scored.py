"""The scores of a model's answers to questions, outside the stages."""

from typing import Any

import pyarrow as pa

from pipeline.models.inference import predict
from pipeline.questions.features import Features
from pipeline.questions.question import Question
from pipeline.scores import metrics
from pipeline.scores.question_scores import question_scores


def scored(
    model: Any, features: Features, records: list[Question], pad_token_id: int, max_answer_length: int, metric: str
) -> pa.Table:
    """The scores of each question, see `question_scores`.

    Args:
        model: a student in torch or ONNX, or a teacher.
        features: the windows of the questions.
        max_answer_length: in tokens.
        metric: a name in `metrics.METRICS`.
    """
    logits = predict(model, features, pad_token_id)
    _, answers = metrics.scores(features, records, logits, max_answer_length, metric)
    return question_scores(features, records, answers, metric=metric)

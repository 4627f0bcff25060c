"""The scores of each question as a table: what comparisons of models are made from."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.checksums import seal
from pipeline.questions.features import Features
from pipeline.questions.question import Question
from pipeline.scores import metrics
from pipeline.scores.spans import Answer

COLUMNS = pa.schema(
    {
        "id": pa.string(),
        "paragraph": pa.string(),
        "article": pa.string(),
        "windows": pa.int32(),
        "answerable": pa.bool_(),
        "exact_match": pa.float64(),
        "f1": pa.float64(),
        "agreement": pa.float64(),
        "prediction": pa.string(),
        "start": pa.int32(),
        "score": pa.float64(),
        "null_odds": pa.float64(),
    }
)
# metadata entry: equal for tables of the same questions, contexts, reference answers and metric
QUESTIONS = b"questions"


def question_scores(
    features: Features,
    records: Sequence[Question],
    answers: Sequence[list[Answer]],
    teacher_answers: Sequence[list[Answer] | None] | None = None,
    metric: str = "squad",
) -> pa.Table:
    """A row for each record, in the records' order.

    Columns: `id`; `paragraph`, a hash of the context; `article`, the title, "" if there is none; `windows`, how many
    the question has; `answerable`; `exact_match` and `f1`, 0-100; `agreement`, 100 where the answer is the teacher's
    and 0 elsewhere, null without an answer of the teacher; `prediction`, "" for no answer, null if there is none;
    `start`, its first character in the context, null for no answer; `score`, the sum of its two logits; `null_odds`,
    the score of no answer less that of the best span, null if all questions are answerable.

    Args:
        features: the windows of the records.
        answers: of each record, best first.
        teacher_answers: the same of the teacher; None for a question that it does not answer.
        metric: the name of exact match and F1 in `metrics.METRICS`.
    """
    best = [found[0] if found else None for found in answers]
    predictions = {record["id"]: answer.text for record, answer in zip(records, best, strict=True) if answer}
    scores = metrics.score_each(predictions, records, metric)
    windows = Counter(features.record.tolist())
    columns = {
        "id": [record["id"] for record in records],
        "paragraph": [paragraph(record["context"]) for record in records],
        "article": [record["title"] or "" for record in records],
        "windows": [windows[i] for i in range(len(records))],
        "answerable": [bool(record["answers"]["text"]) for record in records],
        **{name: [100 * value for value in each] for name, each in scores.items()},
        "agreement": agreement(answers, teacher_answers) if teacher_answers else [None] * len(records),
        "prediction": [answer and answer.text for answer in best],
        "start": [answer.start if answer and answer.text else None for answer in best],
        "score": [answer and answer.score for answer in best],
        "null_odds": [null_odds(found) for found in answers],
    }
    return pa.table(columns, schema=COLUMNS.with_metadata({QUESTIONS: fingerprint(records, metric)}))


def paragraph(context: str) -> str:
    """16 hexadecimal digits that stand for a context."""
    return hashlib.blake2b(context.encode(), digest_size=8).hexdigest()


def null_odds(answers: Sequence[Answer]) -> float | None:
    """The score of no answer less that of the best span; None if either is not among a question's answers."""
    null = [answer.score for answer in answers if not answer.text]
    spans = [answer.score for answer in answers if answer.text]
    return null[0] - spans[0] if null and spans else None


def agreement(answers: Sequence[list[Answer]], others: Sequence[list[Answer] | None]) -> list[float | None]:
    """100 for each question whose two best answers have the same text, else 0; None without the other's."""
    return [
        None if b is None else 100.0 * ([answer.text for answer in a[:1]] == [answer.text for answer in b[:1]])
        for a, b in zip(answers, others, strict=True)
    ]


def fingerprint(records: Sequence[Question], metric: str) -> str:
    """32 hexadecimal digits; equal for one metric and equal questions, contexts and reference answers in one order."""
    digest = hashlib.blake2b(metric.encode(), digest_size=16)
    for record in records:
        content = [record["id"], record["context"], record["question"], record["answers"]["text"]]
        digest.update(json.dumps(content).encode())
    return digest.hexdigest()


def write_question_scores(table: pa.Table, path: Path) -> None:
    """Write the table as Parquet with a checksum; the same table gives the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    seal(path)

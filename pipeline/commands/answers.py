"""answers: write a teacher's answers to the questions of both splits.

    span-distill answers NAME --n-best 20 --out answers.jsonl

Reads data/dataset, data/features, data/tokenizer and data/logits, and runs no model. Writes JSON Lines with `id` and
`answers`: text, start and end in characters of the context, and probability, best first; "" says that the context has
none. The probabilities are the softmax over a question's 20 best spans and, where some questions have no answer, "".
Such a file can be a teacher itself (`teacher.models.NAME.answers`).
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import paths
from pipeline.errors import InputError
from pipeline.files import opened
from pipeline.logits.targets import answered, of_questions, read_teacher
from pipeline.params import load
from pipeline.progress import Progress
from pipeline.questions.features import Features, SpanLogits
from pipeline.questions.question import Question
from pipeline.questions.records import read_records
from pipeline.scores import spans
from pipeline.scores.confidence import CANDIDATES, confidences

QUESTIONS_PER_BATCH = 1000


def main(teacher: str, n_best: int, out: Path | None) -> None:
    params = load(paths.PARAMS)
    if teacher not in params.teacher.models:
        raise InputError(f"there is no teacher '{teacher}'; teacher.models has {', '.join(params.teacher.models)}")
    if not 1 <= n_best <= CANDIDATES:
        raise InputError(f"--n-best is {n_best}; it must be from 1 to {CANDIDATES}")
    splits = {split: read_records(paths.DATASET / f"{split}.parquet") for split in ("train", "validation")}
    total = sum(map(len, splits.values()))
    may_decline = any(record["is_impossible"] for records in splits.values() for record in records)
    with opened(out) as file, Progress(teacher, "question", total, shown=out is not None) as progress:
        for split, records in splits.items():
            opened_teacher = read_teacher(*paths.teacher_paths(teacher, split))
            output = opened_teacher.features, opened_teacher.logits(lambda i, records=records: records[i]["id"])
            for identifier, candidates in answers(*output, records, params.evaluate.max_answer_length, may_decline):
                progress.update()
                if candidates:
                    row = {"id": identifier, "answers": as_rows(candidates)[:n_best]}
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")


def answers(
    features: Features, logits: SpanLogits[np.ndarray], records: list[Question], longest: int, may_decline: bool
) -> Iterator[tuple[str, list[spans.Answer]]]:
    """Yield the id of each question and its `CANDIDATES` best answers, best first; none if the teacher has none.

    Args:
        longest: maximum tokens of a span.
        may_decline: whether "" is among the answers.
    """
    known = set(answered(features, logits, len(records)).tolist())
    for first in range(0, len(records), QUESTIONS_PER_BATCH):
        batch = records[first : first + QUESTIONS_PER_BATCH]
        questions = np.arange(first, first + len(batch))
        windows, of_batch = of_questions(features, logits, questions)
        found = spans.answers(windows, [record["context"] for record in batch], *of_batch, CANDIDATES, longest)
        null_scores = spans.null_scores(windows, *of_batch, len(batch))
        for i, best, null_score in zip(questions.tolist(), found, null_scores.tolist(), strict=True):
            candidates = spans.with_no_answer(best, null_score, 0.0) if may_decline else best
            yield records[i]["id"], candidates if i in known else []


def as_rows(candidates: list[spans.Answer]) -> list[dict[str, Any]]:
    """The candidates of a question that have a probability above 0, as JSON objects."""
    shares = confidences(candidates, None, 1.0).tolist()
    return [
        {"text": answer.text, "start": answer.start, "end": answer.end, "probability": share}
        for answer, share in zip(candidates, shares, strict=True)
        if share > 0
    ]

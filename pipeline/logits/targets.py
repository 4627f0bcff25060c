"""The targets of distillation: stored logits of one or several teachers, over the student's own tokens."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.checksums import verified
from pipeline.log import log
from pipeline.logits.alignment import NO_MASS, align
from pipeline.logits.store import LogitStore
from pipeline.questions import tokenization
from pipeline.questions.features import Features, SpanLogits, question_ids, read_features
from pipeline.questions.question import Question

# a teacher's windows and its start and end logits, each (T,), in the order of the windows' tokens
TeacherOutput = tuple[Features, SpanLogits[np.ndarray]]
# the fields that locate each token in the context; token type ids do not matter, and DistilBERT has none
LAYOUT = ("starts", "record", "context", "offset_mapping")


def read_teacher(logits: Path, tokenizer: Path, features: Path, records: Sequence[Question]) -> TeacherOutput:
    """A teacher's windows and stored logits for the records.

    Args:
        logits: the teacher's folder in data/logits.
        tokenizer: the teacher's tokenizer.
        features: the file with the teacher's windows.

    Raises:
        InputError: a file is missing or damaged, the store cannot be used, or windows have no logits; the error names
            the first question.
    """
    loaded = tokenization.load(verified(tokenizer, "tokenize"))
    store = LogitStore(logits, tokenization.fingerprint(loaded))
    windows = read_features(features)
    return windows, store.aligned(windows, question_ids(windows, records))


def student_targets(outputs: list[TeacherOutput], student: Features) -> SpanLogits[np.ndarray]:
    """Start and end logits over the student's tokens, each (T,): those of one teacher, or the mean of several.

    Logs the share of each teacher's probability that could not be aligned.
    """
    aligned = [_align(*output, student) for output in outputs]
    return aligned[0] if len(aligned) == 1 else mean(aligned, student)


def _align(teacher: Features, logits: SpanLogits[np.ndarray], student: Features) -> SpanLogits[np.ndarray]:
    """The logits over the student's tokens: unchanged if teacher and student have the same tokens in all windows."""
    if all(np.array_equal(getattr(teacher, name), getattr(student, name)) for name in LAYOUT):
        return logits
    aligned, unaligned = align(teacher, logits, student)
    log.info("%.3f %% of the teacher's probability could not be aligned with the student's tokens", 100 * unaligned)
    return aligned


def mean(several: list[SpanLogits[np.ndarray]], features: Features) -> SpanLogits[np.ndarray]:
    """Logarithm of the mean of several distributions over each window's answer positions, for starts and for ends.

    All distributions have the same weight, whatever the scale of their logits. The mean is taken at temperature 1; a
    temperature in the loss is applied to the mean.

    Args:
        several: pairs of start and end logits, each (T,).

    Returns:
        Start and end, each (T,) float32; `NO_MASS` at positions that cannot be an answer.
    """
    mask = features.answer_mask
    total = sum(np.stack([_probabilities(end, features, mask) for end in pair]) for pair in several)
    start, end = np.log(total / len(several), out=np.full_like(total, NO_MASS), where=total > 0).astype(np.float32)
    return SpanLogits(start, end)


def _probabilities(logits: np.ndarray, features: Features, mask: np.ndarray) -> np.ndarray:
    """(T,) float64: softmax over each window's positions in the mask, 0 elsewhere."""
    begins, lengths = features.starts[:-1], features.lengths
    scores = np.where(mask, logits.astype(np.float64), -np.inf)
    weights = np.exp(scores - np.repeat(np.maximum.reduceat(scores, begins), lengths))
    return weights / np.repeat(np.add.reduceat(weights, begins), lengths)

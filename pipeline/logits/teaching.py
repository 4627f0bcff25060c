"""What a student is taught: the stored logits of one teacher or of several, over the student's own tokens."""

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.logits.store import LogitStore
from pipeline.logits.transport import NO_MASS, transport
from pipeline.questions import tokenization
from pipeline.questions.features import Features, read_features
from pipeline.scores.metrics import Logits

# a teacher's windows, and its logits laid end to end as their tokens are
TeacherOutput = tuple[Features, Logits]
# what says where each token of each window lies; segment ids do not matter, which a DistilBERT has not and a BERT has
LAYOUT = ("starts", "record", "context", "offset_mapping")


def read(logits: Path, tokenizer: Path, features: Path, records: list[dict[str, Any]]) -> TeacherOutput:
    """A teacher's reading of the records.

    Args:
        logits: its store.
        tokenizer: its own.
        features: file of its windows.

    Raises:
        InputError: the store does not answer for the windows; names the first question that it lacks.
    """
    store = LogitStore(logits, tokenization.fingerprint(tokenization.load(tokenizer)))
    windows = read_features(features)
    return windows, store.aligned(windows, [records[i]["id"] for i in windows.record])


def targets(outputs: list[TeacherOutput], students: Features) -> Logits:
    """Start and end logits over the student's tokens, laid end to end: one teacher's, or the teachers' mean.

    Prints the share of each teacher's mass that could not be carried.
    """
    carried = [_carried(*reading, students) for reading in outputs]
    return carried[0] if len(carried) == 1 else mean(carried, students)


def _carried(teachers: Features, logits: Logits, students: Features) -> Logits:
    """The logits as they are where teacher and student cut all texts alike, else carried over."""
    if all(np.array_equal(getattr(teachers, name), getattr(students, name)) for name in LAYOUT):
        return logits
    carried, unplaced = transport(teachers, logits, students)
    print(f"{100 * unplaced:.3f} % of the teacher's probability has no place among the student's tokens")
    return carried


def mean(several: list[Logits], features: Features) -> Logits:
    """Logarithms of the mean of several distributions over each window's answer positions, starts and ends apart.

    Each distribution counts alike, whatever the scale of its logits. The mean is taken at temperature 1; a temperature
    in the loss then acts on the mean.

    Args:
        several: pairs of start and end logits, each (T,).

    Returns:
        Start and end, each (T,) float32; `NO_MASS` where an answer cannot stand.
    """
    mask = features.answer_mask
    total = sum(np.stack([_probabilities(end, features, mask) for end in pair]) for pair in several)
    start, end = np.log(total / len(several), out=np.full_like(total, NO_MASS), where=total > 0).astype(np.float32)
    return start, end


def _probabilities(logits: np.ndarray, features: Features, mask: np.ndarray) -> np.ndarray:
    """(T,) float64: softmax over each window's positions in the mask, 0 at all others."""
    begins, lengths = features.starts[:-1], features.lengths
    scores = np.where(mask, logits.astype(np.float64), -np.inf)
    weights = np.exp(scores - np.repeat(np.maximum.reduceat(scores, begins), lengths))
    return weights / np.repeat(np.add.reduceat(weights, begins), lengths)

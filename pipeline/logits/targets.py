"""The targets of distillation: stored logits of one or several teachers, over the student's own tokens.

They are written once, to the user's cache, and mapped from there: they take no memory, and a second training aligns
nothing. The logits of a window without a target are all minus infinity, from which no loss and no softmax is finite.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.checksums import checksum, fault, seal, verified
from pipeline.files import atomic_write, remove_unfinished
from pipeline.imports import code_digest
from pipeline.locks import hold
from pipeline.log import log
from pipeline.logits.alignment import NO_MASS, align
from pipeline.logits.gaps import read_gaps
from pipeline.logits.index import NO_ROW, Index
from pipeline.logits.store import LogitStore
from pipeline.questions import tokenization
from pipeline.questions.features import Features, SpanLogits, equal, read_features
from pipeline.tensors import map_tensors, mapped_writer

# windows that are aligned at a time; the windows of a record stay together
CHUNK = 16384
# the fields that locate each token in the context; token type ids do not matter, and DistilBERT has none
LAYOUT = ("starts", "record", "context", "offset_mapping")
FILE = "targets.safetensors"


@dataclass(frozen=True)
class Teacher:
    """A teacher's windows of a split and its stored logits.

    Attributes:
        digest: a hash of the windows and the rows.
        gaps: the keys of windows without a target.
    """

    features: Features
    store: LogitStore
    digest: str
    gaps: Index | None = None

    def logits(self, question_id: Callable[[int], str]) -> SpanLogits[np.ndarray]:
        """Start and end logits of all windows; see `aligned`."""
        return self.aligned(self.features, question_id)

    def aligned(self, windows: Features, question_id: Callable[[int], str]) -> SpanLogits[np.ndarray]:
        """`LogitStore.aligned` of some of the windows; minus infinity in those without a target."""
        known = self.gaps.find(windows.keys) == NO_ROW if self.gaps else np.ones(len(windows), dtype=bool)
        if known.all():
            return self.store.aligned(windows, question_id)
        kept = np.flatnonzero(known)
        start, end = np.full((2, len(windows.input_ids)), -np.inf, dtype=self.store.identity.dtype)
        if len(kept):
            tokens = windows.token_indices(kept)
            start[tokens], end[tokens] = self.store.aligned(windows.select(kept), question_id)
        return SpanLogits(start, end)


def read_teacher(logits: Path, tokenizer: Path, features: Path) -> Teacher:
    """Open a teacher's stored logits.

    Args:
        logits: the teacher's folder in data/logits.
        tokenizer: the teacher's tokenizer.
        features: the file with the teacher's windows.

    Raises:
        InputError: a file is missing or damaged, or the store cannot be used.
    """
    loaded = tokenization.load(verified(tokenizer, "tokenize"))
    store = LogitStore(logits, tokenization.fingerprint(loaded))
    windows = read_features(features)
    digest = _digest(checksum(features), store.identity.name, *store.checksums())
    return Teacher(windows, store, digest, read_gaps(logits))


def has_target(features: Features, logits: SpanLogits[np.ndarray]) -> np.ndarray:
    """(N,) bool, whether each window has a target."""
    return np.isfinite(logits[0][features.starts[:-1]])


def answered(features: Features, logits: SpanLogits[np.ndarray], count: int) -> np.ndarray:
    """Indices of the questions, of `count`, of which every window has a target; none if no window has one."""
    known = has_target(features, logits)
    return np.setdiff1d(np.arange(count), features.record[~known]) if known.any() else np.arange(0)


def of_windows(
    features: Features, logits: SpanLogits[np.ndarray], windows: np.ndarray
) -> tuple[Features, SpanLogits[np.ndarray]]:
    """Some windows, and their logits."""
    tokens = features.token_indices(windows)
    return features.select(windows), SpanLogits(logits[0][tokens], logits[1][tokens])


def of_questions(
    features: Features, logits: SpanLogits[np.ndarray], questions: np.ndarray
) -> tuple[Features, SpanLogits[np.ndarray]]:
    """The windows and logits of some questions, whose numbers are then their indices in `questions`, ascending."""
    selected, of_selected = of_windows(features, logits, np.flatnonzero(np.isin(features.record, questions)))
    return replace(selected, record=np.searchsorted(questions, selected.record).astype(np.int32)), of_selected


@dataclass(frozen=True)
class Targets:
    """What a student is trained on.

    Attributes:
        logits: start and end logits over the student's tokens, each (T,): those of one teacher, or the mean of those
            that have a target for a window.
        digest: a hash of all that determines them.
    """

    logits: SpanLogits[np.ndarray]
    digest: str


def student_targets(teachers: list[Teacher], features: Path, question_id: Callable[[int], str], cache: Path) -> Targets:
    """The targets of a student's windows, read from the cache, or computed and written to it.

    Computing them logs the share of each teacher's probability that could not be aligned.

    Args:
        features: the file with the student's windows.
        question_id: returns the id of a record, for the error.
        cache: the folder of cached targets; each has a folder in it, named by `Targets.digest`.

    Raises:
        InputError: windows have no logits.
    """
    student = read_features(features)
    rules = code_digest("pipeline.logits.targets").hex()
    digest = _digest(rules, checksum(features), *(teacher.digest for teacher in teachers))
    folder = cache / digest
    with hold(folder, "it writes the same targets"):
        if fault(folder):
            folder.mkdir(parents=True, exist_ok=True)
            remove_unfinished(folder)
            with atomic_write(folder / FILE) as temporary:
                _write(teachers, student, question_id, temporary)
            seal(folder)
        os.utime(folder)  # the time of the last use
        tensors = map_tensors(folder / FILE)[1]
    return Targets(SpanLogits(tensors["start_logits"], tensors["end_logits"]), digest)


def _write(teachers: list[Teacher], student: Features, question_id: Callable[[int], str], path: Path) -> None:
    """Write the targets of all windows, chunk by chunk."""
    same = [_same_tokens(teacher.features, student) for teacher in teachers]
    unchanged = len(teachers) == 1 and same[0]
    dtype = teachers[0].store.identity.dtype if unchanged else "float32"
    layout = dict.fromkeys(("start_logits", "end_logits"), (dtype, student.input_ids.shape))
    unaligned = np.zeros(len(teachers))
    with mapped_writer(path, layout) as written:
        for begin, end in _chunks(student):
            windows = student.between(begin, end)
            aligned = []
            for i, teacher in enumerate(teachers):
                own = _of_records(teacher.features, windows)
                logits = teacher.aligned(own, question_id)
                if not same[i]:
                    logits, share = align(own, logits, windows)
                    unaligned[i] += share * len(windows) / len(student)
                aligned.append(logits)
            start, end_ = aligned[0] if len(aligned) == 1 else mean(aligned, windows)
            tokens = slice(student.starts[begin], student.starts[end])
            written["start_logits"][tokens], written["end_logits"][tokens] = start, end_
    for share in unaligned[~np.array(same)]:
        log.info("%.3f %% of the teacher's probability could not be aligned with the student's tokens", 100 * share)


def _same_tokens(teacher: Features, student: Features) -> bool:
    """Whether teacher and student have the same tokens in all windows."""
    return all(equal(getattr(teacher, name), getattr(student, name)) for name in LAYOUT)


def _chunks(features: Features) -> Iterator[tuple[int, int]]:
    """The first window of each chunk, and the window past its last; all windows of a record are in one chunk."""
    begin = 0
    while begin < len(features):
        last = features.record[min(begin + CHUNK, len(features)) - 1]
        end = int(np.searchsorted(features.record, last, side="right"))
        yield begin, end
        begin = end


def _of_records(features: Features, others: Features) -> Features:
    """The windows of the records of other windows, which are consecutive."""
    begin = np.searchsorted(features.record, others.record[0], side="left")
    return features.between(int(begin), int(np.searchsorted(features.record, others.record[-1], side="right")))


def _digest(*parts: str) -> str:
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()


def mean(several: list[SpanLogits[np.ndarray]], features: Features) -> SpanLogits[np.ndarray]:
    """Logarithm of the mean of several distributions over each window's answer positions, for starts and for ends.

    All distributions have the same weight, whatever the scale of their logits. The mean is taken at temperature 1; a
    temperature in the loss is applied to the mean.

    Args:
        several: pairs of start and end logits, each (T,). In a window without a target of a pair, the others count.

    Returns:
        Start and end, each (T,) float32; `NO_MASS` at positions that cannot be an answer.
    """
    mask, count = features.answer_mask, np.zeros(len(features.input_ids))
    total = np.zeros((2, len(count)))
    for pair in several:
        known = np.repeat(has_target(features, pair), features.lengths)
        total += known * np.stack([_probabilities(np.where(known, end, 0), features, mask) for end in pair])
        count += known
    logs = np.log(total / np.maximum(count, 1), out=np.full_like(total, NO_MASS), where=total > 0).astype(np.float32)
    logs[:, count == 0] = -np.inf
    return SpanLogits(logs[0], logs[1])


def _probabilities(logits: np.ndarray, features: Features, mask: np.ndarray) -> np.ndarray:
    """(T,) float64: softmax over each window's positions in the mask, 0 elsewhere."""
    begins, lengths = features.starts[:-1], features.lengths
    scores = np.where(mask, logits.astype(np.float64), -np.inf)
    weights = np.exp(scores - np.repeat(np.maximum.reduceat(scores, begins), lengths))
    return weights / np.repeat(np.add.reduceat(weights, begins), lengths)

"""Runs a teacher over windows and adds its logits to the cache, one shard at a time."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from transformers import PreTrainedModel

from pipeline.errors import InputError
from pipeline.logits.cache import RowCache
from pipeline.logits.shards import Rows
from pipeline.models import inference
from pipeline.questions.features import Features, SpanLogits, question_ids
from pipeline.questions.question import Question

# the windows of a shard: features, indices into them, and the records that `features.record` points into
Shard = tuple[Features, np.ndarray, Sequence[Question]]


def add_shards(
    cache: RowCache,
    teacher: PreTrainedModel,
    shards: list[Shard],
    pad_token_id: int,
    progress: Callable[[int], Any] = lambda windows: None,
) -> float:
    """Compute the logits of shards and add them to the cache.

    Args:
        progress: called with the number of windows of each batch.

    Returns:
        The fraction of computed tokens that were padding, from 0 to 1.

    Raises:
        InputError: a logit is not finite in the cache's dtype; the error names the question.
    """
    processed_tokens = 0

    def advance(windows: int, tokens: int) -> None:
        nonlocal processed_tokens
        processed_tokens += tokens
        progress(windows)

    def computed() -> Iterator[Rows]:
        for features, indices, records in shards:
            rows = teacher_rows(teacher, features, indices, pad_token_id, cache.identity.dtype, advance)
            check_finite(rows, question_ids(features, records, indices))
            yield rows

    cache.add_all(computed())
    return 1 - sum(int(features.lengths_of(indices).sum()) for features, indices, _ in shards) / processed_tokens


def teacher_rows(
    teacher: PreTrainedModel,
    features: Features,
    indices: np.ndarray,
    pad_token_id: int,
    dtype: str,
    progress: Callable[[int, int], None] = lambda windows, tokens: None,
) -> Rows:
    """The teacher's logits for the windows at `indices`.

    Args:
        dtype: of the stored logits. Their precision is the encoder's; the output layer may have another.

    Raises:
        InputError: see `as_rows`.
    """
    logits = inference.predict(teacher, features, pad_token_id, indices, progress)
    return as_rows(features, indices, logits, dtype, str(teacher.base_model.dtype).removeprefix("torch."))


def as_rows(
    features: Features, indices: np.ndarray, logits: SpanLogits[np.ndarray], dtype: str, precision: str
) -> Rows:
    """The rows of a shard, from the concatenated logits of the windows at `indices`.

    Logits that no loss and no score reads, outside the answer positions, are made finite: BigBird's are -1e6.

    Raises:
        InputError: a key of the features is not the one of the tokens that the teacher read.
    """
    keys = features.recomputed_keys(indices)
    different = np.flatnonzero((keys != features.keys[indices]).any(axis=1))
    if len(different):
        raise InputError(
            f"window {indices[different[0]]} does not have the tokens of its key, so its features are damaged; delete "
            "data/features, then `dvc repro tokenize` rebuilds it"
        )
    read = features.answer_mask_of(indices)
    limit = np.finfo(dtype).max
    with np.errstate(over="ignore"):  # an overflow is infinite; check_finite reports it
        start_logits, end_logits = (
            np.where(read, end, np.nan_to_num(end).clip(-limit, limit)).astype(dtype) for end in logits
        )
    return Rows(
        keys=keys,
        starts=np.concatenate([[0], np.cumsum(features.lengths_of(indices))]),
        start_logits=start_logits,
        end_logits=end_logits,
        precision=(precision,),
    )


def check_finite(rows: Rows, questions: Sequence[str]) -> None:
    """Check that all logits are finite.

    Args:
        questions: the question id of each row, for the error.

    Raises:
        InputError: a logit is not finite; the error names the question.
    """
    finite = np.isfinite(rows.start_logits) & np.isfinite(rows.end_logits)
    if not finite.all():
        row = np.searchsorted(rows.starts, np.flatnonzero(~finite)[0], side="right") - 1
        raise InputError(
            f"the teacher's logits for question {questions[row]} are not finite as {rows.start_logits.dtype}; "
            "try logits.dtype float32, or another teacher"
        )

"""Groups windows into batches and pads them.

A padding token costs as much time as any other token, so windows of similar length share a batch.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from pipeline.questions.features import Features, SpanLogits

BUCKET_BATCHES = 50
# Up to this many windows, any window may follow any other; they and their logits are read from 3 GB of files, which a
# computer with 8 GB of memory holds in its page cache. Above, a step reads windows of a few blocks alone.
SHUFFLED_AS_ONE = 1_000_000
BLOCK_WINDOWS = 4096  # consecutive windows, some megabytes of a file
GROUP_BLOCKS = 64  # that are shuffled together


def shuffled_batches(
    n: int, length_of: Callable[[np.ndarray], np.ndarray], batch_size: int, seed: int, epoch: int
) -> Iterator[np.ndarray]:
    """Yield every one of n windows once, in batches of similar length; the order depends only on seed and epoch.

    The windows are shuffled and split into buckets of `BUCKET_BATCHES` batches. Each bucket is sorted by length and
    split into batches. The batches of all buckets are shuffled. The composition of batches therefore changes every
    epoch, and batch length has no trend over steps.

    More than `SHUFFLED_AS_ONE` windows are shuffled in two steps: the blocks of `BLOCK_WINDOWS` consecutive windows,
    then the windows of each `GROUP_BLOCKS` blocks as above. Files are so read almost in sequence.

    Args:
        length_of: indices of windows -> their numbers of tokens.
    """
    rng = np.random.default_rng([seed, epoch])
    if n <= SHUFFLED_AS_ONE:
        yield from _similar_batches(rng.permutation(n), length_of, batch_size, rng)
        return
    blocks = rng.permutation(-(-n // BLOCK_WINDOWS)) * BLOCK_WINDOWS
    rest = np.arange(0)  # less than a batch
    for group in cut(blocks, GROUP_BLOCKS):
        windows = np.concatenate([np.arange(begin, min(begin + BLOCK_WINDOWS, n)) for begin in group])
        windows = np.concatenate([rest, rng.permutation(windows)])
        whole = len(windows) if group[-1] == blocks[-1] else len(windows) - len(windows) % batch_size
        yield from _similar_batches(windows[:whole], length_of, batch_size, rng)
        rest = windows[whole:]


def _similar_batches(
    order: np.ndarray, length_of: Callable[[np.ndarray], np.ndarray], batch_size: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Yield batches of shuffled windows; `order` is sorted in place, bucket by bucket."""
    for bucket in cut(order, batch_size * BUCKET_BATCHES):
        bucket[:] = bucket[np.argsort(length_of(bucket), kind="stable")]
    for i in rng.permutation(-(-len(order) // batch_size)):
        yield order[i * batch_size : (i + 1) * batch_size]


def ordered_batches(n: int, batch_size: int) -> Iterator[np.ndarray]:
    """Yield every one of n windows once, in the order of the data set."""
    for begin in range(0, n, batch_size):
        yield np.arange(begin, min(begin + batch_size, n))


def token_budget_batches(lengths: np.ndarray, max_tokens: int) -> list[np.ndarray]:
    """Every window once, longest first, in batches of at most `max_tokens` tokens, padding included.

    A window longer than `max_tokens` is a batch by itself.
    """
    order = np.argsort(-lengths, kind="stable")
    batches, begin = [], 0
    while begin < len(order):
        size = max(1, max_tokens // int(lengths[order[begin]]))
        batches.append(order[begin : begin + size])
        begin += size
    return batches


def parts_of_step(lengths: np.ndarray, max_tokens: int) -> list[np.ndarray]:
    """Every window of a training step once, longest first, in 2, 4, 8 or more parts of as many windows each.

    They are so many that each has at most `max_tokens` tokens, padding included, or one window. Their number depends on
    the windows alone, so that machines with other numbers of cores add the same gradients.
    """
    order, count = np.argsort(-lengths, kind="stable"), 2
    while count < len(order) and -(-len(order) // count) * int(lengths.max()) > max_tokens:
        count *= 2
    return np.array_split(order, min(count, len(order)))


def cut(indices: np.ndarray, size: int) -> list[np.ndarray]:
    """Split the indices, in order, into chunks of `size`; the last chunk may be smaller."""
    return [indices[begin : begin + size] for begin in range(0, len(indices), size)]


@dataclass(frozen=True)
class Batch:
    """B windows, padded to the length L of the longest.

    Attributes:
        input_ids, attention_mask, token_type_ids: (B, L) int64; attention_mask is 1 for tokens and 0 for padding.
        answer_mask: (B, L) bool, True where an answer may start or end: the tokens of the context and [CLS].
        labels: (B, 2) int64, first and last answer position; -1, -1 if there is no label.
        indices: (B,) int, the windows' indices in their features.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    token_type_ids: torch.Tensor
    answer_mask: torch.Tensor
    labels: torch.Tensor
    indices: np.ndarray

    def to(self, device: torch.device) -> "Batch":
        return self._with(lambda tensor: to_device(tensor, device))

    def pinned(self) -> "Batch":
        """In pinned memory, from which a GPU copies asynchronously."""
        return self._with(torch.Tensor.pin_memory)

    def _with(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "Batch":
        tensors = {name: change(value) for name, value in vars(self).items() if isinstance(value, torch.Tensor)}
        return Batch(**tensors, indices=self.indices)


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The tensor on a device; the copy to a GPU is asynchronous."""
    pinned = tensor.pin_memory() if device.type == "cuda" and not tensor.is_cuda else tensor
    return pinned.to(device, non_blocking=True)


def _token_places(features: Features, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(B, L) bool, True for tokens, and (B, L) int, indices into the flat arrays; padding has the first token's."""
    lengths = features.lengths_of(indices)
    positions = np.arange(lengths.max())
    is_token = positions < lengths[:, None]
    return is_token, features.starts[indices][:, None] + np.where(is_token, positions, 0)


def pad(features: Features, indices: np.ndarray, pad_token_id: int) -> Batch:
    """The windows at `indices` as one padded batch."""
    is_token, flat = _token_places(features, indices)
    positions = np.arange(is_token.shape[1])
    context = features.context[indices]
    answer_mask = (positions >= context[:, :1]) & (positions < context[:, 1:])
    answer_mask[:, 0] = True
    return Batch(
        input_ids=torch.from_numpy(np.where(is_token, features.input_ids[flat], pad_token_id).astype(np.int64)),
        attention_mask=torch.from_numpy(is_token.astype(np.int64)),
        token_type_ids=torch.from_numpy(np.where(is_token, features.token_type_ids[flat], 0).astype(np.int64)),
        answer_mask=torch.from_numpy(answer_mask),
        labels=torch.from_numpy(features.labels[indices].astype(np.int64)),
        indices=indices,
    )


def pad_pair(pair: SpanLogits[np.ndarray], features: Features, indices: np.ndarray) -> SpanLogits[torch.Tensor]:
    """Start and end values, each as `pad_flat` pads them."""
    return SpanLogits(pad_flat(pair.start, features, indices), pad_flat(pair.end, features, indices))


def pad_flat(flat: np.ndarray, features: Features, indices: np.ndarray) -> torch.Tensor:
    """(B, L) float32: the values of the windows at `indices`, padded with zeros.

    Args:
        flat: (T,) one value for each token of the features.
    """
    is_token, places = _token_places(features, indices)
    return torch.from_numpy(np.where(is_token, flat[places], 0).astype(np.float32))

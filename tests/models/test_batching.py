import numpy as np
import pytest

from pipeline.models import batching
from pipeline.models.batching import (
    SHUFFLED_AS_ONE,
    ordered_batches,
    pad,
    pad_flat,
    shuffled_batches,
    token_budget_batches,
)
from pipeline.models.hardware import BATCH_TOKENS

RNG = np.random.default_rng(0)
LENGTHS = RNG.integers(30, 385, size=5000)


def shuffled(seed=0, epoch=0):
    return list(shuffled_batches(len(LENGTHS), LENGTHS.__getitem__, 16, seed, epoch))


def padding(lengths, batches):
    """Fraction of an epoch's tokens that are padding."""
    padded = sum(lengths[batch].max() * len(batch) for batch in batches)
    return 1 - sum(lengths[batch].sum() for batch in batches) / padded


@pytest.mark.parametrize(
    "batches",
    [
        shuffled(),
        list(ordered_batches(len(LENGTHS), 16)),
        token_budget_batches(LENGTHS, 4096),
    ],
)
def test_every_window_occurs_once(batches):
    assert sorted(np.concatenate(batches)) == list(range(len(LENGTHS)))


def test_shuffled_batches_have_the_requested_size():
    sizes = [len(batch) for batch in shuffled()]
    assert sum(size != 16 for size in sizes) <= 1
    assert len(sizes) == -(-5000 // 16)


def test_padding_stays_low():
    assert padding(LENGTHS, shuffled()) < 0.05
    shard = LENGTHS[:4096]
    for budget in (768, *BATCH_TOKENS.values()):
        assert padding(shard, token_budget_batches(shard, budget)) < 0.03
    assert padding(LENGTHS, list(ordered_batches(len(LENGTHS), 16))) > 0.3


def test_the_order_depends_only_on_seed_and_epoch():
    def order(seed, epoch):
        return np.concatenate(shuffled(seed=seed, epoch=epoch)).tolist()

    assert order(0, 0) == order(0, 0)
    assert len({tuple(order(*which)) for which in [(0, 0), (0, 1), (1, 0)]}) == 3


def test_batches_differ_between_epochs():
    def pairs(epoch):
        batches = shuffled(epoch=epoch)
        return {(a, b) for batch in batches for a in batch.tolist() for b in batch.tolist() if a < b}

    first, second = pairs(0), pairs(1)
    assert len(first & second) / len(first) < 0.15


def test_batch_length_has_no_trend_over_steps():
    means = [LENGTHS[batch].mean() for batch in shuffled()]
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.15


def test_a_token_budget_limits_padded_tokens_and_includes_every_window():
    batches = token_budget_batches(LENGTHS, 500)
    assert all(len(batch) * LENGTHS[batch].max() <= 500 for batch in batches)
    assert len(token_budget_batches(np.array([900, 10]), 500)) == 2


def test_a_padded_batch_contains_its_windows(features):
    indices = np.array([0, len(features) - 1, 2])
    batch = pad(features, indices, pad_token_id=9)
    logits = pad_flat(np.arange(len(features.input_ids), dtype=np.float16), features, indices)
    assert batch.input_ids.shape == (3, features.lengths[indices].max()) == tuple(logits.shape)
    for row, i in enumerate(indices):
        length = features.lengths[i]
        first, past = features.context[i]
        assert batch.input_ids[row, :length].tolist() == features.input_ids[features.tokens(i)].tolist()
        assert set(batch.input_ids[row, length:].tolist()) <= {9}
        assert batch.attention_mask[row].tolist() == [1] * length + [0] * (batch.input_ids.shape[1] - length)
        assert batch.answer_mask[row].nonzero().flatten().tolist() == [0, *range(first, past)]
        assert batch.labels[row].tolist() == features.labels[i].tolist()
        assert logits[row, :length].tolist() == list(range(features.starts[i], features.starts[i] + length))
        assert not logits[row, length:].any()


def test_up_to_a_million_windows_are_shuffled_as_one():
    """The order of all data sets so far: a permutation, buckets sorted by length, a permutation of their batches."""
    rng = np.random.default_rng([3, 2])
    order, expected = rng.permutation(len(LENGTHS)).tolist(), []
    for begin in range(0, len(order), 16 * 50):
        bucket = sorted(order[begin : begin + 16 * 50], key=LENGTHS.__getitem__)
        expected += [bucket[i : i + 16] for i in range(0, len(bucket), 16)]
    expected = [expected[i] for i in rng.permutation(len(expected))]
    assert [batch.tolist() for batch in shuffled(seed=3, epoch=2)] == expected and SHUFFLED_AS_ONE == 1_000_000


@pytest.fixture
def in_blocks(monkeypatch):
    """5,000 windows are shuffled in groups of 4 blocks of 128."""
    for name, value in (("SHUFFLED_AS_ONE", len(LENGTHS) - 1), ("BLOCK_WINDOWS", 128), ("GROUP_BLOCKS", 4)):
        monkeypatch.setattr(batching, name, value)


def test_blocks_hold_every_window_once_in_whole_batches(in_blocks):
    batches = shuffled()
    assert sorted(np.concatenate(batches)) == list(range(len(LENGTHS)))
    assert sorted(map(len, batches), reverse=True) == [16] * 312 + [8]


def test_the_order_of_blocks_depends_only_on_seed_and_epoch(in_blocks):
    def order(seed, epoch):
        return np.concatenate(shuffled(seed, epoch)).tolist()

    assert order(0, 0) == order(0, 0)
    assert len({tuple(order(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4


def test_a_few_blocks_are_read_at_a_time_and_each_is_shuffled(in_blocks):
    batches = shuffled()
    blocks = [set((batch // 128).tolist()) for batch in batches]
    for begin in range(len(batches) - 32):  # as many windows as a group has
        assert len(set().union(*blocks[begin : begin + 32])) <= 12  # of 40; a part of a batch stays for the next group
    assert np.mean([len(found) for found in blocks]) > 3
    assert padding(LENGTHS, batches) < 0.08

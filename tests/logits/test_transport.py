"""Mass keeps its characters and its sum on the way between WordPiece and byte-level BPE, over unlike windows."""

import numpy as np
import pytest

from pipeline.logits.transport import NO_MASS, transport
from pipeline.questions.features import Features
from pipeline.questions.windows import NO_OFFSET, pack, windows
from tests.conftest import MILL
from tests.tiny import byte_level

PEAK = 1000.0  # a logit beside which zeros have no mass in double precision


@pytest.fixture(scope="module", params=[True, False], ids=["trimmed", "untrimmed"])
def bpe(request):
    return byte_level([MILL], vocab_size=280, trim_offsets=request.param)


@pytest.fixture
def bpe_features(records, bpe):
    return pack(windows(records, bpe, max_length=58, stride=9))


def answer_positions(features, i):
    return np.concatenate([[0], np.arange(*features.context[i])])


def probabilities(features, logits, i):
    """(2, 1 + n) softmax over [CLS] and the context of window i."""
    scores = np.stack([one[features.tokens(i)][answer_positions(features, i)] for one in logits]).astype(np.float64)
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def one_hot(features):
    """Start and end logits that put all mass at the labels."""
    logits = np.zeros((2, len(features.input_ids)), dtype=np.float32)
    for row, labels in zip(logits, features.labels.T, strict=True):
        row[features.starts[:-1] + labels] = PEAK
    return logits[0], logits[1]


def noise(features, seed=0):
    logits = 2 * np.random.default_rng(seed).standard_normal((2, len(features.input_ids)))
    return logits[0].astype(np.float32), logits[1].astype(np.float32)


def argmax(features, logits):
    """(N, 2) positions of the largest start and end logits."""
    return np.array([[one[features.tokens(i)].argmax() for one in logits] for i in range(len(features))])


def held(features):
    """Windows that hold their answer."""
    return features.labels[:, 1] > 0


@pytest.fixture(params=["to_bpe", "to_wordpiece"])
def pair(request, features, bpe_features):
    return (features, bpe_features) if request.param == "to_bpe" else (bpe_features, features)


def test_fixtures_are_unlike(features, bpe_features):
    assert features.record.tolist() != bpe_features.record.tolist()
    assert np.bincount(features.record).min() > 1
    assert np.bincount(bpe_features.record).min() > 1
    # some characters are several byte-level tokens
    same = (np.diff(bpe_features.offset_mapping, axis=0) == 0).all(axis=1) & (bpe_features.offset_mapping[1:, 0] >= 0)
    assert same.any()


def test_peak_at_the_answer_arrives_at_the_label(pair):
    source, target = pair
    carried, unplaced = transport(source, one_hot(source), target)
    found = held(target)
    assert found.any()
    assert not found.all()
    assert argmax(target, carried)[found].tolist() == target.labels[found].tolist()
    assert unplaced == 0


@pytest.mark.parametrize("max_length", [40, 47, 54, 61, 90, 200])
def test_peak_arrives_whatever_the_windows(records, tokenizer, bpe, max_length):
    source = pack(windows(records, tokenizer, max_length=26, stride=8))
    target = pack(windows(records, bpe, max_length=max_length, stride=6))
    for one, other in ((source, target), (target, source)):
        carried, _ = transport(one, one_hot(one), other)
        assert argmax(other, carried)[held(other)].tolist() == other.labels[held(other)].tolist()


def test_mass_sums_to_one_over_answer_positions(pair):
    source, target = pair
    (start, end), unplaced = transport(source, noise(source), target)
    assert start.dtype == end.dtype == np.float32
    assert start.shape == end.shape == target.input_ids.shape
    assert np.isfinite(start).all()
    assert np.isfinite(end).all()
    assert unplaced == 0
    for i in range(len(target)):
        positions = answer_positions(target, i)
        for logits in (start[target.tokens(i)], end[target.tokens(i)]):
            assert np.exp(logits[positions].astype(np.float64)).sum() == pytest.approx(1, abs=1e-5)
            assert (np.delete(logits, positions) == NO_MASS).all()


def test_same_windows_keep_their_probabilities(features, bpe_features):
    for same in (features, bpe_features):
        logits = noise(same)
        carried, unplaced = transport(same, logits, same)
        assert unplaced == 0
        for i in range(len(same)):
            np.testing.assert_allclose(
                probabilities(same, carried, i), probabilities(same, logits, i), rtol=0, atol=1e-6
            )


def laid_out(*contexts):
    """Windows of record 0: [CLS], one question token, the context's tokens with these offsets, [SEP]."""
    around = [[NO_OFFSET, NO_OFFSET]]
    offsets = [np.array(2 * around + list(context) + around, dtype=np.int32) for context in contexts]
    lengths = [len(one) for one in offsets]
    n, tokens = len(contexts), sum(lengths)
    return Features(
        starts=np.cumsum([0] + lengths),
        input_ids=np.arange(tokens, dtype=np.int32),
        token_type_ids=np.zeros(tokens, dtype=np.uint8),
        offset_mapping=np.concatenate(offsets),
        context=np.array([(2, length - 1) for length in lengths], dtype=np.int32),
        labels=np.zeros((n, 2), dtype=np.int32),
        record=np.zeros(n, dtype=np.int32),
        keys=np.zeros((n, 16), dtype=np.uint8),
    )


def logarithms(*masses):
    """Flat logits of windows as `laid_out` makes them, from the masses of [CLS] and the context's tokens."""
    return np.concatenate([[np.log(none), 5.0, *np.log(tokens), 5.0] for none, *tokens in masses])


def carried_masses(source, start, end, target):
    """For each target window the start's and the end's masses at [CLS] and the context, and the unplaced share."""
    carried, unplaced = transport(source, (logarithms(*start), logarithms(*end)), target)
    return [probabilities(target, carried, i) for i in range(len(target))], unplaced


def test_same_windows_that_cut_a_character_keep_their_probabilities():
    # character 0 is two tokens; the second window begins between them
    same = laid_out([(0, 1), (0, 1), (1, 4)], [(0, 1), (1, 4)])
    masses = [[0.1, 0.2, 0.3, 0.4], [0.2, 0.3, 0.5]]
    carried, unplaced = carried_masses(same, masses, masses, same)
    for one, mass in zip(carried, masses, strict=True):
        np.testing.assert_allclose(one, [mass, mass], atol=1e-6)
    assert unplaced == 0


def test_first_and_last_characters_choose_the_token():
    # characters 4 and 9 are white space; the target cuts each word in two
    source = laid_out([(0, 4), (5, 9), (10, 14)])
    target = laid_out([(0, 2), (2, 4), (5, 7), (7, 9), (10, 12), (12, 14)])
    start, end = [0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1]
    [masses], unplaced = carried_masses(source, [start], [end], target)
    np.testing.assert_allclose(masses, [[0.1, 0.2, 0, 0.3, 0, 0.4, 0], [0.4, 0, 0.3, 0, 0.2, 0, 0.1]], atol=1e-6)
    assert unplaced == 0
    fine = [0.1, 0.1, 0.2, 0.1, 0.2, 0.1, 0.2]
    [masses], _ = carried_masses(target, [fine], [fine], source)
    np.testing.assert_allclose(masses, [[0.1, 0.3, 0.3, 0.3], [0.1, 0.3, 0.3, 0.3]], atol=1e-6)


def test_a_token_with_the_space_before_it_is_the_word():
    spaced, trimmed = laid_out([(0, 4), (4, 9), (9, 14)]), laid_out([(0, 4), (5, 9), (10, 14)])
    mass = [0.1, 0.2, 0.3, 0.4]
    for source, target in ((spaced, trimmed), (trimmed, spaced)):
        [masses], unplaced = carried_masses(source, [mass], [mass], target)
        np.testing.assert_allclose(masses, [mass, mass], atol=1e-6)
        assert unplaced == 0
    # also where a window begins with the word
    later = laid_out([(0, 4)], [(5, 9), (10, 14)])
    masses, _ = carried_masses(spaced, [mass], [mass], later)
    np.testing.assert_allclose(masses[1], [[0.3, 0.3, 0.4]] * 2, atol=1e-6)


def test_a_space_at_the_edge_needs_no_further_window():
    source = laid_out([(0, 4), (5, 9)], [(5, 9), (10, 14)])
    target = laid_out([(0, 4)], [(4, 9), (9, 14)])
    masses = [[0.2, 0.4, 0.4], [0.5, 0.3, 0.2]]
    carried, _ = carried_masses(source, masses, masses, target)
    np.testing.assert_allclose(carried[1], [[0.5, 0.3, 0.2]] * 2, atol=1e-6)


def test_mass_outside_the_window_goes_to_cls():
    source = laid_out([(0, 4), (5, 9), (10, 14)])
    target = laid_out([(0, 4), (5, 9)], [(5, 9), (10, 14)])
    mass = [0.1, 0.2, 0.3, 0.4]
    masses, unplaced = carried_masses(source, [mass], [mass], target)
    np.testing.assert_allclose(masses[0], [[0.5, 0.2, 0.3]] * 2, atol=1e-6)
    np.testing.assert_allclose(masses[1], [[0.3, 0.3, 0.4]] * 2, atol=1e-6)
    assert unplaced == 0


def test_what_the_first_window_leaves_is_asked_of_the_next():
    source = laid_out([(0, 4), (5, 9), (10, 14)], [(10, 14), (15, 19)])
    target = laid_out([(0, 4), (5, 9), (10, 14), (15, 19)])
    # the second window divides the 0.5 that the first one leaves
    first, second = [0.5, 0.1, 0.2, 0.2], [0.2, 0.2, 0.6]
    [masses], _ = carried_masses(source, [first, second], [first, second], target)
    np.testing.assert_allclose(masses, [[0.1, 0.1, 0.2, 0.3, 0.3]] * 2, atol=1e-6)
    # a target window that the first one holds whole is told by it alone
    target = laid_out([(5, 9), (10, 14)], [(0, 4)], [(15, 19)])
    [masses, *_], _ = carried_masses(source, [first, second], [first, second], target)
    np.testing.assert_allclose(masses, [[0.6, 0.2, 0.2]] * 2, atol=1e-6)


def test_a_window_between_two_is_read_for_what_it_alone_holds_whole():
    # the first two reach over all tokens, the third alone over the middle ones, the last over nothing new
    first, second = [(0, 4), (5, 9), (10, 14)], [(10, 14), (15, 19), (20, 24)]
    between, inside = [(5, 9), (10, 14), (15, 19)], [(5, 9), (10, 14)]
    target = laid_out([(0, 4), (5, 9), (10, 14), (15, 19), (20, 24)])
    none, peak = [1, 1e-12, 1e-12, 1e-12], [1e-12, 1e-12, 1, 1e-12]
    for order in ([first, between, second, inside], [inside, first, second, between]):
        masses = [peak if window is between else none[: len(window) + 1] for window in order]
        [carried], _ = carried_masses(laid_out(*order), masses, masses, target)
        np.testing.assert_allclose(carried, [[0, 0, 0, 1, 0, 0]] * 2, atol=1e-6)
        masses = [[0.5, 0.25, 0.25] if window is inside else none for window in order]
        [carried], _ = carried_masses(laid_out(*order), masses, masses, target)
        np.testing.assert_allclose(carried, [[1, 0, 0, 0, 0, 0]] * 2, atol=1e-6)


def test_dropped_characters_and_what_cannot_be_placed():
    # the target drops the source's first, third and last token
    source = laid_out([(0, 1), (1, 4), (4, 5), (5, 9), (9, 10)])
    target = laid_out([(1, 4), (5, 9)])
    mass = [0.3, 0.1, 0.1, 0.1, 0.2, 0.2]
    [masses], unplaced = carried_masses(source, [mass], [mass], target)
    # no token comes after the last start, and none before the first end
    np.testing.assert_allclose(masses[0], np.array([0.3, 0.2, 0.3]) / 0.8, atol=1e-6)
    np.testing.assert_allclose(masses[1], np.array([0.3, 0.2, 0.4]) / 0.9, atol=1e-6)
    assert unplaced == pytest.approx((0.2 + 0.1) / 2)


def test_nothing_placed_is_no_answer():
    source, target = laid_out([(0, 1)]), laid_out([])
    carried, unplaced = transport(source, (np.array([-PEAK, 0.0, 0.0, 0.0]),) * 2, target)
    assert unplaced == 1
    assert argmax(target, carried).tolist() == [[0, 0]]
    assert carried[0].max() == 0


def test_wrong_input_raises(features, bpe_features):
    start, end = noise(features)
    with pytest.raises(ValueError, match="logits of shape"):
        transport(features, (start[:-1], end), bpe_features)
    with pytest.raises(ValueError, match="record 1 has windows"):
        transport(laid_out([(0, 4)]), (np.zeros(4),) * 2, bpe_features)

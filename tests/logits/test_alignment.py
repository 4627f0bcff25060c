"""Aligning WordPiece with byte-level BPE, over different windows, preserves the characters and the sum of the mass."""

import numpy as np
import pytest

from pipeline.logits.alignment import NO_MASS, align
from pipeline.questions.features import Features
from pipeline.questions.windows import NO_OFFSET, pack, windows
from tests.conftest import MILL
from tests.logits.rows import PEAK, one_hot
from tests.tiny import byte_level
from tests.words import refused


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


def noise(features, seed=0):
    logits = 2 * np.random.default_rng(seed).standard_normal((2, len(features.input_ids)))
    return logits[0].astype(np.float32), logits[1].astype(np.float32)


def argmax(features, logits):
    """(N, 2) positions of the largest start and end logits."""
    return np.array([[one[features.tokens(i)].argmax() for one in logits] for i in range(len(features))])


def has_answer(features):
    """Windows that contain their answer."""
    return features.labels[:, 1] > 0


@pytest.fixture(params=["to_bpe", "to_wordpiece"])
def pair(request, features, bpe_features):
    return (features, bpe_features) if request.param == "to_bpe" else (bpe_features, features)


def test_the_fixtures_have_different_windows(features, bpe_features):
    assert features.record.tolist() != bpe_features.record.tolist()
    assert np.bincount(features.record).min() > 1
    assert np.bincount(bpe_features.record).min() > 1
    # some characters are split into several byte-level tokens
    same = (np.diff(bpe_features.offset_mapping, axis=0) == 0).all(axis=1) & (bpe_features.offset_mapping[1:, 0] >= 0)
    assert same.any()


def test_a_peak_at_the_answer_is_mapped_to_the_label(pair):
    source, target = pair
    aligned, unaligned = align(source, one_hot(source), target)
    answered = has_answer(target)
    assert answered.any()
    assert not answered.all()
    assert argmax(target, aligned)[answered].tolist() == target.labels[answered].tolist()
    assert unaligned == 0


@pytest.mark.parametrize("max_length", [40, 47, 54, 61, 90, 200])
def test_a_peak_is_mapped_to_the_label_for_all_window_sizes(records, tokenizer, bpe, max_length):
    source = pack(windows(records, tokenizer, max_length=26, stride=8))
    target = pack(windows(records, bpe, max_length=max_length, stride=6))
    for one, other in ((source, target), (target, source)):
        aligned, _ = align(one, one_hot(one), other)
        assert argmax(other, aligned)[has_answer(other)].tolist() == other.labels[has_answer(other)].tolist()


def test_mass_sums_to_one_over_answer_positions(pair):
    source, target = pair
    (start, end), unaligned = align(source, noise(source), target)
    assert start.dtype == end.dtype == np.float32
    assert start.shape == end.shape == target.input_ids.shape
    assert np.isfinite(start).all()
    assert np.isfinite(end).all()
    assert unaligned == 0
    for i in range(len(target)):
        positions = answer_positions(target, i)
        for logits in (start[target.tokens(i)], end[target.tokens(i)]):
            assert np.exp(logits[positions].astype(np.float64)).sum() == pytest.approx(1, abs=1e-5)
            assert (np.delete(logits, positions) == NO_MASS).all()


def test_equal_windows_keep_their_probabilities(features, bpe_features):
    for same in (features, bpe_features):
        logits = noise(same)
        aligned, unaligned = align(same, logits, same)
        assert unaligned == 0
        for i in range(len(same)):
            np.testing.assert_allclose(
                probabilities(same, aligned, i), probabilities(same, logits, i), rtol=0, atol=1e-6
            )


def make_windows(*contexts):
    """Windows of record 0: [CLS], one question token, context tokens with the given offsets, [SEP]."""
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


def flat_logits(*masses):
    """Concatenated logits for `make_windows`, from the masses of [CLS] and of the context tokens of each window."""
    return np.concatenate([[np.log(cls), 5.0, *np.log(tokens), 5.0] for cls, *tokens in masses])


def aligned_masses(source, start, end, target):
    """Start and end masses of [CLS] and the context for each target window, and the unaligned fraction."""
    aligned, unaligned = align(source, (flat_logits(*start), flat_logits(*end)), target)
    return [probabilities(target, aligned, i) for i in range(len(target))], unaligned


def test_equal_windows_that_split_a_character_keep_their_probabilities():
    # character 0 is split into two tokens; the second window begins between them
    same = make_windows([(0, 1), (0, 1), (1, 4)], [(0, 1), (1, 4)])
    masses = [[0.1, 0.2, 0.3, 0.4], [0.2, 0.3, 0.5]]
    aligned, unaligned = aligned_masses(same, masses, masses, same)
    for one, mass in zip(aligned, masses, strict=True):
        np.testing.assert_allclose(one, [mass, mass], atol=1e-6)
    assert unaligned == 0


def test_starts_follow_the_first_character_and_ends_the_last():
    # characters 4 and 9 are white space; the target splits each word in two
    source = make_windows([(0, 4), (5, 9), (10, 14)])
    target = make_windows([(0, 2), (2, 4), (5, 7), (7, 9), (10, 12), (12, 14)])
    start, end = [0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1]
    [masses], unaligned = aligned_masses(source, [start], [end], target)
    np.testing.assert_allclose(masses, [[0.1, 0.2, 0, 0.3, 0, 0.4, 0], [0.4, 0, 0.3, 0, 0.2, 0, 0.1]], atol=1e-6)
    assert unaligned == 0
    fine = [0.1, 0.1, 0.2, 0.1, 0.2, 0.1, 0.2]
    [masses], _ = aligned_masses(target, [fine], [fine], source)
    np.testing.assert_allclose(masses, [[0.1, 0.3, 0.3, 0.3], [0.1, 0.3, 0.3, 0.3]], atol=1e-6)


def test_a_token_with_a_leading_space_is_aligned_with_the_word():
    spaced, trimmed = make_windows([(0, 4), (4, 9), (9, 14)]), make_windows([(0, 4), (5, 9), (10, 14)])
    mass = [0.1, 0.2, 0.3, 0.4]
    for source, target in ((spaced, trimmed), (trimmed, spaced)):
        [masses], unaligned = aligned_masses(source, [mass], [mass], target)
        np.testing.assert_allclose(masses, [mass, mass], atol=1e-6)
        assert unaligned == 0
    # the same if a window begins with the word
    later = make_windows([(0, 4)], [(5, 9), (10, 14)])
    masses, _ = aligned_masses(spaced, [mass], [mass], later)
    np.testing.assert_allclose(masses[1], [[0.3, 0.3, 0.4]] * 2, atol=1e-6)


def test_a_token_of_white_space_gives_its_mass_to_the_words_around_it_and_gets_none():
    # the other tokenizer has a token for the line break, which begins after it and ends before it
    words, breaks = make_windows([(0, 4), (5, 9)]), make_windows([(0, 4), (5, 4), (5, 9)])
    [masses], unaligned = aligned_masses(words, [[0.1, 0.2, 0.7]], [[0.1, 0.6, 0.3]], breaks)
    np.testing.assert_allclose(masses, [[0.1, 0.2, 0, 0.7], [0.1, 0.6, 0, 0.3]], atol=1e-6)
    assert unaligned == 0
    [masses], unaligned = aligned_masses(breaks, [[0.1, 0.2, 0.3, 0.4]], [[0.1, 0.2, 0.3, 0.4]], words)
    np.testing.assert_allclose(masses, [[0.1, 0.2, 0.7], [0.1, 0.5, 0.4]], atol=1e-6)
    assert unaligned == 0


def test_a_space_at_the_edge_needs_no_second_source_window():
    source = make_windows([(0, 4), (5, 9)], [(5, 9), (10, 14)])
    target = make_windows([(0, 4)], [(4, 9), (9, 14)])
    masses = [[0.2, 0.4, 0.4], [0.5, 0.3, 0.2]]
    aligned, _ = aligned_masses(source, masses, masses, target)
    np.testing.assert_allclose(aligned[1], [[0.5, 0.3, 0.2]] * 2, atol=1e-6)


def test_mass_outside_the_window_goes_to_cls():
    source = make_windows([(0, 4), (5, 9), (10, 14)])
    target = make_windows([(0, 4), (5, 9)], [(5, 9), (10, 14)])
    mass = [0.1, 0.2, 0.3, 0.4]
    masses, unaligned = aligned_masses(source, [mass], [mass], target)
    np.testing.assert_allclose(masses[0], [[0.5, 0.2, 0.3]] * 2, atol=1e-6)
    np.testing.assert_allclose(masses[1], [[0.3, 0.3, 0.4]] * 2, atol=1e-6)
    assert unaligned == 0


def test_the_cls_mass_of_the_first_window_is_distributed_by_the_next():
    source = make_windows([(0, 4), (5, 9), (10, 14)], [(10, 14), (15, 19)])
    target = make_windows([(0, 4), (5, 9), (10, 14), (15, 19)])
    # the second window distributes the 0.5 at [CLS] of the first
    first, second = [0.5, 0.1, 0.2, 0.2], [0.2, 0.2, 0.6]
    [masses], _ = aligned_masses(source, [first, second], [first, second], target)
    np.testing.assert_allclose(masses, [[0.1, 0.1, 0.2, 0.3, 0.3]] * 2, atol=1e-6)
    # a target window that the first one covers whole is aligned with it alone
    target = make_windows([(5, 9), (10, 14)], [(0, 4)], [(15, 19)])
    [masses, *_], _ = aligned_masses(source, [first, second], [first, second], target)
    np.testing.assert_allclose(masses, [[0.6, 0.2, 0.2]] * 2, atol=1e-6)


def test_a_window_between_two_is_used_for_spans_that_only_it_contains():
    # `first` and `second` cover all tokens, only `between` has the middle ones in one window, `inside` adds nothing
    first, second = [(0, 4), (5, 9), (10, 14)], [(10, 14), (15, 19), (20, 24)]
    between, inside = [(5, 9), (10, 14), (15, 19)], [(5, 9), (10, 14)]
    target = make_windows([(0, 4), (5, 9), (10, 14), (15, 19), (20, 24)])
    no_answer, peak = [1, 1e-12, 1e-12, 1e-12], [1e-12, 1e-12, 1, 1e-12]
    for order in ([first, between, second, inside], [inside, first, second, between]):
        masses = [peak if window is between else no_answer[: len(window) + 1] for window in order]
        [aligned], _ = aligned_masses(make_windows(*order), masses, masses, target)
        np.testing.assert_allclose(aligned, [[0, 0, 0, 1, 0, 0]] * 2, atol=1e-6)
        masses = [[0.5, 0.25, 0.25] if window is inside else no_answer for window in order]
        [aligned], _ = aligned_masses(make_windows(*order), masses, masses, target)
        np.testing.assert_allclose(aligned, [[1, 0, 0, 0, 0, 0]] * 2, atol=1e-6)


def test_characters_without_a_token_go_to_a_neighbour_or_are_unaligned():
    # the target has no token for the source's first, third and last token
    source = make_windows([(0, 1), (1, 4), (4, 5), (5, 9), (9, 10)])
    target = make_windows([(1, 4), (5, 9)])
    mass = [0.3, 0.1, 0.1, 0.1, 0.2, 0.2]
    [masses], unaligned = aligned_masses(source, [mass], [mass], target)
    # no target token follows the last start, and none precedes the first end
    np.testing.assert_allclose(masses[0], np.array([0.3, 0.2, 0.3]) / 0.8, atol=1e-6)
    np.testing.assert_allclose(masses[1], np.array([0.3, 0.2, 0.4]) / 0.9, atol=1e-6)
    assert unaligned == pytest.approx((0.2 + 0.1) / 2)


def test_without_aligned_mass_cls_gets_all():
    source, target = make_windows([(0, 1)]), make_windows([])
    aligned, unaligned = align(source, (np.array([-PEAK, 0.0, 0.0, 0.0]),) * 2, target)
    assert unaligned == 1
    assert argmax(target, aligned).tolist() == [[0, 0]]
    assert aligned[0].max() == 0


def test_invalid_input_raises(features, bpe_features):
    start, end = noise(features)
    with refused("shape", len(features.input_ids), error=ValueError):
        align(features, (start[:-1], end), bpe_features)
    with refused("record 1", "source", error=ValueError):
        align(make_windows([(0, 4)]), (np.zeros(4),) * 2, bpe_features)

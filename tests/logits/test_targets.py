"""The targets from one teacher, and from the mean of several."""

import math

import numpy as np
import pytest

from pipeline.logits.alignment import NO_MASS
from pipeline.logits.targets import mean, student_targets
from pipeline.models.batching import pad, pad_flat
from pipeline.training.losses import span_divergence


def random_logits(features, seed):
    start, end = np.random.default_rng(seed).normal(size=(2, len(features.input_ids))).astype(np.float16) * 3
    return start, end


def probabilities(logits, features, i):
    """Softmax over the answer positions of window i, [CLS] first, written out as the formula."""
    first, end = features.context[i]
    values = logits[features.tokens(i)].astype(float)[[0, *range(first, end)]]
    return [math.exp(value) / sum(math.exp(other) for other in values) for value in values]


def test_the_mean_of_distributions_matches_the_formula(features):
    several = [random_logits(features, seed) for seed in range(3)]
    for end, found in enumerate(mean(several, features)):
        for i in range(len(features)):
            parts = [probabilities(logits[end], features, i) for logits in several]
            expected = [sum(position) / 3 for position in zip(*parts, strict=True)]
            assert probabilities(found, features, i) == pytest.approx(expected, rel=1e-4)
        assert set(found[~features.answer_mask]) == {np.float32(NO_MASS)}


def test_a_teacher_with_larger_logits_has_no_more_weight(features):
    """The mean of logits would follow the teacher with the larger scale; the mean of probabilities does not."""
    one = random_logits(features, 0)
    large, small = (tuple(end.astype(np.float32) * scale for end in one) for scale in (1, 1e-3))
    start, _ = mean([large, small], features)
    for i in range(len(features)):
        uniform = 1 / len(probabilities(start, features, i))
        expected = [(p + uniform) / 2 for p in probabilities(large[0], features, i)]
        assert probabilities(start, features, i) == pytest.approx(expected, abs=5e-3)


def test_two_equal_teachers_give_the_targets_of_one(features):
    one = random_logits(features, 0)
    both = mean([one, one], features)
    windows = np.arange(len(features))
    batch = pad(features, windows, pad_token_id=0)
    pairs = [tuple(pad_flat(end, features, windows) for end in logits) for logits in (one, both)]
    assert span_divergence(*pairs, batch.answer_mask, temperature=2.0).abs().max() < 1e-6


def test_the_logits_of_one_teacher_are_unchanged(features):
    one = random_logits(features, 0)
    assert student_targets([(features, one)], features) is one


def test_the_order_of_teachers_does_not_matter(features):
    several = [(features, random_logits(features, seed)) for seed in range(2)]
    forward, backward = student_targets(several, features), student_targets(several[::-1], features)
    for one, other in zip(forward, backward, strict=True):
        np.testing.assert_array_equal(one, other)

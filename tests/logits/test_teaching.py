"""What several teachers say together."""

import math

import numpy as np
import pytest

from pipeline.logits import teaching
from pipeline.logits.transport import NO_MASS
from pipeline.models.batching import pad, pad_flat
from pipeline.training.losses import span_divergence


def random_logits(features, seed):
    start, end = np.random.default_rng(seed).normal(size=(2, len(features.input_ids))).astype(np.float16) * 3
    return start, end


def probabilities(logits, features, i):
    """By the formula: of each answer position of window i, [CLS] first."""
    first, past = features.context[i]
    values = logits[features.tokens(i)].astype(float)[[0, *range(first, past)]]
    return [math.exp(value) / sum(math.exp(other) for other in values) for value in values]


def test_the_mean_of_distributions_against_the_formula(features):
    several = [random_logits(features, seed) for seed in range(3)]
    for end, found in enumerate(teaching.mean(several, features)):
        for i in range(len(features)):
            parts = [probabilities(logits[end], features, i) for logits in several]
            expected = [sum(position) / 3 for position in zip(*parts, strict=True)]
            assert probabilities(found, features, i) == pytest.approx(expected, rel=1e-4)
        assert set(found[~features.answer_mask]) == {np.float32(NO_MASS)}


def test_a_teacher_with_larger_logits_does_not_count_more(features):
    """A mean of logits would follow the one whose scale is larger."""
    one = random_logits(features, 0)
    loud, quiet = (tuple(end.astype(np.float32) * scale for end in one) for scale in (1, 1e-3))
    start, _ = teaching.mean([loud, quiet], features)
    for i in range(len(features)):
        flat = 1 / len(probabilities(start, features, i))
        expected = [(p + flat) / 2 for p in probabilities(loud[0], features, i)]
        assert probabilities(start, features, i) == pytest.approx(expected, abs=5e-3)


def test_equal_teachers_teach_what_one_does(features):
    one = random_logits(features, 0)
    both = teaching.mean([one, one], features)
    windows = np.arange(len(features))
    batch = pad(features, windows, pad_token_id=0)
    pairs = [tuple(pad_flat(end, features, windows) for end in logits) for logits in (one, both)]
    assert span_divergence(*pairs, batch.answer_mask, temperature=2.0).abs().max() < 1e-6


def test_one_teacher_is_taken_as_it_is(features):
    one = random_logits(features, 0)
    assert teaching.targets([(features, one)], features) is one


def test_the_order_of_teachers_does_not_matter(features):
    several = [(features, random_logits(features, seed)) for seed in range(2)]
    for there, back in zip(teaching.targets(several, features), teaching.targets(several[::-1], features), strict=True):
        np.testing.assert_array_equal(there, back)

"""The targets from one teacher, and from the mean of several."""

import math
import shutil
from contextlib import contextmanager

import numpy as np
import pytest

from pipeline.logits import targets
from pipeline.logits.alignment import NO_MASS
from pipeline.logits.shards import Identity, Rows
from pipeline.logits.store import LogitStore, write_store
from pipeline.logits.targets import Teacher, answered, has_target, mean, of_questions, student_targets
from pipeline.models.batching import pad, pad_flat
from pipeline.questions.features import SpanLogits, write_features
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


def test_the_mean_in_a_window_is_that_of_the_teachers_with_a_target(features):
    one, other = (tuple(end.astype(np.float32) for end in random_logits(features, seed)) for seed in (0, 1))
    for missing, windows in ((one, (1, 2)), (other, (2,))):
        for end in missing:
            for i in windows:
                end[features.tokens(i)] = -np.inf
    found = mean([one, other], features)
    assert has_target(features, found).tolist() == [i != 2 for i in range(len(features))]
    for end in range(2):
        assert (found[end][features.tokens(2)] == -np.inf).all()
        assert probabilities(found[end], features, 1) == pytest.approx(probabilities(other[end], features, 1), rel=1e-4)
        pairs = zip(probabilities(one[end], features, 0), probabilities(other[end], features, 0), strict=True)
        assert probabilities(found[end], features, 0) == pytest.approx([(a + b) / 2 for a, b in pairs], rel=1e-4)


def test_a_question_is_answered_if_all_of_its_windows_have_a_target(features):
    logits = SpanLogits(*random_logits(features, 0))
    assert answered(features, logits, 5).tolist() == [0, 1, 2, 3, 4]  # the last has no window
    first_of_1 = int(np.flatnonzero(features.record == 1)[0])
    for end in logits:
        end[features.tokens(first_of_1)] = -np.inf
    kept = answered(features, logits, 4)
    assert kept.tolist() == [0, 2, 3]
    selected, of_selected = of_questions(features, logits, kept)
    assert selected.record.tolist() == [{0: 0, 2: 1, 3: 2}[i] for i in features.record.tolist() if i != 1]
    assert np.isfinite(of_selected.start).all() and len(of_selected.end) == len(selected.input_ids)
    for end in logits:
        end[:] = -np.inf
    assert len(answered(features, logits, 5)) == 0


@pytest.fixture
def opened(features, tmp_path):
    """Returns a function that gives the targets of the features from teachers, each with random logits of a seed."""
    write_features(features, tmp_path / "windows")

    def targets(*seeds, student=tmp_path / "windows"):
        teachers = []
        for seed in seeds:
            folder = tmp_path / f"teacher{seed}"
            folder.mkdir(exist_ok=True)
            identity = Identity(teacher=str(seed), tokenizer="k", dtype="float16")
            rows = Rows(features.keys, features.starts, *random_logits(features, seed), ("float32",))
            write_store(folder, identity, lambda keys, rows=rows: rows, {"train": [features.keys]})
            store = LogitStore(folder, "k")
            teachers.append(Teacher(features, store, " ".join(store.checksums())))
        return student_targets(teachers, student, str, tmp_path / "cache")

    return targets


def test_the_logits_of_one_teacher_are_unchanged(features, opened):
    for one, expected in zip(opened(0).logits, random_logits(features, 0), strict=True):
        assert one.dtype == np.float16
        np.testing.assert_array_equal(one, expected)


def test_the_order_of_teachers_does_not_matter(opened):
    forward, backward = opened(0, 1), opened(1, 0)
    for one, other in zip(forward.logits, backward.logits, strict=True):
        np.testing.assert_array_equal(one, other)


def test_chunks_give_the_same_targets(features, opened, monkeypatch, tmp_path):
    """Of the mean of two teachers, and of one teacher whose tokens are others than the student's."""
    student = features.select(np.arange(len(features)))
    student.offset_mapping[student.offset_mapping[:, 1] > 0, 1] -= 1
    write_features(student, tmp_path / "student")
    whole = [opened(0, 1), opened(0, student=tmp_path / "student")]
    shutil.rmtree(tmp_path / "cache")
    monkeypatch.setattr(targets, "CHUNK", 1)
    parts = [opened(0, 1), opened(0, student=tmp_path / "student")]
    for one, other in zip(whole, parts, strict=True):
        assert one.digest == other.digest
        for expected, found in zip(one.logits, other.logits, strict=True):
            np.testing.assert_array_equal(expected, found)


def test_targets_are_computed_once_and_again_if_they_are_damaged(opened, monkeypatch, tmp_path):
    digest = opened(0, 1).digest
    path = tmp_path / "cache" / digest / targets.FILE
    expected = path.read_bytes()
    with monkeypatch.context() as context:
        context.setattr(targets, "_write", None)
        assert opened(0, 1).digest == digest
    path.write_bytes(expected[:-1] + bytes([expected[-1] ^ 1]))
    opened(0, 1)
    assert path.read_bytes() == expected
    assert opened(0, 2).digest != digest


def test_a_process_that_waited_for_another_reads_what_it_wrote(opened, monkeypatch):
    hold = targets.hold

    @contextmanager
    def hold_after_another_process(folder, reason):
        with monkeypatch.context() as context:
            context.setattr(targets, "hold", hold)
            opened(0)
        monkeypatch.setattr(targets, "_write", None)
        with hold(folder, reason):
            yield

    monkeypatch.setattr(targets, "hold", hold_after_another_process)
    assert np.isfinite(opened(0).logits.start).all()


def test_other_rules_and_other_logits_of_the_same_windows_give_other_targets(opened, features, monkeypatch, tmp_path):
    first = opened(0)
    with monkeypatch.context() as context:
        context.setattr(targets, "code_digest", lambda module: b"changed")
        assert opened(0).digest != first.digest
    others = random_logits(features, 1)
    monkeypatch.setitem(globals(), "random_logits", lambda *_: others)
    assert opened(0).digest != first.digest

import math

import pytest
import torch

from pipeline.training.losses import distillation, span_cross_entropy, span_divergence

MASK = torch.tensor([[1, 0, 0, 1, 1, 1, 0], [1, 0, 1, 1, 0, 0, 0]]).bool()
LABELS = torch.tensor([[3, 5], [0, 0]])


def pair(seed):
    return tuple(torch.randn(2, 7, generator=torch.Generator().manual_seed(seed + i)) for i in range(2))


def softmax(values):
    exponentials = [math.exp(value) for value in values]
    return [value / sum(exponentials) for value in exponentials]


def test_cross_entropy_covers_only_the_masked_positions():
    logits = pair(0)
    expected = 0.0
    for end, column in zip(logits, (0, 1), strict=True):
        for row in range(2):
            places = MASK[row].nonzero().flatten().tolist()
            p = softmax([end[row, i].item() for i in places])
            expected -= math.log(p[places.index(LABELS[row, column].item())]) / 4
    assert span_cross_entropy(logits, LABELS, MASK).mean().item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_divergence_matches_the_formula(temperature):
    ours, theirs = pair(0), pair(10)
    for row, found in enumerate(span_divergence(ours, theirs, MASK, temperature).tolist()):
        expected = 0.0
        for a, b in zip(ours, theirs, strict=True):
            q = softmax((a[row][MASK[row]] / temperature).tolist())
            p = softmax((b[row][MASK[row]] / temperature).tolist())
            expected += sum(x * math.log(x / y) for x, y in zip(p, q, strict=True)) / 2
        assert found == pytest.approx(expected, rel=1e-4)


def test_logits_outside_the_mask_do_not_matter():
    ours, theirs = pair(0), pair(10)
    before = distillation(ours, theirs, LABELS, MASK, alpha=0.5, temperature=2.0)["loss"]
    noisy = [tuple(end.masked_fill(~MASK, value) for end in side) for side, value in ((ours, 50.0), (theirs, -90.0))]
    assert torch.equal(before, distillation(*noisy, LABELS, MASK, alpha=0.5, temperature=2.0)["loss"])


@pytest.mark.parametrize("temperature", [0.01, 1.0, 1000.0])
def test_padding_does_not_change_the_loss_at_any_temperature_or_scale(temperature):
    ours, theirs = ([20000 * end for end in pair(seed)] for seed in (0, 10))
    wide = torch.nn.functional.pad(MASK, (0, 300))
    wider = ([torch.nn.functional.pad(end, (0, 300)) for end in side] for side in (ours, theirs))
    alone, padded = (
        distillation(*sides, LABELS, mask, alpha=1.0, temperature=temperature)["loss"]
        for sides, mask in (((ours, theirs), MASK), (wider, wide))
    )
    assert torch.isfinite(alone)
    torch.testing.assert_close(alone, padded)


def test_gradients_are_finite_and_zero_outside_the_mask():
    ours = tuple(end.requires_grad_() for end in pair(0))
    distillation(ours, pair(10), LABELS, MASK, alpha=0.5, temperature=2.0)["loss"].backward()
    for end in ours:
        assert torch.isfinite(end.grad).all()
        assert not end.grad[~MASK].any()
        assert end.grad[MASK].all()


def test_alpha_weights_the_hard_and_soft_losses():
    ours, theirs = pair(0), pair(10)
    for alpha in (0.0, 0.3, 1.0):
        parts = distillation(ours, theirs, LABELS, MASK, alpha, temperature=2.0)
        torch.testing.assert_close(parts["loss"], alpha * parts["soft"] + (1 - alpha) * parts["hard"])
    assert distillation(ours, None, LABELS, MASK, alpha=0.0, temperature=1.0).keys() == {"loss", "hard"}


def test_a_window_without_a_label_has_only_the_soft_loss():
    ours, theirs = pair(0), pair(10)
    unlabelled = torch.tensor([[3, 5], [-1, -1]])
    first, second = (slice(0, 1), slice(1, 2))
    alone = [
        distillation(*(tuple(end[row] for end in side) for side in (ours, theirs)), LABELS[row], MASK[row], alpha, 2.0)
        for row, alpha in ((first, 0.3), (second, 1.0))
    ]
    both = distillation(ours, theirs, unlabelled, MASK, alpha=0.3, temperature=2.0)
    torch.testing.assert_close(both["loss"], (alone[0]["loss"] + alone[1]["loss"]) / 2)
    torch.testing.assert_close(both["hard"], alone[0]["hard"] / 2)
    none = distillation(ours, theirs, torch.full((2, 2), -1), MASK, alpha=0.3, temperature=2.0)
    assert none["hard"] == 0 and torch.equal(none["loss"], none["soft"])


def test_a_window_without_a_target_has_only_the_hard_loss_and_finite_gradients():
    def alone(student, teacher, row, alpha):
        sides = (side and tuple(end[row] for end in side) for side in (student, teacher))
        return distillation(*sides, labels[row], MASK[row], alpha, temperature=2.0)

    theirs = pair(10)
    for end in theirs:
        end[1] = -math.inf
    labels = torch.tensor([[3, 5], [0, 2]])
    first, second = (slice(0, 1), slice(1, 2))
    ours, same = (tuple(end.requires_grad_() for end in pair(0)) for _ in range(2))
    both = distillation(ours, theirs, labels, MASK, alpha=0.3, temperature=2.0)
    with_target, without = alone(same, theirs, first, 0.3), alone(same, None, second, 0.0)
    torch.testing.assert_close(both["loss"], (with_target["loss"] + without["loss"]) / 2)
    torch.testing.assert_close(both["soft"], with_target["soft"] / 2)
    both["loss"].backward()
    ((with_target["loss"] + without["loss"]) / 2).backward()
    for end, expected in zip(ours, same, strict=True):
        assert end.grad.isfinite().all() and end.grad[0].any() and end.grad[1].any()
        torch.testing.assert_close(end.grad, expected.grad)


@pytest.mark.parametrize("with_teacher", [True, False])
def test_windows_labelled_cls_have_a_weight_and_the_parts_have_none(with_teacher):
    ours, theirs = pair(0), pair(10) if with_teacher else None
    alpha = 0.3 if with_teacher else 0.0
    for labels, weighted in (([[0, 0], [3, 5]], (0.25, 1)), ([[3, 5], [-1, -1]], (1, 1)), ([[0, 0], [0, 0]], (0, 0))):
        labels = torch.tensor(labels)
        weight = min(weighted)
        plain = distillation(ours, theirs, labels, MASK, alpha, temperature=2.0)
        found = distillation(ours, theirs, labels, MASK, alpha, temperature=2.0, no_answer_weight=weight)
        rows = [
            distillation(*(side and tuple(end[i : i + 1] for end in side) for side in (ours, theirs)),
                         labels[i : i + 1], MASK[i : i + 1], alpha, temperature=2.0)["loss"]
            for i in (0, 1)
        ]  # fmt: skip
        torch.testing.assert_close(found["loss"], (weighted[0] * rows[0] + weighted[1] * rows[1]) / 2)
        assert {name: plain[name] for name in plain if name != "loss"} == {n: found[n] for n in found if n != "loss"}


def test_the_loss_keeps_its_scale_at_high_temperature():
    # as T grows, T^2 KL tends to half the mean squared difference of the centred logits
    ours, theirs = pair(0), pair(10)
    one, two = (distillation(ours, theirs, LABELS, MASK, 1.0, t)["loss"].item() for t in (50.0, 100.0))
    assert one == pytest.approx(two, rel=0.05)
    assert one > 0.01


def test_half_precision_logits_give_a_float32_loss():
    logits = tuple(end.to(torch.bfloat16) for end in pair(0))
    assert span_cross_entropy(logits, LABELS, MASK).dtype == torch.float32

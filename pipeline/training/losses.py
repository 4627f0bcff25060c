"""Span losses over the positions where an answer may start or end: the context and [CLS].

Start and end logits are (B, L) each; `mask` is (B, L) bool. Everything is computed in float32. Positions outside the
mask are filled with a large negative finite number after the division by the temperature. Minus infinity would make
gradients NaN, because 0 * -inf is NaN.
"""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax

from pipeline.questions.features import SpanLogits

FILL = -1e30


def masked_logits(logits: Tensor, mask: Tensor, temperature: float = 1.0) -> Tensor:
    """Logits as float32, divided by the temperature, with `FILL` outside the mask."""
    return (logits.float() / temperature).masked_fill(~mask, FILL)


def span_cross_entropy(logits: SpanLogits[Tensor], labels: Tensor, mask: Tensor) -> Tensor:
    """(B,) cross-entropy with the labels in nats, averaged over start and end; 0 for a window without a label.

    Args:
        labels: (B, 2) int64, first and last answer position, both inside the mask; -1, -1 if there is no label.
    """
    losses = [
        cross_entropy(masked_logits(side, mask), labels[:, i], ignore_index=-1, reduction="none")
        for i, side in enumerate(logits)
    ]
    return torch.stack(losses).mean(0)


def span_divergence(
    student: SpanLogits[Tensor], teacher: SpanLogits[Tensor], mask: Tensor, temperature: float
) -> Tensor:
    """(B,) KL(teacher || student) in nats, averaged over start and end.

    The logits of both models are divided by the temperature; the result is not scaled.
    """
    divergences = []
    for student_side, teacher_side in zip(student, teacher, strict=True):
        log_p = log_softmax(masked_logits(teacher_side, mask, temperature), dim=-1)
        log_q = log_softmax(masked_logits(student_side, mask, temperature), dim=-1)
        divergences.append((log_p.exp() * (log_p - log_q)).sum(-1))
    return torch.stack(divergences).mean(0)


def distillation(
    student: SpanLogits[Tensor],
    teacher: SpanLogits[Tensor] | None,
    labels: Tensor,
    mask: Tensor,
    alpha: float,
    temperature: float,
    no_answer_weight: float = 1.0,
) -> dict[str, Tensor]:
    """alpha * T^2 * KL(teacher || student) at temperature T + (1 - alpha) * cross-entropy with the labels.

    Hinton et al. 2015 (Distilling the Knowledge in a Neural Network); T^2 keeps the scale of the gradients independent
    of T. A window without a label has alpha 1, one without a target, in which the teacher's logits are minus infinity,
    alpha 0. The loss of a window whose label is [CLS] is multiplied by `no_answer_weight`.

    Returns means over all windows: `loss` and its unweighted parts `hard` and `soft`. `hard` is 0 for a window without
    a label, `soft` for one without a target. Without a teacher, `loss` is the weighted `hard`, and every window must
    have a label.
    """
    hard = span_cross_entropy(student, labels, mask)
    weight = torch.where((labels == 0).all(-1), no_answer_weight, 1.0)
    if teacher is None:
        return {"loss": (weight * hard).mean(), "hard": hard.mean()}
    labelled, known = labels[:, 0] >= 0, teacher[0][:, 0].isfinite()
    start, end = (side.masked_fill(~known[:, None], 0.0) for side in teacher)  # 0 * nan would be nan
    divergence = span_divergence(student, SpanLogits(start, end), mask, temperature)
    soft = (temperature**2 * divergence).masked_fill(~known, 0.0)
    loss = torch.where(labelled, alpha * soft + (1 - alpha) * hard, soft)
    loss = torch.where(known, loss, hard)
    return {"loss": (weight * loss).mean(), "hard": hard.mean(), "soft": soft.mean()}

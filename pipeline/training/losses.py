"""Span losses over the positions where an answer may stand: context and [CLS].

Logits are (B, L), start and end alike; `mask` is (B, L) bool. Everything is computed in float32. Positions outside
the mask are filled with a large finite number, after a temperature has acted: with minus infinity, 0 * -inf would make
gradients NaN.
"""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax

FILL = -1e30
Pair = tuple[Tensor, Tensor]


def masked(logits: Tensor, mask: Tensor, temperature: float = 1.0) -> Tensor:
    """Logits as float32, divided by the temperature, with `FILL` outside the mask."""
    return (logits.float() / temperature).masked_fill(~mask, FILL)


def span_cross_entropy(logits: Pair, labels: Tensor, mask: Tensor) -> Tensor:
    """(B,) cross-entropy with the labels, in nats, mean of start and end; 0 for a window without a label.

    Args:
        labels: (B, 2) int64, first and last answer position, each inside the mask; -1, -1 for no label.
    """
    each = [
        cross_entropy(masked(end, mask), labels[:, i], ignore_index=-1, reduction="none")
        for i, end in enumerate(logits)
    ]
    return torch.stack(each).mean(0)


def span_divergence(student: Pair, teacher: Pair, mask: Tensor, temperature: float) -> Tensor:
    """(B,) KL divergence of the student's distribution from the teacher's, in nats, mean of start and end.

    Both sides' logits are divided by the temperature; there is no further scaling.
    """
    divergences = []
    for ours, theirs in zip(student, teacher, strict=True):
        log_p = log_softmax(masked(theirs, mask, temperature), dim=-1)
        log_q = log_softmax(masked(ours, mask, temperature), dim=-1)
        divergences.append((log_p.exp() * (log_p - log_q)).sum(-1))
    return torch.stack(divergences).mean(0)


def distillation(
    student: Pair, teacher: Pair | None, labels: Tensor, mask: Tensor, alpha: float, temperature: float
) -> dict[str, Tensor]:
    """alpha * T^2 * KL(teacher || student) at temperature T + (1 - alpha) * cross-entropy with the labels.

    Hinton et al. 2015 (Distilling the Knowledge in a Neural Network); T^2 keeps the gradient's size when T changes. For
    a window without a label alpha is 1.

    Returns means over all windows: `loss` and its parts `hard`, 0 for a window without a label, and `soft`, without
    their weights; without a teacher, whose windows must all have a label, `loss` is `hard`.
    """
    hard = span_cross_entropy(student, labels, mask)
    if teacher is None:
        return {"loss": hard.mean(), "hard": hard.mean()}
    labelled = labels[:, 0] >= 0
    soft = temperature**2 * span_divergence(student, teacher, mask, temperature)
    loss = torch.where(labelled, alpha * soft + (1 - alpha) * hard, soft)
    return {"loss": loss.mean(), "hard": hard.mean(), "soft": soft.mean()}

"""The training loop, for teachers and students alike."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from tqdm import tqdm

from pipeline.batching import Batch, ordered_batches, pad, shuffled_batches
from pipeline.errors import InputError
from pipeline.feature_store import Features
from pipeline.inference import model_inputs
from pipeline.params import Train

LOG_STEPS = 10
Losses = dict[str, Tensor]


@dataclass
class Run:
    """What happened in a training run.

    Attributes:
        steps, windows: optimiser steps taken and windows seen.
        seconds: spent on steps; evaluation is not counted.
        stopped_by: `epochs`, `max_steps` or `time_limit`.
        saved_step: the step after which the model that is kept stood.
        curve: a row every `LOG_STEPS` steps, means over those steps.
        evaluations: a row an evaluation.
    """

    steps: int = 0
    windows: int = 0
    seconds: float = 0.0
    stopped_by: str = "epochs"
    saved_step: int = 0
    curve: list[dict[str, float]] = field(default_factory=list)
    evaluations: list[dict[str, float]] = field(default_factory=list)


def train(
    model: nn.Module,
    features: Features,
    pad_token_id: int,
    settings: Train,
    seed: int,
    loss: Callable[[tuple[Tensor, Tensor], Batch], Losses],
    evaluate: Callable[[nn.Module], dict[str, float]] | None = None,
    after_step: Callable[[], None] = lambda: None,
) -> Run:
    """Train `model` in place, until the first of epochs, max_steps and time_limit_minutes is reached.

    With `evaluate`, which returns scores with an `f1`, the model is scored each evaluate_minutes of training time, or
    after each epoch, and at the end; with settings.keep `best` it ends with the weights of the highest F1, the
    earliest of equals.

    Args:
        loss: start and end logits of a batch -> losses by name; `loss` is the one that is minimised.
        after_step: called after each optimiser step.

    Raises:
        InputError: the loss is not finite.
    """
    torch.manual_seed(seed)
    device = next(model.parameters()).device
    steps_per_epoch = -(-len(features) // settings.batch_size)
    total = min(settings.epochs * steps_per_epoch, settings.max_steps or np.inf)
    optimizer = new_optimizer(model, settings)
    schedule = LambdaLR(optimizer, lambda step: rate_factor(settings, step, steps_per_epoch, total))
    run, recent, best = Run(), [], None

    def score() -> None:
        nonlocal best
        row = {"step": run.steps, "minutes": run.seconds / 60, **evaluate(model)}
        run.evaluations.append(row)
        if settings.keep == "best" and (best is None or row["f1"] > best[0]):
            best = row["f1"], {name: value.detach().clone() for name, value in model.state_dict().items()}
            run.saved_step = run.steps

    progress = tqdm(total=total, unit="step", desc="train", smoothing=0.05)
    for batch_indices in batches(features, settings, seed):
        began = time.perf_counter()
        model.train()
        batch = pad(features, batch_indices, pad_token_id).to(device)
        output = model(**model_inputs(model, batch))
        losses = loss((output.start_logits, output.end_logits), batch)
        losses["loss"].backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), settings.max_grad_norm or torch.inf)
        recent.append({**{name: value.item() for name, value in losses.items()}, "gradient_norm": norm.item()})
        if not np.isfinite(recent[-1]["loss"]):
            raise InputError(
                f"the loss is not finite at step {run.steps + 1}, learning rate {schedule.get_last_lr()[0]:.2e}; "
                "lower learning_rate, or set max_grad_norm"
            )
        learning_rate = schedule.get_last_lr()[0]
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        after_step()
        run.steps += 1
        run.windows += len(batch_indices)
        run.seconds += time.perf_counter() - began
        progress.update()

        stopped_by = reason_to_stop(run, settings, total)
        if len(recent) == LOG_STEPS or (stopped_by and recent):
            means = {name: float(np.mean([row[name] for row in recent])) for name in recent[0]}
            row = {"step": run.steps, "minutes": run.seconds / 60, "learning_rate": learning_rate, **means}
            run.curve.append(row)
            recent.clear()
            progress.set_postfix(loss=f"{means['loss']:.3f}", windows_s=f"{run.windows / run.seconds:.1f}")
        if evaluate and (stopped_by or is_evaluation_due(run, settings, steps_per_epoch)):
            score()
        if stopped_by:
            run.stopped_by = stopped_by
            break
    progress.close()
    if best is None:
        run.saved_step = run.steps
    else:
        model.load_state_dict(best[1])
    return run


def batches(features: Features, settings: Train, seed: int):
    """The windows of each batch, epoch after epoch."""
    for epoch in range(settings.epochs):
        if settings.shuffle:
            yield from shuffled_batches(features.lengths, settings.batch_size, seed, epoch)
        else:
            yield from ordered_batches(len(features), settings.batch_size)


def new_optimizer(model: nn.Module, settings: Train) -> torch.optim.Optimizer:
    """Adam, or AdamW (Loshchilov and Hutter 2019) that decays matrices only, not biases and norms."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if settings.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=settings.learning_rate, fused=True)
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)


def rate_factor(settings: Train, step: int, steps_per_epoch: int, total: int) -> float:
    """What the learning rate is multiplied with at a step, counted from 0, of `total`."""
    if settings.schedule == "constant":
        return 1.0
    if settings.schedule == "exponential":
        return settings.gamma ** (step // steps_per_epoch)
    warmup = round(settings.warmup_ratio * total)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return (total - step) / max(1, total - warmup)


def reason_to_stop(run: Run, settings: Train, total: int) -> str | None:
    """Which limit the run has reached, if any."""
    if settings.time_limit_minutes and run.seconds >= 60 * settings.time_limit_minutes:
        return "time_limit"
    if run.steps >= total:
        return "max_steps" if run.steps == settings.max_steps else "epochs"
    return None


def is_evaluation_due(run: Run, settings: Train, steps_per_epoch: int) -> bool:
    """Whether the interval since the last evaluation, in minutes or else an epoch, has passed."""
    if settings.evaluate_minutes:
        last = run.evaluations[-1]["minutes"] if run.evaluations else 0.0
        return run.seconds / 60 - last >= settings.evaluate_minutes
    return run.steps % steps_per_epoch == 0

"""What happened in a training run so far, and when it stops and is scored."""

from dataclasses import dataclass, field

import numpy as np

from pipeline.params import Train

Row = dict[str, float]


@dataclass
class Run:
    """What happened in a training run so far.

    Attributes:
        steps, windows: optimiser steps taken and windows seen.
        seconds: spent on steps; evaluation, checkpoints and start-up are not counted.
        stopped_by: `epochs`, `max_steps` or `time_limit`; empty while it runs.
        saved_step: the step after which the model that is kept stood.
        best_f1: the highest so far.
        recent: rows of the steps since the last row of the curve.
        curve: a row every `LOG_STEPS` steps, means over those steps.
        evaluations: a row an evaluation.
    """

    steps: int = 0
    windows: int = 0
    seconds: float = 0.0
    stopped_by: str = ""
    saved_step: int = 0
    best_f1: float | None = None
    recent: list[Row] = field(default_factory=list)
    curve: list[Row] = field(default_factory=list)
    evaluations: list[Row] = field(default_factory=list)


def reason_to_stop(run: Run, settings: Train, total: int) -> str | None:
    """Which limit the run has reached, if any."""
    if settings.time_limit_minutes and run.seconds >= 60 * settings.time_limit_minutes:
        return "time_limit"
    if run.steps >= total:
        return "max_steps" if run.steps == settings.max_steps else "epochs"
    return None


def is_evaluation_due(run: Run, settings: Train, epoch_ends: np.ndarray) -> bool:
    """Whether the interval since the last evaluation, in minutes or else an epoch, has passed."""
    if settings.evaluate_minutes:
        last = run.evaluations[-1]["minutes"] if run.evaluations else 0.0
        return run.seconds / 60 - last >= settings.evaluate_minutes
    return run.steps in epoch_ends

"""The progress of a training run, and the conditions to stop and to evaluate."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from pipeline.params import Train

Row = dict[str, float]
# a loss that falls by less than a tenth may as well be that of another batch
FALLEN = 0.9


@dataclass
class Run:
    """The progress of a training run.

    Attributes:
        steps, windows: optimizer steps taken and windows trained on.
        seconds: training time, without evaluation, checkpoints and start-up.
        first_loss: the loss of the first step, before any weight was changed.
        stopped_by: `epochs`, `max_steps` or `time_limit`; empty while the run is in progress.
        saved_step: the step of the weights that the run ends with.
        best_f1: the highest F1 so far.
        recent: one row for each step since the last row of the curve.
        curve: one row every `LOG_STEPS` steps, with means over those steps.
        evaluations: one row for each evaluation.
    """

    steps: int = 0
    windows: int = 0
    seconds: float = 0.0
    first_loss: float = 0.0
    stopped_by: str = ""
    saved_step: int = 0
    best_f1: float | None = None
    recent: list[Row] = field(default_factory=list)
    curve: list[Row] = field(default_factory=list)
    evaluations: list[Row] = field(default_factory=list)


def reason_to_stop(run: Run, settings: Train, total: int) -> str | None:
    """The limit that the run has reached: `time_limit`, `max_steps`, `epochs` or None."""
    if settings.time_limit_minutes and run.seconds >= 60 * settings.time_limit_minutes:
        return "time_limit"
    if run.steps >= total:
        return "max_steps" if run.steps == settings.max_steps else "epochs"
    return None


def has_learned(run: Run) -> bool:
    """Whether the loss of a new head fell from the first step to the last steps; true of a run too short to tell."""
    return len(run.curve) < 2 or run.curve[-1]["loss"] < FALLEN * run.first_loss


def is_evaluation_due(run: Run, settings: Train, epoch_ends: Sequence[int]) -> bool:
    """Whether evaluate_minutes have passed since the last evaluation or, if they are not set, an epoch has ended."""
    if settings.evaluate_minutes:
        last = run.evaluations[-1]["minutes"] if run.evaluations else 0.0
        return run.seconds / 60 - last >= settings.evaluate_minutes
    return run.steps in epoch_ends

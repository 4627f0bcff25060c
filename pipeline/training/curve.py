"""The training curve: losses of single steps, read from the device, checked, and averaged over several steps."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from pipeline.errors import InputError
from pipeline.training.run import Row, Run

LOG_STEPS = 10


class Curve:
    """Collects the losses of each step and appends their means to the run's curve.

    Args:
        run: its `recent` and `curve` are extended in place.
        names: of each window, for errors; None if they have none.
    """

    def __init__(self, run: Run, names: Sequence[str] | None):
        self.run, self.names = run, names
        # windows, learning rate and losses of the steps whose losses are still on the device
        self.pending: list[tuple[np.ndarray, float, dict[str, Tensor]]] = []

    def add(self, indices: np.ndarray, learning_rate: float, losses: dict[str, Tensor]) -> None:
        """Add the step that was just taken, without waiting for the device.

        Args:
            indices: of the step's windows.
            losses: scalars by name, among them `loss` and `gradient_norm`.
        """
        self.pending.append((indices, learning_rate, losses))

    def is_row_due(self) -> bool:
        """Whether `LOG_STEPS` steps were taken since the last row."""
        return len(self.run.recent) + len(self.pending) >= LOG_STEPS

    def synchronize(self) -> None:
        """Wait for the device and read the pending losses.

        Raises:
            InputError: a loss or a gradient norm is not finite.
        """
        rows = []
        first = self.run.steps - len(self.pending) + 1
        for step, (indices, learning_rate, losses) in enumerate(self.pending, first):
            row = {"learning_rate": learning_rate, **{name: value.item() for name, value in losses.items()}}
            for name, what in (("loss", "loss"), ("gradient_norm", "gradient")):
                if not np.isfinite(row[name]):
                    questions = ", ".join(self.names[i] for i in indices) if self.names else "not named"
                    raise InputError(
                        f"the {what} is not finite at step {step}, learning rate {learning_rate:.2e}; lower "
                        f"learning_rate, or set max_grad_norm; questions of the batch: {questions}"
                    )
            rows.append(row)
        if rows and first == 1:
            self.run.first_loss = rows[0]["loss"]
        self.run.recent += rows
        self.pending.clear()

    def append_row(self) -> Row | None:
        """Append the means over the steps since the last row, and return them; None if there were no steps."""
        run = self.run
        if not run.recent:
            return None
        means = {name: float(np.mean([row[name] for row in run.recent])) for name in run.recent[0]}
        run.curve.append({"step": run.steps, "minutes": run.seconds / 60, **means})
        run.recent.clear()
        return means

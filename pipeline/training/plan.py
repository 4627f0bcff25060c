"""The plan of a training run: the windows of each step, the ends of epochs, and the learning rate schedule."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence

import numpy as np

from pipeline.errors import InputError
from pipeline.models.batching import ordered_batches, shuffled_batches, token_budget_batches
from pipeline.params import Train
from pipeline.processes import processes
from pipeline.progress import Progress
from pipeline.questions.features import Features


class Plan:
    """The windows and the learning rate of each step; depends only on the arguments.

    Attributes:
        epoch_ends: the number of steps taken at the end of each epoch; ends with the epoch that max_steps stops.
        steps: in the whole run, without a time limit.
        warmup: steps of warm-up.

    Raises:
        InputError: the warm-up is not shorter than the run.
    """

    def __init__(self, features: Features, settings: Train, seed: int):
        self.features, self.settings, self.seed = features, settings, seed
        self.epoch_ends = self._epoch_ends()
        self.steps = min(self.epoch_ends[-1], settings.max_steps or self.epoch_ends[-1])
        self.warmup = round(settings.warmup_ratio * self.steps)
        if settings.schedule == "linear" and self.warmup >= self.steps:
            raise InputError(
                f"train.warmup_ratio {settings.warmup_ratio} makes {self.warmup} of {self.steps} steps warm-up, which "
                "leaves no step at the full learning rate; lower it, or train for more steps"
            )

    def _epoch_ends(self) -> Sequence[int]:
        epochs, first = self.settings.epochs, len(self.epoch(0))
        if self.settings.batch_tokens is None or not self.settings.shuffle:  # every epoch has the same number of steps
            return range(first, first * epochs + 1, first)
        ends, last = [first], self.settings.max_steps or np.inf
        with Progress("counting the steps", "epoch", epochs, done=1, shown=processes().is_main_process) as progress:
            while len(ends) < epochs and ends[-1] < last:
                ends.append(ends[-1] + len(self.epoch(len(ends))))
                progress.update()
        return ends

    def epoch(self, epoch: int) -> list[np.ndarray]:
        """The windows of each step of an epoch."""
        lengths, size, tokens = self.features.lengths, self.settings.batch_size, self.settings.batch_tokens
        if self.settings.shuffle:
            batches = shuffled_batches(lengths, size, self.seed, epoch)
        else:
            batches = ordered_batches(len(lengths), size)
        if tokens is None:
            return batches
        return [batch[part] for batch in batches for part in token_budget_batches(lengths[batch], tokens)]

    def batches(self, step: int) -> Iterator[np.ndarray]:
        """Yield the windows of each step, skipping the first `step` steps."""
        finished = bisect_right(self.epoch_ends, step)
        skipped = step - (self.epoch_ends[finished - 1] if finished else 0)
        for epoch in range(finished, self.settings.epochs):
            yield from self.epoch(epoch)[skipped:]
            skipped = 0

    def learning_rate_factor(self, step: int) -> float:
        """The multiplicative factor of the learning rate at a step, counted from 0."""
        if self.settings.schedule == "constant":
            return 1.0
        if self.settings.schedule == "exponential":
            return self.settings.gamma ** bisect_right(self.epoch_ends, step)
        if step < self.warmup:
            return (step + 1) / (self.warmup + 1)
        return (self.steps - step) / (self.steps - self.warmup)

"""The plan of a training run: the windows of each step, the ends of epochs, and the learning rate schedule."""

from bisect import bisect_right
from collections.abc import Iterator
from itertools import islice
from math import ceil

import numpy as np

from pipeline.errors import InputError
from pipeline.models.batching import SHUFFLED_AS_ONE, ordered_batches, shuffled_batches
from pipeline.params import Train
from pipeline.questions.features import Features


class Plan:
    """The windows and the learning rate of each step; depends only on the arguments.

    Args:
        windows: indices of the windows to train on; None for all.

    Attributes:
        size: the number of windows.
        in_blocks: whether the windows are too many to be shuffled as one.
        epoch_ends: the number of steps taken at the end of each epoch; ends with the epoch that max_steps stops.
        steps: in the whole run, without a time limit.
        warmup: steps of warm-up.

    Raises:
        InputError: the warm-up is not shorter than the run.
    """

    def __init__(self, features: Features, settings: Train, seed: int, windows: np.ndarray | None = None):
        self.features, self.settings, self.seed, self.windows = features, settings, seed, windows
        self.size = len(features) if windows is None else len(windows)
        steps_per_epoch = ceil(self.size / settings.batch_size)
        self.epoch_ends = range(steps_per_epoch, steps_per_epoch * settings.epochs + 1, steps_per_epoch)
        self.steps = min(self.epoch_ends[-1], settings.max_steps or self.epoch_ends[-1])
        self.warmup = round(settings.warmup_ratio * self.steps)
        if settings.schedule == "linear" and self.warmup >= self.steps:
            raise InputError(
                f"train.warmup_ratio {settings.warmup_ratio} makes {self.warmup} of {self.steps} steps warm-up, which "
                "leaves no step at the full learning rate; lower it, or train for more steps"
            )

        self.in_blocks = settings.shuffle and self.size > SHUFFLED_AS_ONE

    def epoch(self, epoch: int) -> Iterator[np.ndarray]:
        """Yield the windows of each step of an epoch."""
        batch_size = self.settings.batch_size
        if self.settings.shuffle:
            batches = shuffled_batches(self.size, self._lengths_of, batch_size, self.seed, epoch)
        else:
            batches = ordered_batches(self.size, batch_size)
        yield from map(self._windows, batches)

    def _windows(self, places: np.ndarray) -> np.ndarray:
        return places if self.windows is None else self.windows[places]

    def _lengths_of(self, places: np.ndarray) -> np.ndarray:
        return self.features.lengths_of(self._windows(places))

    def batches(self, step: int) -> Iterator[np.ndarray]:
        """Yield the windows of each step, skipping the first `step` steps."""
        finished = bisect_right(self.epoch_ends, step)
        skipped = step - (self.epoch_ends[finished - 1] if finished else 0)
        for epoch in range(finished, self.settings.epochs):
            yield from islice(self.epoch(epoch), skipped, None)
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

"""The plan of a training run: the windows of each step, the ends of epochs, and the learning rate schedule."""

from collections.abc import Iterator

import numpy as np

from pipeline.errors import InputError
from pipeline.models.batching import ordered_batches, shuffled_batches, token_budget_batches
from pipeline.params import Train
from pipeline.questions.features import Features


class Plan:
    """The windows and the learning rate of each step; depends only on the arguments.

    Attributes:
        epoch_ends: (epochs,) the number of steps taken at the end of each epoch.
        steps: in the whole run, without a time limit.
        warmup: steps of warm-up.

    Raises:
        InputError: the warm-up is not shorter than the run.
    """

    def __init__(self, features: Features, settings: Train, seed: int):
        self.features, self.settings, self.seed = features, settings, seed
        self.epoch_ends = np.cumsum([len(self.epoch(epoch)) for epoch in range(settings.epochs)])
        self.steps = int(min(self.epoch_ends[-1], settings.max_steps or np.inf))
        self.warmup = round(settings.warmup_ratio * self.steps)
        if settings.schedule == "linear" and self.warmup >= self.steps:
            raise InputError(
                f"train.warmup_ratio {settings.warmup_ratio} makes {self.warmup} of {self.steps} steps warm-up, which "
                "leaves no step at the full learning rate; lower it, or train for more steps"
            )

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
        for epoch in range(int(np.searchsorted(self.epoch_ends, step, side="right")), self.settings.epochs):
            batches = self.epoch(epoch)
            begin = int(self.epoch_ends[epoch]) - len(batches)
            yield from batches[max(0, step - begin) :]

    def learning_rate_factor(self, step: int) -> float:
        """The multiplicative factor of the learning rate at a step, counted from 0."""
        if self.settings.schedule == "constant":
            return 1.0
        if self.settings.schedule == "exponential":
            return self.settings.gamma ** int(np.searchsorted(self.epoch_ends, step, side="right"))
        if step < self.warmup:
            return (step + 1) / (self.warmup + 1)
        return (self.steps - step) / (self.steps - self.warmup)

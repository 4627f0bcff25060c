"""What is known before the first step: the windows of each step, where epochs end, and the learning rate."""

from collections.abc import Iterator

import numpy as np

from pipeline.errors import InputError
from pipeline.models.batching import ordered_batches, shuffled_batches, token_budget_batches
from pipeline.params import Train
from pipeline.questions.features import Features


class Plan:
    """Which windows each step takes, and where epochs end; everything that is known before the first step."""

    def __init__(self, features: Features, settings: Train, seed: int):
        self.features, self.settings, self.seed = features, settings, seed
        self.ends = np.cumsum([len(self.epoch(epoch)) for epoch in range(settings.epochs)])
        self.steps = int(min(self.ends[-1], settings.max_steps or np.inf))
        self.warmup = round(settings.warmup_ratio * self.steps)
        if settings.schedule == "linear" and self.warmup >= self.steps:
            raise InputError(
                f"train.warmup_ratio {settings.warmup_ratio} makes {self.warmup} of {self.steps} steps warm-up, which "
                "leaves none to train at the full rate; lower it, or train longer"
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
        """The windows of each step after the first `step` of them."""
        for epoch in range(int(np.searchsorted(self.ends, step, side="right")), self.settings.epochs):
            batches = self.epoch(epoch)
            begin = int(self.ends[epoch]) - len(batches)
            yield from batches[max(0, step - begin) :]

    def rate(self, step: int) -> float:
        """What the learning rate is multiplied with at a step, counted from 0."""
        if self.settings.schedule == "constant":
            return 1.0
        if self.settings.schedule == "exponential":
            return self.settings.gamma ** int(np.searchsorted(self.ends, step, side="right"))
        if step < self.warmup:
            return (step + 1) / (self.warmup + 1)
        return (self.steps - step) / (self.steps - self.warmup)

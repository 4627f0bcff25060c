"""The batches of each step, made while the device computes the step before."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import nn

from pipeline.models.batching import Batch, cut, pad, token_budget_batches
from pipeline.models.hardware import batch_tokens
from pipeline.processes import processes
from pipeline.questions.features import Features

# the windows of a step, and this process's micro-batches of them, each with its share of the step's weight
Step = tuple[np.ndarray, list[tuple[float, Batch]]]


class StepLoader:
    """Cuts each step's windows into the micro-batches that this process computes, and pads them.

    Args:
        features: of the windows that the steps' indices point at.
        micro_batch_size: windows at a time; None for all on a GPU, and on a CPU as many as suit its caches.
        model: decides how many that is.
    """

    def __init__(self, features: Features, pad_token_id: int, micro_batch_size: int | None, model: nn.Module):
        self.features, self.pad_token_id = features, pad_token_id
        self.micro_batch_size, self.model = micro_batch_size, model
        self.state = processes()

    def prefetched(self, steps: Iterator[np.ndarray]) -> Iterator[Step]:
        """Each step's windows and padded batches; those of the next step are made while the caller uses this one's."""
        with ThreadPoolExecutor(1) as thread:
            waiting = thread.submit(self.prepared, next(steps))
            for indices in steps:
                ready, waiting = waiting, thread.submit(self.prepared, indices)
                yield ready.result()
            yield waiting.result()

    def prepared(self, indices: np.ndarray) -> Step:
        """This process's share of a step's windows in micro-batches, each with its share of the step's weight."""
        mine = indices[self.state.process_index :: self.state.num_processes]
        if len(mine) == 0:  # all processes must take part
            parts = [(0.0, indices[:1])]
        else:
            parts = [(len(part) / len(indices), part) for part in self.micro_batches(mine)]
        batches = [(weight, pad(self.features, part, self.pad_token_id)) for weight, part in parts]
        if self.state.device.type == "cuda":
            batches = [(weight, batch.pinned()) for weight, batch in batches]
        return indices, batches

    def micro_batches(self, indices: np.ndarray) -> list[np.ndarray]:
        """What the device takes at a time."""
        if self.micro_batch_size is None and self.state.device.type == "cpu":
            tokens = torch.get_num_threads() * batch_tokens(self.model)
            budgeted = token_budget_batches(self.features.lengths[indices], tokens)
            return [indices[part] for part in budgeted]
        return cut(indices, self.micro_batch_size or len(indices))

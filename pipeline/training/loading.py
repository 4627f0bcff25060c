"""Loads the batches of each step in a background thread, while the device computes the previous step."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from transformers import PreTrainedModel

from pipeline.models.batching import Batch, cut, pad, parts_of_step
from pipeline.models.hardware import batch_tokens, device
from pipeline.processes import processes
from pipeline.questions.features import Features

# a process's micro-batches of a step, each with its share of the step's weight
Parts = list[tuple[float, Batch]]
# with the indices of all windows of the step
Step = tuple[np.ndarray, Parts]


class StepLoader:
    """Splits each step's windows into this process's micro-batches and pads them.

    Args:
        features: of the windows that the indices of the steps refer to.
        micro_batch_size: windows per micro-batch; None for all at once on a GPU and, on a CPU, for two or more parts of
            at most `batch_tokens` tokens, which threads compute at the same time.
        model, precision: determine `batch_tokens`.
    """

    def __init__(
        self,
        features: Features,
        pad_token_id: int,
        micro_batch_size: int | None,
        model: PreTrainedModel,
        precision: str,
    ):
        self.features, self.pad_token_id = features, pad_token_id
        self.micro_batch_size, self.model, self.precision = micro_batch_size, model, precision
        self.state, self.device = processes(), device()

    def prefetch(self, steps: Iterator[np.ndarray]) -> Iterator[Step]:
        """Yield the batches of each step; the next step is prepared while the caller uses the current one."""
        with ThreadPoolExecutor(1) as thread:
            waiting = thread.submit(self.prepare, next(steps))
            for indices in steps:
                ready, waiting = waiting, thread.submit(self.prepare, indices)
                yield ready.result()
            yield waiting.result()

    def prepare(self, indices: np.ndarray) -> Step:
        """Select, split and pad this process's share of a step's windows."""
        mine = indices[self.state.process_index :: self.state.num_processes]
        if len(mine) == 0:  # fewer windows than processes; every process must still run a backward pass
            parts = [(0.0, indices[:1])]
        else:
            parts = [(len(part) / len(indices), part) for part in self.micro_batches(mine)]
        batches = [(weight, pad(self.features, part, self.pad_token_id)) for weight, part in parts]
        if self.device.type == "cuda":
            batches = [(weight, batch.pinned()) for weight, batch in batches]
        return indices, batches

    def micro_batches(self, indices: np.ndarray) -> list[np.ndarray]:
        """Split indices into micro-batches."""
        if self.micro_batch_size is None and self.device.type == "cpu":
            parts = parts_of_step(self.features.lengths_of(indices), batch_tokens(self.model, self.precision))
            return [indices[part] for part in parts]
        return cut(indices, self.micro_batch_size or len(indices))

"""Running a question-answering model over windows: the teacher's logits, and a student's."""

import os
from collections.abc import Callable

import numpy as np
import torch
from accelerate.utils import reduce
from torch import nn

from pipeline.batching import pad, token_budget_batches
from pipeline.encoders import uses_segments
from pipeline.feature_store import Features
from pipeline.processes import processes

# padded tokens of a batch; the right number depends on the machine, not on the experiment
BATCH_TOKENS_VARIABLE = "SPAN_DISTILL_BATCH_TOKENS"
BATCH_TOKENS = {"cpu": 4096, "cuda": 65536}


def device() -> torch.device:
    """This process's accelerator if there is one, else the CPU."""
    return processes().device


def model_inputs(model: nn.Module, batch) -> dict[str, torch.Tensor]:
    """The batch's tensors that the model reads: segment ids only where it has embeddings for them."""
    inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
    if uses_segments(model):
        inputs["token_type_ids"] = batch.token_type_ids
    return inputs


@torch.inference_mode()
def predict(
    model: nn.Module,
    features: Features,
    pad_token_id: int,
    indices: np.ndarray | None = None,
    progress: Callable[[int], None] = lambda windows: None,
) -> tuple[np.ndarray, np.ndarray]:
    """Start and end logits, each (T,) float32, of the windows at `indices` (all for None), laid end to end.

    The model is left in evaluation mode.

    Args:
        progress: called after each batch with the number of its windows.
    """
    indices = np.arange(len(features)) if indices is None else indices
    lengths = features.lengths[indices]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    start_logits = np.empty(starts[-1], dtype=np.float32)
    end_logits = np.empty_like(start_logits)
    where = next(model.parameters()).device
    budget = int(os.environ.get(BATCH_TOKENS_VARIABLE) or BATCH_TOKENS.get(where.type, BATCH_TOKENS["cpu"]))
    model.eval()
    for places in token_budget_batches(lengths, budget):
        batch = pad(features, indices[places], pad_token_id).to(where)
        output = model(**model_inputs(model, batch))
        start, end = output.start_logits.float().cpu().numpy(), output.end_logits.float().cpu().numpy()
        for row, place in enumerate(places):
            start_logits[starts[place] : starts[place + 1]] = start[row, : lengths[place]]
            end_logits[starts[place] : starts[place + 1]] = end[row, : lengths[place]]
        progress(len(places))
    return start_logits, end_logits


def predict_together(model: nn.Module, features: Features, pad_token_id: int) -> tuple[np.ndarray, np.ndarray]:
    """As `predict` over all windows, shared out to the processes of the run; each gets the whole."""
    state = processes()
    if state.num_processes == 1:
        return predict(model, features, pad_token_id)
    mine = np.arange(state.process_index, len(features), state.num_processes)
    tokens = np.concatenate([np.arange(features.starts[i], features.starts[i + 1]) for i in mine])
    flat = np.zeros((2, len(features.input_ids)), dtype=np.float32)
    flat[:, tokens] = predict(model, features, pad_token_id, mine)
    start_logits, end_logits = reduce(torch.from_numpy(flat).to(state.device), "sum").cpu().numpy()
    return start_logits, end_logits

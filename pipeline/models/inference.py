"""Running a question-answering model over windows: the teacher's logits, and a student's."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch
from accelerate.utils import reduce
from torch import nn

from pipeline.errors import InputError
from pipeline.models.batching import pad, token_budget_batches
from pipeline.models.encoders import uses_segments
from pipeline.processes import processes
from pipeline.questions.features import Features

# Tokens of a batch, padding included; the right number depends on the machine, not on the experiment. On a GPU, more
# would have more than 3 % of padding in a shard of 4,096 windows. On a CPU each thread takes a batch of its own.
BATCH_TOKENS_VARIABLE = "SPAN_DISTILL_BATCH_TOKENS"
BATCH_TOKENS = {"cpu": 2048, "cuda": 16384}
# On a CPU, numbers in the widest layer's output: what does not fit in a core's cache is slow.
CPU_ACTIVATIONS = 3 * 2**19

T = TypeVar("T")
R = TypeVar("R")

PRECISION_VARIABLE = "SPAN_DISTILL_PRECISION"
PRECISIONS = ("float32", "bfloat16")


def device() -> torch.device:
    """This process's accelerator if there is one, else the CPU."""
    return processes().device


def has_bfloat16() -> bool:
    """Whether there is a GPU that multiplies bfloat16 itself."""
    return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)


def teacher_precision() -> str:
    """What a teacher's encoder computes in here: what the environment says, else bfloat16 on a GPU that has it.

    Raises:
        InputError: the environment names no precision.
    """
    said = os.environ.get(PRECISION_VARIABLE) or ("bfloat16" if has_bfloat16() else "float32")
    if said not in PRECISIONS:
        raise InputError(f"{PRECISION_VARIABLE} is {said!r}; it may be {' or '.join(PRECISIONS)}")
    return said


def batch_tokens(model: nn.Module) -> int:
    """Tokens of a GPU's batch, or of each thread's on a CPU, padding included.

    It is what the environment says, else what suits the device and the model.

    Raises:
        InputError: the environment names no number.
    """
    said = os.environ.get(BATCH_TOKENS_VARIABLE)
    if said:
        if not said.isdecimal() or int(said) == 0:
            raise InputError(f"{BATCH_TOKENS_VARIABLE} is {said!r}; it must be a whole number of tokens")
        return int(said)
    where = next(model.parameters()).device.type
    if where != "cpu":
        return BATCH_TOKENS.get(where, BATCH_TOKENS["cpu"])
    widest = max((module.out_features for module in model.modules() if isinstance(module, nn.Linear)), default=1)
    return min(BATCH_TOKENS["cpu"], CPU_ACTIVATIONS // widest)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether a device, or the machine, has no memory left."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def model_inputs(model: nn.Module, batch) -> dict[str, torch.Tensor]:
    """The batch's tensors that the model reads: segment ids only where it has embeddings for them."""
    inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
    if uses_segments(model):
        inputs["token_type_ids"] = batch.token_type_ids
    return inputs


def predict(
    model: nn.Module,
    features: Features,
    pad_token_id: int,
    indices: np.ndarray | None = None,
    progress: Callable[[int, int], None] = lambda windows, tokens: None,
) -> tuple[np.ndarray, np.ndarray]:
    """Start and end logits, each (T,) float32, of the windows at `indices` (all for None), laid end to end.

    The model is left in evaluation mode.

    Args:
        progress: called with the number of windows of each batch, and of its tokens with padding.

    Raises:
        InputError: the device is out of memory.
    """
    indices = np.arange(len(features)) if indices is None else indices
    lengths = features.lengths[indices]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    start_logits = np.empty(starts[-1], dtype=np.float32)
    end_logits = np.empty_like(start_logits)
    where = next(model.parameters()).device
    model.eval()
    budget = batch_tokens(model)

    @torch.inference_mode()
    def compute(places: np.ndarray) -> tuple[np.ndarray, torch.Tensor, torch.Tensor]:
        batch = pad(features, indices[places], pad_token_id).to(where)
        try:
            output = model(**model_inputs(model, batch))
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise InputError(f"out of memory on {where}; set {BATCH_TOKENS_VARIABLE} below {budget}") from None
        return places, output.start_logits.float(), output.end_logits.float()

    computed = []
    for places, *ends in computed_in_order(compute, token_budget_batches(lengths, budget), where):
        computed.append((places, *ends))
        progress(len(places), ends[0].numel())
    for places, *ends in computed:  # afterwards, because a copy from a GPU waits for all that it was told
        start, end = (logits.cpu().numpy() for logits in ends)
        for row, place in enumerate(places):
            start_logits[starts[place] : starts[place + 1]] = start[row, : lengths[place]]
            end_logits[starts[place] : starts[place + 1]] = end[row, : lengths[place]]
    return start_logits, end_logits


def computed_in_order(compute: Callable[[T], R], items: list[T], where: torch.device) -> Iterator[R]:
    """The results for the items, in their order; on a CPU every thread computes items by itself, side by side.

    Threads that share an operation wait for one another at the end of each.
    """
    threads = torch.get_num_threads()
    if where.type != "cpu" or threads == 1:
        yield from map(compute, items)
        return
    workers = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield from workers.map(compute, items)
    finally:
        workers.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)


def predict_together(model: nn.Module, features: Features, pad_token_id: int) -> tuple[np.ndarray, np.ndarray]:
    """As `predict` over all windows, shared out to the processes of the run; each gets the whole."""
    state = processes()
    if state.num_processes == 1:
        return predict(model, features, pad_token_id)
    mine = np.arange(state.process_index, len(features), state.num_processes)
    flat = np.zeros((2, len(features.input_ids)), dtype=np.float32)
    flat[:, features.places(mine)] = predict(model, features, pad_token_id, mine)
    start_logits, end_logits = reduce(torch.from_numpy(flat).to(state.device), "sum").cpu().numpy()
    return start_logits, end_logits

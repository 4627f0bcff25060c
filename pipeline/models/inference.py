"""Inference: the logits of a question-answering model, teacher or student, for windows."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from accelerate.utils import reduce
from transformers import PreTrainedModel

from pipeline.errors import InputError
from pipeline.models.architectures import (
    encoder_config,
    max_length,
    needed_separators,
    use_full_attention,
    uses_segments,
)
from pipeline.models.batching import Batch, pad, token_budget_batches
from pipeline.models.cpu import linear_mode
from pipeline.models.hardware import BATCH_TOKENS_VARIABLE, batch_tokens, is_out_of_memory
from pipeline.models.workers import Workers
from pipeline.pretrained import one_line
from pipeline.processes import processes
from pipeline.questions.features import Features, SpanLogits, blocks

T = TypeVar("T")
R = TypeVar("R")


def model_inputs(model: PreTrainedModel, batch: Batch) -> dict[str, torch.Tensor]:
    """The model's inputs from a batch; segment ids only if the model has embeddings for them."""
    inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
    if uses_segments(model):
        inputs["token_type_ids"] = batch.token_type_ids
    return inputs


def check_windows(model: PreTrainedModel, features: Features, names: Sequence[str], pad_token_id: int) -> None:
    """Check that a model can process all windows; runs it on the longest.

    Args:
        names: the question id of each window, for the errors.

    Raises:
        InputError: a window has more tokens than the model has positions, a token outside the model's vocabulary, or
            other content that the model cannot process.
    """
    kind = type(model).__name__
    lengths = features.lengths
    longest = int(lengths.argmax())
    length, limit = int(lengths[longest]), max_length(model)
    if length > limit:
        raise InputError(
            f"a window of question {names[longest]} has {length} tokens, {kind} takes at most {limit}; lower "
            "tokenize.max_length"
        )
    embeddings: Any = model.get_input_embeddings()
    highest, vocabulary = int(features.input_ids.max()), len(embeddings.weight)
    if highest >= vocabulary:
        raise InputError(
            f"a window has token {highest}, the vocabulary of {kind} has {vocabulary}; the tokenizer belongs to "
            "another model"
        )
    if needed := needed_separators(model):
        for block in blocks(len(features)):
            starts = features.starts[block]
            ids = features.input_ids[starts[0] : features.starts[block[-1] + 1]]
            separators = np.add.reduceat(ids == encoder_config(model).sep_token_id, starts - starts[0])
            if (separators != needed).any():
                raise InputError(
                    f"question {names[block[(separators != needed).argmax()]]}: {kind} needs windows with {needed} "
                    "separators, from the tokenizer; its text must not contain the separator, `</s>`"
                )
    try:
        predict(model, features, pad_token_id, np.array([longest]))
    except InputError:
        raise
    except Exception as error:  # models raise many types of exceptions
        raise InputError(
            f"{kind} cannot process a window of question {names[longest]} ({length} tokens): {one_line(error)}"
        ) from None


def predict(
    model: PreTrainedModel,
    features: Features,
    pad_token_id: int,
    indices: np.ndarray | None = None,
    progress: Callable[[int, int], None] = lambda windows, tokens: None,
) -> SpanLogits[np.ndarray]:
    """Start and end logits, each (T,) float32, of the windows at `indices`, concatenated in that order.

    The model is left in evaluation mode.

    Args:
        indices: None for all windows.
        progress: called after each batch with its number of windows and its number of tokens, padding included.

    Raises:
        InputError: the device is out of memory.
    """
    indices = np.arange(len(features)) if indices is None else indices
    lengths = features.lengths_of(indices)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    start_logits = np.empty(starts[-1], dtype=np.float32)
    end_logits = np.empty_like(start_logits)
    device = next(model.parameters()).device
    model.eval()
    use_full_attention(model)
    budget, mode = batch_tokens(model), linear_mode(model)

    @torch.inference_mode()
    def compute(places: np.ndarray) -> tuple[np.ndarray, torch.Tensor, torch.Tensor]:
        batch = pad(features, indices[places], pad_token_id).to(device)
        try:
            with mode():
                output = model(**model_inputs(model, batch))
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise InputError(f"out of memory on {device}; set {BATCH_TOKENS_VARIABLE} below {budget}") from None
        return places, output.start_logits.float(), output.end_logits.float()

    def store(places: np.ndarray, *ends: torch.Tensor) -> None:
        start, end = (logits.cpu().numpy() for logits in ends)
        for row, place in enumerate(places):
            start_logits[starts[place] : starts[place + 1]] = start[row, : lengths[place]]
            end_logits[starts[place] : starts[place + 1]] = end[row, : lengths[place]]

    waiting = []
    for batch in map_in_threads(compute, token_budget_batches(lengths, budget), device):
        progress(len(batch[0]), batch[1].numel())
        if device.type == "cpu":
            store(*batch)
        else:
            waiting.append(batch)
    for batch in waiting:  # last, because a copy from a GPU waits for all queued work
        store(*batch)
    return SpanLogits(start_logits, end_logits)


def map_in_threads(compute: Callable[[T], R], items: list[T], device: torch.device) -> Iterator[R]:
    """Yield the results for the items, in order; on a CPU, every thread computes its own items in parallel."""
    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1:
        yield from map(compute, items)
        return
    with Workers(threads, threads=1) as workers:
        yield from workers.map(compute, items)


def predict_distributed(model: PreTrainedModel, features: Features, pad_token_id: int) -> SpanLogits[np.ndarray]:
    """Like `predict` for all windows, but split across the run's processes; every process returns all logits."""
    state = processes()
    if state.num_processes == 1:
        return predict(model, features, pad_token_id)
    mine = np.arange(state.process_index, len(features), state.num_processes)
    flat = np.zeros((2, len(features.input_ids)), dtype=np.float32)
    flat[:, features.token_indices(mine)] = predict(model, features, pad_token_id, mine)
    start_logits, end_logits = reduce(torch.from_numpy(flat).to(state.device), "sum").cpu().numpy()
    return SpanLogits(start_logits, end_logits)

"""Settings that depend on the machine and not on the experiment: device, precision, tokens per batch."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import nn
from transformers import PreTrainedModel

from pipeline.errors import InputError
from pipeline.models.architectures import FLOAT32_ONLY, encoder_config
from pipeline.models.cpu import FASTER, cpu_bfloat16_speed
from pipeline.processes import processes

# Tokens per batch, padding included. On a GPU, larger batches would have more than 3 % padding in a shard of 4,096
# windows. On a CPU, each thread computes its own batch.
BATCH_TOKENS_VARIABLE = "SPAN_DISTILL_BATCH_TOKENS"
BATCH_TOKENS = {"cpu": 2048, "cuda": 16384}
# On a CPU, maximum number of values in the output of the widest layer; more do not fit in a core's cache and are slow.
CPU_ACTIVATIONS = 3 * 2**19
# With AMX, products in bfloat16 are so fast that larger batches gain more by what is done once a batch, such as
# converting the weights, than they lose by the cache (benchmarks/README.md).
AMX_ACTIVATIONS = 4 * CPU_ACTIVATIONS

PRECISION_VARIABLE = "SPAN_DISTILL_PRECISION"
PRECISIONS = ("float32", "bfloat16")
M = TypeVar("M", bound=nn.Module)

# hidden size from which on a CPU gains from bfloat16, and an operation of training from several threads
WIDE = 256
# parts of a training step that a CPU computes at the same time; each has gradients of its own, as large as the model
MOST_WORKERS = 4


def device() -> torch.device:
    """This process's accelerator, or the CPU if there is none."""
    found = processes().device
    assert found is not None
    return found


def on_device(model: M) -> M:
    """The model, moved to this process's device in place."""
    nn.Module.to(model, device())
    return model


def has_bfloat16() -> bool:
    """Whether there is a GPU with native bfloat16 support."""
    return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)


def teacher_precision(model: PreTrainedModel) -> tuple[str, str]:
    """The precision of a teacher's encoder, and the reason: SPAN_DISTILL_PRECISION, or else `faster_precision`.

    Raises:
        InputError: SPAN_DISTILL_PRECISION is not a precision.
    """
    value = os.environ.get(PRECISION_VARIABLE)
    if not value:
        return faster_precision(model)
    if value not in PRECISIONS:
        raise InputError(f"{PRECISION_VARIABLE} is {value!r}; it must be {' or '.join(PRECISIONS)}")
    return value, PRECISION_VARIABLE


def training_precision(model: PreTrainedModel, setting: str) -> tuple[str, str]:
    """The precision of the matrix products of a training, and the reason: `train.precision`, or `faster_precision`.

    Raises:
        InputError: bfloat16 is set, and the encoder cannot be trained in it.
    """
    kind = encoder_config(model).model_type
    if kind in FLOAT32_ONLY and setting != "float32":
        if setting == "bfloat16":
            raise InputError(f"train.precision: an encoder of type {kind} cannot be trained in bfloat16; set auto")
        return "float32", f"transformers' {kind} cannot be trained in bfloat16"
    return faster_precision(model) if setting == "auto" else (setting, "train.precision")


def faster_precision(model: PreTrainedModel) -> tuple[str, str]:
    """The precision in which the device computes a model faster, and the reason for it.

    It is bfloat16 on a GPU with native support, and on a CPU that a measured product shows to be faster, for encoders
    at least `WIDE` wide.
    """
    if has_bfloat16():
        return "bfloat16", "the GPU has it"
    if torch.cuda.is_available():
        return "float32", "the GPU has no bfloat16"
    if encoder_config(model).hidden_size < WIDE:
        return "float32", f"the encoder is narrower than {WIDE}"
    speed = cpu_bfloat16_speed()
    if speed < FASTER:
        return (
            "float32",
            f"this CPU multiplies bfloat16 {speed:.1f} times as fast" if speed else "the CPU has no bfloat16",
        )
    return "bfloat16", f"this CPU multiplies it {speed:.1f} times as fast as float32"


def description(
    model: PreTrainedModel, precision: str, reason: str, attention: str, threads: int | None = None, workers: int = 1
) -> str:
    """What a stage prints when it starts: device, threads, precision with its reason, attention."""
    where = next(model.parameters()).device.type
    count = threads or torch.get_num_threads()
    shared = f", {workers} parts of a step at the same time" if workers > 1 else f", {count} thread{'s' * (count > 1)}"
    return f"{where}{shared if where == 'cpu' else ''}; {precision} ({reason}); attention {attention}"


def training_threads(model: PreTrainedModel) -> int:
    """The threads that share an operation of training on a CPU: one if the encoder is narrower than `WIDE`, else all.

    Threads wait for each other after each operation. Those of narrow encoders are so short that a second thread gains
    nothing, and where other processes take its time, the first one waits for it (benchmarks/contention.py).
    """
    return 1 if encoder_config(model).hidden_size < WIDE else torch.get_num_threads()


def training_workers(model: PreTrainedModel) -> tuple[int, int]:
    """How many parts of a step a CPU computes at the same time, and how many threads share an operation of each."""
    count = min(torch.get_num_threads(), MOST_WORKERS)
    return count, max(1, training_threads(model) // count)


@contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """Compute operations with this many threads within the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def batch_tokens(model: nn.Module, precision: str | None = None) -> int:
    """Tokens per batch on a GPU, or per thread on a CPU, padding included.

    The value is SPAN_DISTILL_BATCH_TOKENS, or else depends on the device, and on a CPU on the width of the model and on
    the precision.

    Args:
        precision: `float32` or `bfloat16`; None: the weights'.

    Raises:
        InputError: SPAN_DISTILL_BATCH_TOKENS is not a positive whole number.
    """
    value = os.environ.get(BATCH_TOKENS_VARIABLE)
    if value:
        if not value.isdecimal() or int(value) == 0:
            raise InputError(f"{BATCH_TOKENS_VARIABLE} is {value!r}; it must be a whole number of tokens")
        return int(value)
    device_type = next(model.parameters()).device.type
    if device_type != "cpu":
        return BATCH_TOKENS.get(device_type, BATCH_TOKENS["cpu"])
    widest = max((module.out_features for module in model.modules() if isinstance(module, nn.Linear)), default=1)
    if precision is None:
        precision = str(next(model.parameters()).dtype).removeprefix("torch.")
    by_tiles = precision == "bfloat16" and torch.cpu._is_amx_tile_supported()
    activations = AMX_ACTIVATIONS if by_tiles else CPU_ACTIVATIONS
    return min(BATCH_TOKENS["cpu"], activations // widest)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether an error means that the device or the machine is out of memory."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


@contextmanager
def float32_matmul_precision(precision: str) -> Iterator[None]:
    """Set torch's float32 matmul precision within the block: `highest`, or `high` for TF32."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def run_environment(model: PreTrainedModel, precision: str) -> dict[str, int | str]:
    """The settings of the machine that change the rounding of a step; part of a run's key.

    Args:
        precision: of `Train`.
    """
    precision, _ = training_precision(model, precision)
    environment: dict[str, int | str] = {"processes": processes().num_processes, "precision": precision}
    if next(model.parameters()).device.type == "cpu":
        environment |= {"threads": training_threads(model), "tokens": batch_tokens(model, precision)}
    return environment

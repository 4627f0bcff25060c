"""What the machine decides: device, precision, how many tokens at a time. No part of an experiment."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from pipeline.errors import InputError
from pipeline.processes import processes

# Tokens of a batch, padding included; the right number depends on the machine, not on the experiment. On a GPU, more
# would have more than 3 % of padding in a shard of 4,096 windows. On a CPU each thread takes a batch of its own.
BATCH_TOKENS_VARIABLE = "SPAN_DISTILL_BATCH_TOKENS"
BATCH_TOKENS = {"cpu": 2048, "cuda": 16384}
# On a CPU, numbers in the widest layer's output: what does not fit in a core's cache is slow.
CPU_ACTIVATIONS = 3 * 2**19

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


def in_bfloat16(precision: str) -> bool:
    """Whether matrix products are in bfloat16."""
    return precision == "bfloat16" or (precision == "auto" and has_bfloat16())


@contextmanager
def matrix_products(precision: str) -> Iterator[None]:
    """With torch's precision of float32 matrix products, `highest` or, for TF32, `high`."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def run_environment(model: nn.Module) -> dict[str, int]:
    """What of the machine decides how a step is computed, and so belongs to what defines a run."""
    found = {"processes": processes().num_processes}
    if next(model.parameters()).device.type == "cpu":
        found |= {"threads": torch.get_num_threads(), "tokens": batch_tokens(model)}
    return found

"""Settings that depend on the machine and not on the experiment: device, precision, tokens per batch."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from pipeline.errors import InputError
from pipeline.processes import processes

# Tokens per batch, padding included. On a GPU, larger batches would have more than 3 % padding in a shard of 4,096
# windows. On a CPU, each thread computes its own batch.
BATCH_TOKENS_VARIABLE = "SPAN_DISTILL_BATCH_TOKENS"
BATCH_TOKENS = {"cpu": 2048, "cuda": 16384}
# On a CPU, maximum number of values in the output of the widest layer; more do not fit in a core's cache and are slow.
CPU_ACTIVATIONS = 3 * 2**19

PRECISION_VARIABLE = "SPAN_DISTILL_PRECISION"
PRECISIONS = ("float32", "bfloat16")


def device() -> torch.device:
    """This process's accelerator, or the CPU if there is none."""
    return processes().device


def has_bfloat16() -> bool:
    """Whether there is a GPU with native bfloat16 support."""
    return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)


def teacher_precision() -> str:
    """The precision of a teacher's encoder: SPAN_DISTILL_PRECISION, else bfloat16 on a GPU with native support.

    Raises:
        InputError: SPAN_DISTILL_PRECISION is not a precision.
    """
    value = os.environ.get(PRECISION_VARIABLE) or ("bfloat16" if has_bfloat16() else "float32")
    if value not in PRECISIONS:
        raise InputError(f"{PRECISION_VARIABLE} is {value!r}; it must be {' or '.join(PRECISIONS)}")
    return value


def batch_tokens(model: nn.Module) -> int:
    """Tokens per batch on a GPU, or per thread on a CPU, padding included.

    The value is SPAN_DISTILL_BATCH_TOKENS, or else depends on the device and the width of the model.

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
    return min(BATCH_TOKENS["cpu"], CPU_ACTIVATIONS // widest)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether an error means that the device or the machine is out of memory."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def uses_bfloat16(precision: str) -> bool:
    """Whether training with this setting runs matrix products in bfloat16."""
    return precision == "bfloat16" or (precision == "auto" and has_bfloat16())


@contextmanager
def float32_matmul_precision(precision: str) -> Iterator[None]:
    """Set torch's float32 matmul precision within the block: `highest`, or `high` for TF32."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def run_environment(model: nn.Module) -> dict[str, int]:
    """The settings of the machine that change the rounding of a step; part of a run's key."""
    environment = {"processes": processes().num_processes}
    if next(model.parameters()).device.type == "cpu":
        environment |= {"threads": torch.get_num_threads(), "tokens": batch_tokens(model)}
    return environment

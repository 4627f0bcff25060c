"""Matrix products on a CPU: which are faster is measured, and linear layers can be computed by oneDNN in float32.

torch multiplies float32 matrices by MKL, and bfloat16 by oneDNN. On some CPUs MKL is much slower than oneDNN in float32
too. torch has oneDNN's product as an operator for compiled models; there is no setting that selects it.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import torch
from accelerate.utils import broadcast
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from pipeline.processes import processes

Product = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

# the gain in speed that a product must show to be chosen
FASTER = 1.3
# layers with fewer outputs, such as the one for start and end logits, are faster as they are
LEAST_OUTPUTS = 16


def has_onednn() -> bool:
    """Whether torch was built with oneDNN's operator for linear layers."""
    try:
        onednn_linear(torch.ones(1, 1), torch.ones(1, 1))
    except (AttributeError, RuntimeError):
        return False
    return True


def onednn_linear(rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """Like `torch.nn.functional.linear`, but without gradients: (..., K), (N, K) and (N,) to (..., N)."""
    return torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")


class LinearMode(TorchFunctionMode):
    """Within it, this thread computes `torch.nn.functional.linear` of float32 tensors on the CPU by oneDNN."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is F.linear and not kwargs and _is_plain(*args):
            return onednn_linear(*args)
        return func(*args, **(kwargs or {}))


def _is_plain(rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> bool:
    """Whether `onednn_linear` computes the same as torch."""
    tensors = [rows, weight] if bias is None else [rows, weight, bias]
    return (
        all(type(t) in (torch.Tensor, torch.nn.Parameter) for t in tensors)
        and all(t.dtype == torch.float32 and t.device.type == "cpu" for t in tensors)
        and rows.dim() > 1
        and rows.numel() > 0
        and weight.dim() == 2
        and len(weight) >= LEAST_OUTPUTS
        and not torch.is_autocast_enabled("cpu")
    )


def linear_mode(model: nn.Module) -> type[AbstractContextManager[Any]]:
    """The context of a model's inference: `LinearMode` on a CPU where oneDNN is faster, or else `nullcontext`."""
    on_cpu = next(model.parameters()).device.type == "cpu"
    return LinearMode if on_cpu and cpu_onednn_speed() >= FASTER else nullcontext


@cache
def cpu_bfloat16_speed() -> float:
    """How many times as fast this CPU multiplies matrices in bfloat16 as in float32, measured on one thread.

    It is 0 where torch says that the CPU has no instructions for it: emulating them would take seconds. The processes
    of a run get the main process's value, so that they choose the same precision. All of them have to call this at the
    same point the first time: it waits for the others.
    """
    speed = _measured_speed()
    return broadcast(torch.tensor(speed)).item() if processes().num_processes > 1 else speed


def _measured_speed() -> float:
    if not (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()):
        return 0.0
    float32 = onednn_linear if cpu_onednn_speed() >= FASTER else F.linear
    return _speed((F.linear, torch.bfloat16), (float32, torch.float32))


@cache
def cpu_onednn_speed() -> float:
    """How many times as fast oneDNN computes a linear layer in float32 as torch does, measured on one thread.

    It is 0 where torch was built without oneDNN.
    """
    if not has_onednn():
        return 0.0
    return _speed((onednn_linear, torch.float32), (F.linear, torch.float32))


@torch.inference_mode()
def _speed(*products: tuple[Product, torch.dtype]) -> float:
    """How many times as fast the first of two products in a dtype is as the second, on one thread.

    Takes the fastest of six alternating runs of each: another process slows both down.
    """
    rows, weight = torch.ones(256, 768), torch.ones(3072, 768)  # random numbers would change those of the caller
    runs = [(product, rows.to(dtype), weight.to(dtype)) for product, dtype in products]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        seconds = [[_seconds(*run) for run in runs] for _ in range(6)]
    finally:
        torch.set_num_threads(threads)
    first, second = (min(column) for column in zip(*seconds, strict=True))
    return second / first


def _seconds(product: Product, rows: torch.Tensor, weight: torch.Tensor) -> float:
    began = time.perf_counter()
    product(rows, weight)
    return time.perf_counter() - began

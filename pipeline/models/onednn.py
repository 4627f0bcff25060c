"""Linear layers in float32 by oneDNN, for inference on a CPU.

torch multiplies float32 matrices by MKL, and bfloat16 by oneDNN. On some CPUs MKL is much slower than oneDNN in float32
too. torch has oneDNN's product as an operator for compiled models; there is no setting that selects it.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

# layers with fewer outputs, such as the one for start and end logits, are faster as they are
LEAST_OUTPUTS = 16


def is_available() -> bool:
    """Whether torch was built with oneDNN's operator for linear layers."""
    try:
        linear(torch.ones(1, 1), torch.ones(1, 1))
    except (AttributeError, RuntimeError):
        return False
    return True


def linear(rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """As `torch.nn.functional.linear`, without gradients: (..., K), (N, K) and (N,) to (..., N)."""
    return torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")


class LinearMode(TorchFunctionMode):
    """Within it, this thread computes `torch.nn.functional.linear` of float32 tensors on the CPU by `linear`."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return (linear if func is F.linear and not kwargs and _is_plain(*args) else func)(*args, **kwargs or {})


def _is_plain(rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> bool:
    """Whether `linear` computes the same as torch."""
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

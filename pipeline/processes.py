"""The processes that share a stage's work: one, unless `accelerate launch` or `torchrun` started more."""

import torch
from accelerate import PartialState


def processes() -> PartialState:
    """Which process this is, of how many, and its device; joins the others on the first call."""
    # without being told, Accelerate takes several processes on a CPU for several runs of one
    return PartialState(cpu=torch.accelerator.current_accelerator() is None)

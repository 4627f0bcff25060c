"""The processes that share a stage's work: one, unless `accelerate launch` or `torchrun` started more."""

from datetime import timedelta

import torch
from accelerate import PartialState

# One process may wait for as long as another needs for a shard, which is more than torch's half an hour where a CPU
# runs a large teacher. The launcher notices a process that has died.
PATIENCE = timedelta(days=1)


def processes() -> PartialState:
    """Which process this is, of how many, and its device; joins the others on the first call."""
    # without being told, Accelerate takes several processes on a CPU for several runs of one
    torch.set_num_threads(torch.get_num_threads())  # MKL chooses a number by itself until it is told one
    on_cpu = torch.accelerator.current_accelerator(check_available=True) is None
    return PartialState(cpu=on_cpu, timeout=PATIENCE)

"""The distributed processes of a stage: one, unless `accelerate launch` or `torchrun` started more."""

from datetime import timedelta

import torch
from accelerate import PartialState

# A process may wait while another computes a shard. With a large teacher on a CPU that can exceed torch's default
# timeout of 30 minutes. The launcher detects a process that has died.
TIMEOUT = timedelta(days=1)


def processes() -> PartialState:
    """The rank, number of processes and device; the first call initializes the process group."""
    torch.set_num_threads(torch.get_num_threads())  # until it is set, MKL chooses the number of threads itself
    # without cpu=True, Accelerate treats several processes on a CPU as separate single-process runs
    on_cpu = torch.accelerator.current_accelerator(check_available=True) is None
    return PartialState(cpu=on_cpu, timeout=TIMEOUT)

"""The training state in a checkpoint: the model, the best weights so far, the optimizer and the run's counts."""

from dataclasses import asdict

import torch
from accelerate.utils import gather
from torch import nn

from pipeline.errors import InputError
from pipeline.processes import processes
from pipeline.training.checkpoints import Checkpoint, State
from pipeline.training.optimizer import load_optimizer_tensors, optimizer_tensors
from pipeline.training.run import Run


def save_state(
    checkpoint: Checkpoint, run: Run, model: nn.Module, optimizer: torch.optim.Optimizer, best: State | None
) -> None:
    """Write the training state to the checkpoint.

    Args:
        best: the weights with the highest F1 so far; None if there are none.
    """
    groups = {"model": model.state_dict(), "best": best or {}, "optimizer": optimizer_tensors(optimizer)}
    tensors = {f"{group}.{name}": value for group, entries in groups.items() for name, value in entries.items()}
    checkpoint.write(tensors, asdict(run))


def load_state(
    checkpoint: Checkpoint, model: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[Run, State | None] | None:
    """Load the checkpoint into the model and the optimizer; returns the run and its best weights.

    Returns None if there is no checkpoint.

    Raises:
        InputError: the run's processes found different checkpoints.
    """
    found = checkpoint.read()
    state = processes()
    if state.num_processes > 1:
        step = torch.tensor([found[1]["steps"] if found else 0], device=state.device)
        if len(set(gather(step).tolist())) > 1:
            raise InputError(
                f"the run's processes found different checkpoints; {checkpoint.folder.parent} must be one folder that "
                "all of them share; set it with SPAN_DISTILL_CACHE"
            )
    if not found:
        return None
    tensors, values = found
    model.load_state_dict(_group("model", tensors))
    load_optimizer_tensors(optimizer, _group("optimizer", tensors))
    return Run(**values), _group("best", tensors) or None


def _group(group: str, tensors: State) -> State:
    return {name.removeprefix(f"{group}."): value for name, value in tensors.items() if name.startswith(f"{group}.")}

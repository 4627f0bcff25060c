"""The optimizer, and its state as named tensors."""

import torch
from torch import nn

from pipeline.params import Train
from pipeline.training.checkpoints import State


def new_optimizer(model: nn.Module, settings: Train) -> torch.optim.Optimizer:
    """Adam, or AdamW (Loshchilov and Hutter 2019) with weight decay on matrices but not on biases and norms."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if settings.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=settings.learning_rate, fused=True)
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> State:
    """The optimizer's state; keys are `PARAMETER_INDEX.STATE_NAME`."""
    state = optimizer.state_dict()["state"]
    return {f"{i}.{name}": value for i, entry in state.items() for name, value in entry.items()}


def load_optimizer_tensors(optimizer: torch.optim.Optimizer, tensors: State) -> None:
    """Load the state that `optimizer_tensors` returned."""
    state: dict[int, State] = {}
    for key, value in tensors.items():
        i, name = key.split(".")
        state.setdefault(int(i), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})

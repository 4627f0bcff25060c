"""LSTM heads as ONNX LSTM nodes.

torch's exporter cannot trace packed sequences, and fixes the length of bidirectional LSTMs (pytorch issue 191855). An
ONNX LSTM node takes the length of each row itself.
"""

import copy

import torch
from torch import Tensor, nn

from pipeline.models import heads
from pipeline.models.student import Student


def exportable(student: Student) -> Student:
    """The student with its LSTM head replaced by one of ONNX nodes; shares the weights of the encoder.

    A student without an LSTM is returned as it is. The new one can only be exported: in torch, its nodes compute zeros.
    """
    if not isinstance(student.head, heads.LSTM):
        return student
    twin = copy.copy(student)
    twin._modules = {**student._modules, "head": _Head(student.head).eval()}
    return twin


class _Head(nn.Module):
    """Like `heads.LSTM`, but made of ONNX nodes."""

    def __init__(self, head: heads.LSTM):
        super().__init__()
        self.layers = nn.ModuleList(_Layer(head.lstm, i) for i in range(head.lstm.num_layers))
        self.output = head.output

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        states, lengths = hidden.transpose(0, 1), mask.sum(1).to(torch.int32)  # (L, B, H), (B,)
        for layer in self.layers:
            states = layer(states, lengths)
        return self.output(states.transpose(0, 1))


class _Layer(nn.Module):
    """A bidirectional layer: (L, B, input) -> (L, B, 2 * units), zeros after the end of each row."""

    def __init__(self, lstm: nn.LSTM, layer: int):
        super().__init__()
        self.units = lstm.hidden_size

        def directions(name: str) -> Tensor:
            weights = (getattr(lstm, f"{name}_l{layer}{end}").detach() for end in ("", "_reverse"))
            return torch.stack([onnx_gates(weight) for weight in weights])

        self.register_buffer("inputs", directions("weight_ih"))  # (2, 4 * units, input)
        self.register_buffer("recurrence", directions("weight_hh"))  # (2, 4 * units, units)
        self.register_buffer("bias", torch.cat([directions("bias_ih"), directions("bias_hh")], dim=1))  # (2, 8 * units)

    def forward(self, states: Tensor, lengths: Tensor) -> Tensor:
        length, batch, _ = states.shape
        (outputs,) = torch.onnx.ops.symbolic_multi_out(
            "LSTM",
            (states, self.inputs, self.recurrence, self.bias, lengths),
            {"hidden_size": self.units, "direction": "bidirectional"},
            dtypes=[states.dtype],
            shapes=[(length, 2, batch, self.units)],
            version=18,
        )
        return outputs.transpose(1, 2).reshape(length, batch, 2 * self.units)


def onnx_gates(weight: Tensor) -> Tensor:
    """The rows of torch's gates (input, forget, cell, output) in ONNX's order: input, output, forget, cell."""
    i, f, c, o = weight.chunk(4)
    return torch.cat([i, o, f, c])

"""Span heads: an encoder's last hidden states -> start and end logits.

Every head takes `hidden`, (B, L, H) float, and `mask`, (B, L), 1 for a token and 0 for padding, and returns
(B, L, 2): start and end logits. The logits of a window do not depend on its padding or on its batch: convolutions
and LSTMs see zeros or nothing past the end of a window.

To add a head, write a class here and add its name to `HEADS` here and in names.py.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class Linear(nn.Module):
    """One linear layer, as in BERT (Devlin et al. 2019)."""

    def __init__(self, hidden_size: int):
        super().__init__()
        self.output = nn.Linear(hidden_size, 2)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        return self.output(hidden)  # (B, L, 2)


class LSTM(nn.Module):
    """A bidirectional LSTM with `units` per direction, then a linear layer."""

    def __init__(self, hidden_size: int, units: int, layers: int = 1):
        super().__init__()
        self.lstm = nn.LSTM(hidden_size, units, num_layers=layers, batch_first=True, bidirectional=True)
        self.output = nn.Linear(2 * units, 2)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        packed = pack_padded_sequence(hidden, mask.sum(1).cpu(), batch_first=True, enforce_sorted=False)
        states, _ = self.lstm(packed)
        states, _ = pad_packed_sequence(states, batch_first=True, total_length=hidden.shape[1])  # (B, L, 2 * units)
        return self.output(states)


class CNN(nn.Module):
    """Parallel convolutions with several kernel sizes and ReLU, concatenated, then a linear layer for each token.

    Kim 2014 (Convolutional Neural Networks for Sentence Classification), without the pooling.
    """

    def __init__(self, hidden_size: int, kernels: tuple[int, ...], channels: int):
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv1d(hidden_size, channels, kernel, padding=kernel // 2) for kernel in kernels
        )
        self.output = nn.Conv1d(channels * len(kernels), 2, 1)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        channels = torch.cat(convolved(self.convolutions, hidden, mask), dim=1)  # (B, kernels * C, L)
        return self.output(channels).transpose(1, 2)


class StackedCNN(nn.Module):
    """Like `CNN`, but outputs are stacked on a last axis, which a convolution of kernel (1, number of kernels) reduces.

    It has as many weights as `CNN` and can represent the same functions.
    """

    def __init__(self, hidden_size: int, kernels: tuple[int, ...], channels: int):
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv1d(hidden_size, channels, kernel, padding=kernel // 2) for kernel in kernels
        )
        self.output = nn.Conv2d(channels, 2, (1, len(kernels)))

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        channels = torch.stack(convolved(self.convolutions, hidden, mask), dim=-1)  # (B, C, L, kernels)
        return self.output(channels).squeeze(-1).transpose(1, 2)


def convolved(convolutions: nn.ModuleList, hidden: Tensor, mask: Tensor) -> list[Tensor]:
    """The (B, C, L) output of each convolution after ReLU; padding in `hidden` is set to zero first."""
    tokens = (hidden * mask.unsqueeze(-1).to(hidden.dtype)).transpose(1, 2)  # (B, H, L)
    return [torch.relu(convolution(tokens)) for convolution in convolutions]


class MLP(nn.Module):
    """Optional dropout, then two linear layers with ReLU between them."""

    def __init__(self, hidden_size: int, units: int, dropout: float = 0.0):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.inner = nn.Linear(hidden_size, units)
        self.output = nn.Linear(units, 2)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        return self.output(torch.relu(self.inner(self.dropout(hidden))))  # (B, L, 2)


HEADS = {
    "linear": lambda hidden_size: Linear(hidden_size),
    "lstm768": lambda hidden_size: LSTM(hidden_size, units=768),
    "lstm64": lambda hidden_size: LSTM(hidden_size, units=64),
    "lstm64x2": lambda hidden_size: LSTM(hidden_size, units=64, layers=2),
    "cnn3": lambda hidden_size: CNN(hidden_size, kernels=(3,), channels=64),
    "cnn357": lambda hidden_size: CNN(hidden_size, kernels=(3, 5, 7), channels=8),
    "cnn357_stacked": lambda hidden_size: StackedCNN(hidden_size, kernels=(3, 5, 7), channels=8),
    "mlp": lambda hidden_size: MLP(hidden_size, units=64),
    "mlp_dropout": lambda hidden_size: MLP(hidden_size, units=64, dropout=0.5),
}

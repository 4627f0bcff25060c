import re
from pathlib import Path

import pytest
import torch
from torch import nn

from pipeline import names
from pipeline.models.heads import HEADS

DOCUMENT = Path(__file__).parents[2] / "docs/heads.md"
H = 12
# computed by hand: weights, then biases, of each layer in turn
COUNTS = {
    "linear": lambda h: 2 * h + 2,
    # per direction and layer: 4 gates x (inputs + units) weights, and two biases of 4 x units
    "lstm768": lambda h: 2 * (4 * 768 * (h + 768) + 8 * 768) + 1536 * 2 + 2,
    "lstm64": lambda h: 2 * (4 * 64 * (h + 64) + 8 * 64) + 128 * 2 + 2,
    "lstm64x2": lambda h: 2 * (4 * 64 * (h + 64) + 8 * 64) + 2 * (4 * 64 * (128 + 64) + 8 * 64) + 128 * 2 + 2,
    "cnn3": lambda h: 3 * h * 64 + 64 + 64 * 2 + 2,
    "cnn357": lambda h: (3 + 5 + 7) * h * 8 + 3 * 8 + 24 * 2 + 2,
    "cnn357_stacked": lambda h: (3 + 5 + 7) * h * 8 + 3 * 8 + 8 * 3 * 2 + 2,
    "mlp": lambda h: h * 64 + 64 + 64 * 2 + 2,
    "mlp_dropout": lambda h: h * 64 + 64 + 64 * 2 + 2,
}


def new(name, hidden_size=H):
    torch.manual_seed(0)
    return HEADS[name](hidden_size)


def test_the_names_are_those_of_the_parameter():
    assert tuple(HEADS) == names.HEADS == tuple(COUNTS)


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("hidden_size", [H, 768])
def test_parameter_count(name, hidden_size):
    assert sum(p.numel() for p in new(name, hidden_size).parameters()) == COUNTS[name](hidden_size)


def test_the_documented_counts_are_those_at_hidden_size_768():
    rows = re.findall(r"^\| `(\w+)` \| .+ \| ([\d,]+) \|$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == [(name, f"{count(768):,}") for name, count in COUNTS.items()]


@pytest.mark.parametrize("name", HEADS)
def test_logits_are_the_same_alone_padded_and_in_a_batch(name):
    head = new(name).eval()
    lengths = [9, 1, 4, 13]
    windows = [torch.randn(length, H) for length in lengths]
    alone = [head(window[None], torch.ones(1, len(window)))[0] for window in windows]
    # the padding is noise, since its values must not matter
    batch = 5 * torch.randn(len(lengths), max(lengths) + 3, H)
    mask = torch.zeros(batch.shape[:2], dtype=torch.int64)
    for i, window in enumerate(windows):
        batch[i, : len(window)] = window
        mask[i, : len(window)] = 1
    together = head(batch, mask)
    padded = [head(batch[i : i + 1], mask[i : i + 1])[0] for i in range(len(windows))]
    for i, length in enumerate(lengths):
        torch.testing.assert_close(together[i, :length], alone[i], atol=1e-5, rtol=0)
        torch.testing.assert_close(padded[i][:length], alone[i], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", HEADS)
def test_gradients_reach_every_parameter(name):
    head = new(name)
    head(torch.randn(3, 11, H), torch.ones(3, 11)).square().sum().backward()
    without = [key for key, value in head.named_parameters() if value.grad is None or not value.grad.any()]
    assert without == []


def test_cnn357_and_cnn357_stacked_compute_the_same_function():
    plain, stacked = new("cnn357"), new("cnn357_stacked")
    stacked.convolutions.load_state_dict(plain.convolutions.state_dict())
    # channel 8 k + c of the concatenation is channel c of width k in the stack
    stacked.output.weight.data = plain.output.weight.data.view(2, 3, 8).permute(0, 2, 1).unsqueeze(2)
    stacked.output.bias.data = plain.output.bias.data
    hidden, mask = torch.randn(2, 10, H), torch.ones(2, 10)
    torch.testing.assert_close(plain(hidden, mask), stacked(hidden, mask), atol=1e-6, rtol=0)


def test_mlp_dropout_is_random_in_training_and_equals_mlp_in_evaluation():
    plain, dropping = new("mlp"), new("mlp_dropout")
    dropping.load_state_dict(plain.state_dict())
    hidden, mask = torch.randn(2, 10, H), torch.ones(2, 10)
    dropping.train()
    assert not torch.equal(dropping(hidden, mask), dropping(hidden, mask))
    dropping.eval()
    assert torch.equal(dropping(hidden, mask), plain(hidden, mask))


@pytest.mark.parametrize("kernel", [3, 5, 7])
def test_a_convolution_equals_conv2d_over_a_one_channel_image(kernel):
    ours = new("cnn3" if kernel == 3 else "cnn357")
    convolution = ours.convolutions[(kernel - 3) // 2]
    image = nn.Conv2d(1, convolution.out_channels, (kernel, H), padding=(kernel // 2, 0))
    image.weight.data = convolution.weight.data.transpose(1, 2).unsqueeze(1)  # (C, 1, kernel, H)
    image.bias.data = convolution.bias.data
    hidden = torch.randn(2, 10, H)
    expected = image(hidden.unsqueeze(1)).squeeze(-1)  # (B, C, L)
    torch.testing.assert_close(convolution(hidden.transpose(1, 2)), expected, atol=1e-6, rtol=0)

import pytest
import torch
from torch import nn

from pipeline.shrinking.importance import Units
from pipeline.shrinking.narrowing import fitted, most_important, narrowed, steps
from pipeline.shrinking.units import width
from tests.models import architectures


@pytest.mark.parametrize(
    ("units", "target", "expected"),
    [
        (1536, 768, [768]),
        (1536, 1504, [1504]),
        (1536, 736, [768, 736]),
        (1536, 192, [768, 384, 192]),
        (1152, 32, [576, 288, 160, 96, 64, 32]),
        (64, 32, [32]),
    ],
)
def test_a_step_removes_at_most_half(units, target, expected):
    assert steps(units, target) == expected


def test_the_units_with_the_highest_scores_are_kept_in_their_order():
    scores = torch.tensor([[1.0, 5.0, 5.0, 0.0], [9.0, 1.0, 2.0, 3.0]])
    assert [units.tolist() for units in most_important(scores, 2)] == [[1, 2], [0, 3]]
    assert [units.tolist() for units in most_important(scores, 1)] == [[1], [0]]


@pytest.mark.parametrize("bias", [True, False])
def test_units_that_follow_from_others_are_replaced_without_a_loss(bias):
    """Units 2 and 3 are linear in units 0 and 1, with a constant where a bias can hold it."""
    torch.manual_seed(0)
    free = torch.randn(500, 2)
    active = torch.stack([*free.T, 2 * free[:, 0] - free[:, 1] + 3 * bias, free[:, 1] + bias], dim=1)
    layer = nn.Linear(4, 5, bias=bias)
    weight, constant = fitted(layer, active.mean(0), active.T @ active / 500, torch.tensor([0, 1]))
    found = free @ weight.T + (constant if bias else 0)
    torch.testing.assert_close(found, layer(active).detach(), rtol=0, atol=0.01)
    assert (constant is None) == (not bias)


def test_the_fit_is_the_least_squares_solution():
    torch.manual_seed(0)
    active = torch.randn(400, 6) @ torch.randn(6, 6) + 1
    layer, kept = nn.Linear(6, 3), torch.tensor([0, 2, 5])
    weight, bias = fitted(layer, active.mean(0), active.T @ active / 400, kept)
    design = torch.cat([active[:, kept], torch.ones(400, 1)], dim=1)
    expected = torch.linalg.lstsq(design, layer(active).detach()).solution.T
    torch.testing.assert_close(torch.cat([weight, bias[:, None]], dim=1), expected, rtol=0.01, atol=0.01)


def test_units_that_are_all_kept_or_all_silent_change_nothing():
    torch.manual_seed(0)
    active, layer = torch.randn(50, 4), nn.Linear(4, 3)
    active[:, 3] = 0
    products = active.T @ active / 50
    weight, bias = fitted(layer, active.mean(0), products, torch.arange(4))
    torch.testing.assert_close(weight, layer.weight.detach(), rtol=1e-4, atol=1e-5)
    weight, bias = fitted(layer, active.mean(0), products, torch.tensor([0, 1, 2]))
    torch.testing.assert_close(weight, layer.weight.detach()[:, :3], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(bias, layer.bias.detach(), rtol=1e-4, atol=1e-5)


def test_every_step_is_measured_again():
    encoder = architectures.model("bert", intermediate_size=128).base_model
    seen = []

    def measured(encoder):
        units = width(encoder)
        seen.append(units)
        return Units(torch.rand(2, units), torch.zeros(2, units), torch.eye(units).repeat(2, 1, 1))

    assert width(narrowed(encoder, 32, measured, fit=True)) == 32
    assert seen == [128, 64]

import pytest
import torch

from pipeline.training import cpu_dropout as module
from pipeline.training.cpu_dropout import cpu_dropout
from tests.training import small
from tests.words import refused


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_on_a_cpu_drops_a_share_and_scales_the_rest(dtype, p):
    torch.manual_seed(0)
    values = torch.full((201, 1001), 3.0, dtype=dtype, requires_grad=True)
    dropped = cpu_dropout(values, p)
    dropped.sum().backward()
    assert dropped.dtype == dtype and dropped.shape == values.shape
    kept = dropped != 0
    size = kept.numel()
    assert abs(kept.float().mean().item() - (1 - p)) < 4 * (p * (1 - p) / size) ** 0.5
    torch.testing.assert_close(dropped[kept], torch.full_like(dropped[kept], 3 / (1 - p)), rtol=5e-3, atol=0)
    torch.testing.assert_close(values.grad, kept / (1 - p), rtol=5e-3, atol=0, check_dtype=False)


def test_dropout_on_a_cpu_treats_every_place_alike_and_alone():
    """Each of the four values that share a random word is dropped as often as the others, and independently of them."""
    torch.manual_seed(0)
    dropped = (cpu_dropout(torch.ones(100_000, 4), 0.25) == 0).float()
    torch.testing.assert_close(dropped.mean(0), torch.full((4,), 0.25), rtol=0, atol=0.006)
    correlations = torch.corrcoef(dropped.T) - torch.eye(4)
    assert correlations.abs().max() < 0.015


def test_dropout_on_a_cpu_depends_on_the_seed_alone():
    torch.manual_seed(1)
    first, second = (cpu_dropout(torch.ones(50), 0.5) for _ in range(2))
    torch.manual_seed(1)
    assert torch.equal(cpu_dropout(torch.ones(50), 0.5), first) and not torch.equal(first, second)


def test_dropout_of_none_or_all_values_is_that_of_torch():
    values = torch.ones(5)
    assert cpu_dropout(values, 0.5, training=False) is values
    assert torch.equal(cpu_dropout(values, 0.0), values) and not cpu_dropout(values, 1.0).any()
    assert cpu_dropout(torch.ones(0, 3), 0.5).shape == (0, 3)
    assert cpu_dropout(values, 0.5, inplace=True) is values
    with refused("1.5", "0", "1", error=ValueError):
        cpu_dropout(values, 1.5)


def test_the_mode_changes_the_dropout_of_modules_and_of_attention(monkeypatch):
    shapes = []
    monkeypatch.setattr(module, "cpu_dropout", lambda input, p=0.5, *_, **__: shapes.append(input.shape) or input)
    model = small.model().train()
    model.set_attn_implementation("eager")
    with module.DropoutMode(seed=0):
        model(input_ids=torch.arange(4, 16)[None])
    assert {len(shape) for shape in shapes} == {3, 4}
    found = len(shapes)
    model(input_ids=torch.arange(4, 16)[None])
    assert len(shapes) == found

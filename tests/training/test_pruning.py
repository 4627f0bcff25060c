import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from pipeline.training.pruning import Pruning, check_prunable, magnitude_mask
from tests.models import architectures
from tests.words import refused


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Embedding(7, 10), nn.Linear(10, 13), nn.ReLU(), nn.LayerNorm(13), nn.Linear(13, 2))


def linear_weights(network):
    return [module.weight for module in network if isinstance(module, nn.Linear)]


@pytest.mark.parametrize("amount", [0.0, 0.3, 0.77])
def test_the_mask_matches_l1_unstructured_of_torch(amount):
    layer = nn.Linear(17, 11)
    mask = magnitude_mask(layer.weight, amount)
    prune.l1_unstructured(layer, "weight", amount)
    assert torch.equal(mask, layer.weight_mask.bool())


def test_only_linear_layers_are_pruned():
    network, whole = model(), model()
    Pruning(network, 0.3)
    for pruned, original in zip(linear_weights(network), linear_weights(whole), strict=True):
        assert (pruned == 0).sum() == round(0.3 * original.numel())
        assert torch.equal(pruned[pruned != 0], original[pruned != 0])
    assert torch.equal(network[0].weight, whole[0].weight)
    assert torch.equal(network[1].bias, whole[1].bias)


def test_pruned_weights_stay_zero_during_training():
    network = model()
    pruning = Pruning(network, 0.5)
    before = [weight.detach().clone() for weight in linear_weights(network)]
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(5):
        network(torch.arange(7)).square().sum().backward()
        for weight, (_, mask) in zip(linear_weights(network), pruning.masks, strict=True):
            assert not weight.grad[~mask].any()
        optimizer.step()
        optimizer.zero_grad()
        pruning.apply()
    for weight, old in zip(linear_weights(network), before, strict=True):
        assert torch.equal(weight == 0, old == 0)
        assert (weight[old != 0] != old[old != 0]).all()


def test_an_amount_of_zero_changes_nothing():
    network, whole = model(), model()
    assert Pruning(network, 0.0).masks == []
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), whole.parameters(), strict=True))


@pytest.mark.parametrize("model_type", ["bert", "modernbert", "llama", "t5"])
def test_encoders_of_linear_layers_can_be_pruned(model_type):
    check_prunable(architectures.model(model_type).base_model, 0.5)


@pytest.mark.parametrize("model_type", ["gpt2", "squeezebert", "ibert", "mixtral"])
def test_an_encoder_of_other_layers_is_not_pruned_in_part(model_type):
    encoder = architectures.model(model_type).base_model
    with refused("prune.amount", "0.5", "%", type(encoder).__name__, "linear"):
        check_prunable(encoder, 0.5)
    check_prunable(encoder, 0.0)

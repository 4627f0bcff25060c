import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from pipeline.training.pruning import Pruning, check_prunable, magnitude_mask, risen_share
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


def train(network, pruning, optimizer, steps):
    for step in steps:
        network(torch.arange(7)).square().sum().backward()
        for weight in linear_weights(network):
            assert not weight.grad[weight == 0].any()
        optimizer.step()
        optimizer.zero_grad()
        pruning.apply(step)


def test_pruned_weights_stay_zero_during_training():
    network = model()
    pruning = Pruning(network, 0.5)
    before = [weight.detach().clone() for weight in linear_weights(network)]
    train(network, pruning, torch.optim.AdamW(network.parameters(), lr=0.1, weight_decay=0.1), range(1, 6))
    for weight, old in zip(linear_weights(network), before, strict=True):
        assert torch.equal(weight == 0, old == 0)
        assert (weight[old != 0] != old[old != 0]).all()


def shares(network):
    return [(weight == 0).sum().item() / weight.numel() for weight in linear_weights(network)]


def test_the_cubic_schedule_prunes_more_and_more_until_the_amount():
    assert [risen_share(0.8, progress) for progress in (0, 0.5, 1)] == pytest.approx([0, 0.7, 0.8])
    network = model()
    pruning = Pruning(network, 0.5, rise=25)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01, weight_decay=0.1)
    assert shares(network) == [0, 0]
    for steps, share in ((range(1, 11), 0.392), (range(11, 21), 0.496), (range(21, 26), 0.5), (range(26, 31), 0.5)):
        train(network, pruning, optimizer, steps)
        assert shares(network) == pytest.approx([share, share], abs=0.02)


def test_a_resumed_cubic_schedule_prunes_the_same_weights():
    whole, resumed = model(), model()
    optimizers = [torch.optim.SGD(network.parameters(), lr=0.01) for network in (whole, resumed)]
    pruning = Pruning(whole, 0.5, rise=25)
    train(whole, pruning, optimizers[0], range(1, 31))
    train(resumed, Pruning(resumed, 0.5, rise=25), optimizers[1], range(1, 14))
    continued = model()
    continued.load_state_dict(resumed.state_dict())
    again = Pruning(continued, 0.5, rise=25)
    train(continued, again, torch.optim.SGD(continued.parameters(), lr=0.01), range(14, 31))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), continued.parameters(), strict=True))


def test_an_amount_of_zero_changes_nothing():
    network, whole = model(), model()
    assert Pruning(network, 0.0).weights == Pruning(network, 0.0, rise=5).weights == []
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

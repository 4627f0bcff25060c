import torch

from tests.training.small import model, run
from tests.words import refused


def test_a_loss_that_is_not_finite_raises_with_the_step(features):
    network = model()
    network.qa_outputs.bias.data[0] = torch.nan
    with refused("finite", "step 1", "3.00e-03"):
        run(features, network=network)


def test_the_curve_is_reported_while_training(features):
    reported = []
    run(features, report=lambda result: reported.append((result.steps, len(result.curve), len(result.evaluations))))
    assert reported == [(10, 1, 0), (20, 2, 0), (30, 3, 0), (32, 4, 0)]

from pipeline.training.optimizer import new_optimizer
from tests.training.small import SETTINGS, model


def test_weight_decay_excludes_biases_and_norms():
    groups = new_optimizer(model(), SETTINGS.model_copy(update={"weight_decay": 0.1})).param_groups
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0]
    assert {p.dim() for p in groups[0]["params"]} == {2}
    assert {p.dim() for p in groups[1]["params"]} == {1}

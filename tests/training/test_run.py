import pytest

from pipeline.training.run import Run, has_learned, reason_to_stop
from tests.training.small import SETTINGS, run


def test_the_first_limit_that_is_reached_stops_the_run():
    settings = SETTINGS.model_copy(update={"max_steps": 7, "time_limit_minutes": 1.0})
    assert reason_to_stop(Run(steps=6, seconds=59.0), settings, total=7) is None
    assert reason_to_stop(Run(steps=6, seconds=60.0), settings, total=7) == "time_limit"
    assert reason_to_stop(Run(steps=7, seconds=1.0), settings, total=7) == "max_steps"


@pytest.mark.slow
def test_a_loss_that_does_not_fall_shows_that_nothing_was_learnt(features):
    _, learning = run(features, SETTINGS.model_copy(update={"epochs": 12}))
    assert has_learned(learning)
    assert learning.first_loss == pytest.approx(learning.curve[0]["loss"], rel=0.3)
    _, standing = run(features, SETTINGS.model_copy(update={"learning_rate": 1e-9}))
    assert not has_learned(standing)
    _, short = run(features, SETTINGS.model_copy(update={"learning_rate": 1e-9, "max_steps": 5}))
    assert has_learned(short), "there is nothing to compare with"

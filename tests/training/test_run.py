from pipeline.training.run import Run, reason_to_stop
from tests.training.small import SETTINGS


def test_the_first_limit_that_is_reached_stops_the_run():
    settings = SETTINGS.model_copy(update={"max_steps": 7, "time_limit_minutes": 1.0})
    assert reason_to_stop(Run(steps=6, seconds=59.0), settings, total=7) is None
    assert reason_to_stop(Run(steps=6, seconds=60.0), settings, total=7) == "time_limit"
    assert reason_to_stop(Run(steps=7, seconds=1.0), settings, total=7) == "max_steps"

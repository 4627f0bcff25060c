import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.params import Train
from pipeline.training.plan import Plan
from tests.training.small import SETTINGS, run


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [1.0] * 10),
        ("exponential", [1.0] * 4 + [0.5] * 4 + [0.25] * 2),
        ("linear", [1 / 3, 2 / 3, 1.0, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8]),
    ],
)
def test_schedules(features, schedule, expected):
    settings = Train(
        epochs=3, max_steps=10, batch_size=16, learning_rate=1.0, schedule=schedule, gamma=0.5, warmup_ratio=0.2
    )
    plan = Plan(features, settings, seed=0)
    assert [plan.learning_rate_factor(step) for step in range(plan.steps)] == pytest.approx(expected)


def test_without_shuffling_the_order_is_that_of_the_data_set(features):
    settings = SETTINGS.model_copy(update={"shuffle": False, "epochs": 2})
    assert np.concatenate(list(Plan(features, settings, seed=3).batches(0))).tolist() == [*range(64)] * 2


def test_batch_tokens_limits_the_windows_of_a_step(features):
    settings = SETTINGS.model_copy(update={"batch_tokens": 35})
    plan = Plan(features, settings, seed=0)
    steps = list(plan.batches(0))
    assert {len(step) for step in steps} <= {1, 2, 3} and plan.steps == len(steps)
    assert sorted(np.concatenate(steps[: plan.epoch_ends[0]])) == list(range(64))
    in_order = list(Plan(features, settings.model_copy(update={"shuffle": False}), seed=0).batches(0))
    assert {len(step) for step in in_order} <= {1, 2, 3}


@pytest.mark.parametrize("step", [0, 1, 7, 8, 20])
def test_a_plan_resumes_after_any_step(features, step):
    plan = Plan(features, SETTINGS, seed=3)
    whole, rest = (np.concatenate(list(plan.batches(begin))).tolist() for begin in (0, step))
    assert rest == whole[step * 8 :]


def test_warm_up_over_all_steps_raises(features):
    with pytest.raises(InputError, match=r"warmup_ratio 0\.9 makes 4 of 4 steps warm-up"):
        run(features, SETTINGS.model_copy(update={"schedule": "linear", "warmup_ratio": 0.9, "max_steps": 4}))

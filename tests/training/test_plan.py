from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.params import Train
from pipeline.training.plan import Plan
from tests.training.small import SETTINGS, run, weights
from tests.words import refused


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


@pytest.mark.parametrize("step", [0, 1, 7, 8, 20])
def test_a_plan_resumes_after_any_step(features, step):
    plan = Plan(features, SETTINGS, seed=3)
    whole, rest = ([batch.tolist() for batch in plan.batches(begin)] for begin in (0, step))
    assert rest == whole[step:] and len(whole) == plan.steps


@pytest.mark.parametrize("schedule", ["linear", "exponential"])
@pytest.mark.parametrize("max_steps", [None, 9, 16, 17])
@pytest.mark.parametrize("shuffle", [True, False])
def test_a_plan_is_that_of_counting_every_step_of_every_epoch(features, shuffle, max_steps, schedule):
    changes = {"shuffle": shuffle, "max_steps": max_steps, "schedule": schedule}
    settings = SETTINGS.model_copy(update=changes)
    starts = np.concatenate([[0], np.sort(np.random.default_rng(0).choice(640, 63, replace=False)), [640]])
    plan = Plan(replace(features, starts=starts), settings, seed=3)
    epochs = [list(plan.epoch(epoch)) for epoch in range(4)]
    ends = np.cumsum([len(epoch) for epoch in epochs])
    steps = min(ends[-1], max_steps or ends[-1])
    assert plan.steps == steps
    assert [step for step in range(steps + 1) if step in plan.epoch_ends] == [step for step in ends if step <= steps]
    expected = [batch.tolist() for epoch in epochs for batch in epoch]
    assert [batch.tolist() for batch in plan.batches(0)] == expected
    for step in range(steps):
        if schedule == "exponential":
            factor = settings.gamma ** int(np.searchsorted(ends, step, side="right"))
        else:
            warmup = round(settings.warmup_ratio * int(steps))
            factor = (step + 1) / (warmup + 1) if step < warmup else (int(steps) - step) / (int(steps) - warmup)
        assert plan.learning_rate_factor(step) == factor


@pytest.mark.parametrize("changes", [{}, {"max_steps": 20}, {"shuffle": False}])
def test_a_plan_of_many_epochs_does_not_order_the_windows_of_each(features, monkeypatch, changes):
    ordered = []
    epoch = Plan.epoch
    monkeypatch.setattr(Plan, "epoch", lambda plan, number: ordered.append(number) or epoch(plan, number))
    plan = Plan(features, SETTINGS.model_copy(update={"epochs": 100_000, "schedule": "linear", **changes}), seed=0)
    assert len(ordered) <= 1 and plan.steps >= 20


def test_warm_up_over_all_steps_raises(features):
    with refused("train.warmup_ratio", "0.9", "4 of 4"):
        run(features, SETTINGS.model_copy(update={"schedule": "linear", "warmup_ratio": 0.9, "max_steps": 4}))


@pytest.mark.parametrize("shuffle", [True, False])
def test_a_plan_of_some_windows_is_that_of_their_features_alone(features, shuffle):
    windows = np.flatnonzero(np.arange(64) % 3 > 0)
    starts = np.concatenate([[0], np.sort(np.random.default_rng(0).choice(640, 63, replace=False)), [640]])
    features = replace(features, starts=starts)
    settings = SETTINGS.model_copy(update={"shuffle": shuffle})
    plan, alone = Plan(features, settings, 3, windows), Plan(features.select(windows), settings, 3)
    assert plan.steps == alone.steps == 4 * 6
    expected = [windows[batch].tolist() for batch in alone.batches(0)]
    assert [batch.tolist() for batch in plan.batches(0)] == expected


def test_training_on_some_windows_equals_training_on_their_features_alone(features):
    windows = np.array([3, 5, 8, 9, 20, 41, 42, 43, 60])
    one, _ = run(features, windows=windows)
    other, _ = run(features.select(windows))
    assert torch.equal(weights(one), weights(other))


def test_training_in_blocks_is_said(features, monkeypatch, caplog):
    for module in ("pipeline.models.batching", "pipeline.training.plan", "pipeline.training.loop"):
        monkeypatch.setattr(f"{module}.SHUFFLED_AS_ONE", 63)
    with caplog.at_level("INFO"):
        run(features, SETTINGS.model_copy(update={"epochs": 1}))
    assert "64 windows are more than 63" in caplog.text and "blocks" in caplog.text

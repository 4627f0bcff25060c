import re
import signal
from contextlib import nullcontext

import numpy as np
import pytest
import torch

from pipeline.errors import InputError
from pipeline.models import hardware
from pipeline.models.hardware import BATCH_TOKENS_VARIABLE, run_environment
from pipeline.models.inference import predict
from pipeline.training import loop as training
from pipeline.training.checkpoints import Checkpoint
from pipeline.training.loop import Trainer
from pipeline.training.pruning import Pruning
from tests.training.small import SETTINGS, losses, model, run, weights, without_dropout
from tests.words import mentions, refused


@pytest.mark.slow
def test_the_loss_falls(features):
    _, result = run(features, SETTINGS.model_copy(update={"epochs": 12}))
    assert result.curve[-1]["loss"] < 0.5 * result.curve[0]["loss"]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights_and_another_seed_different_ones(features):
    first, again, other = (weights(run(features, seed=seed)[0]) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_epochs_and_windows_are_counted(features):
    _, result = run(features)
    assert (result.stopped_by, result.steps, result.windows, result.saved_step) == ("epochs", 32, 256, 32)


def test_max_steps_stops_the_run(features):
    _, result = run(features, SETTINGS.model_copy(update={"max_steps": 5}))
    assert (result.stopped_by, result.steps) == ("max_steps", 5)
    assert result.curve[-1]["step"] == 5


def test_a_training_on_a_cpu_gives_freed_memory_back(features, monkeypatch):
    released = []
    monkeypatch.setattr(training, "RELEASE_STEPS", 2)
    monkeypatch.setattr(training, "release_memory", lambda: released.append(None))
    run(features, SETTINGS.model_copy(update={"max_steps": 5}))
    assert len(released) == (2 if hardware.device().type == "cpu" else 0)


def test_the_time_limit_counts_steps_but_not_evaluation(features, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(training.time, "perf_counter", lambda: clock[0])

    def tick():
        clock[0] += 6.0

    def evaluate(_):
        clock[0] += 1000.0
        return {"f1": 0.0}

    settings = SETTINGS.model_copy(update={"time_limit_minutes": 1.0, "evaluate_minutes": 0.25})
    _, result = run(features, settings, evaluate=evaluate, after_step=tick)
    assert (result.stopped_by, result.steps, result.seconds) == ("time_limit", 10, 60.0)
    assert [row["step"] for row in result.evaluations] == [3, 6, 9, 10]
    assert result.curve[-1]["step"] == 10


@pytest.mark.parametrize("schedule", ["linear", "constant"])
def test_a_linear_schedule_that_the_time_limit_cut_off_is_warned_about(features, monkeypatch, capsys, schedule):
    clock = [0.0]
    monkeypatch.setattr(training.time, "perf_counter", lambda: clock[0])
    settings = SETTINGS.model_copy(update={"time_limit_minutes": 0.1, "schedule": schedule})
    _, result = run(features, settings, after_step=lambda: clock.__setitem__(0, clock[0] + 6.0))
    assert (result.stopped_by, result.steps) == ("time_limit", 1)
    warning = r"warning: .*train\.time_limit_minutes .*step 1 .*\d+.* \d+%"
    assert bool(re.search(warning, capsys.readouterr().err)) == (schedule == "linear")


def test_keep_best_ends_with_the_weights_of_the_highest_f1(features):
    scores, seen = iter([10.0, 30.0, 30.0, 20.0]), []

    def evaluate(network):
        seen.append(weights(network))
        return {"f1": next(scores)}

    best, result = run(features, evaluate=evaluate)
    assert result.saved_step == 16
    assert torch.equal(weights(best), seen[1])

    scores, seen = iter([10.0, 30.0, 30.0, 20.0]), []
    last, result = run(features, SETTINGS.model_copy(update={"keep": "last"}), evaluate=evaluate)
    assert result.saved_step == 32
    assert torch.equal(weights(last), seen[-1])


def test_evaluation_does_not_change_training(features):
    with_scores, _ = run(
        features,
        SETTINGS.model_copy(update={"keep": "last"}),
        evaluate=lambda network: {"f1": len(network.eval().name_or_path)},
    )
    assert torch.equal(weights(with_scores), weights(run(features)[0]))


def test_pruned_weights_are_zero_in_the_best_model(features):
    network = model()
    pruning = Pruning(network, 0.3)
    network, _ = run(features, network=network, evaluate=lambda _: {"f1": 1.0}, after_step=lambda: pruning.apply(1))
    for weight in pruning.weights:
        assert (weight == 0).sum() == round(0.3 * weight.numel())


def test_gradient_checkpointing_does_not_change_the_losses(features):
    _, whole = run(features, network=without_dropout())
    network, again = run(
        features, SETTINGS.model_copy(update={"gradient_checkpointing": True}), network=without_dropout()
    )
    assert network.is_activation_checkpointing
    assert losses(again) == pytest.approx(losses(whole), rel=1e-4)


def test_gradient_checkpointing_computes_the_same_dropout_again(features, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(training, "DropoutMode", nullcontext)
        network, whole = run(features)
    assert network.config.hidden_dropout_prob > 0
    _, again = run(features, SETTINGS.model_copy(update={"gradient_checkpointing": True}))
    assert losses(again) == pytest.approx(losses(whole), rel=1e-4)


def test_a_resumed_run_keeps_its_training_time_and_time_limit(features, tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(training.time, "perf_counter", lambda: clock[0])
    steps = []

    def tick():
        clock[0] += 6.0
        steps.append(clock[0])
        if len(steps) == 4:
            raise KeyboardInterrupt

    settings = SETTINGS.model_copy(update={"time_limit_minutes": 1.0, "checkpoint_minutes": 0.1})
    checkpoint = Checkpoint(tmp_path, "run")
    with pytest.raises(KeyboardInterrupt):
        run(features, settings, after_step=tick, checkpoint=checkpoint)
    _, result = run(features, settings, after_step=tick, checkpoint=checkpoint)
    assert (result.stopped_by, result.steps, result.seconds) == ("time_limit", 10, 60.0)
    assert len(steps) == 4 + 7  # the interrupted step is repeated


def test_out_of_memory_names_the_setting_to_lower(features):
    def exhausted(logits, batch):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with refused("memory", "cpu", "step 1", "train.micro_batch_size"):
        Trainer(model(), features, 0, SETTINGS, 0, exhausted).train()


def test_out_of_memory_in_evaluation_names_the_variable_to_lower(features):
    def exhausted(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    def evaluate(network):
        network.forward = exhausted
        return predict(network, features, 0)

    with pytest.raises(InputError, match=rf"memory .*cpu.* {BATCH_TOKENS_VARIABLE} .*\d+"):
        run(features, evaluate=evaluate)


def test_a_run_succeeds_if_its_last_checkpoint_cannot_be_saved(features, tmp_path, capsys):
    class Full(Checkpoint):
        def write(self, *_):
            raise InputError("no space left")

    _, result = run(features, checkpoint=Full(tmp_path, "run"))
    assert (result.stopped_by, result.steps) == ("epochs", 32)
    mentions(capsys.readouterr().err, "warning", "no space left", "checkpoint")


def test_weights_that_are_not_finite_raise(features):
    settings = SETTINGS.model_copy(update={"max_steps": 1, "learning_rate": 1e38})
    with refused("finite", "step 1", "learning_rate"):
        run(features, settings, evaluate=lambda _: {"f1": 1.0})


def test_a_model_without_gradient_checkpointing_raises(features):
    network = model()
    network.supports_gradient_checkpointing = False
    with pytest.raises(InputError, match=r"train\.gradient_checkpointing: "):
        run(features, SETTINGS.model_copy(update={"gradient_checkpointing": True}), network=network)


def test_evaluation_is_in_float32_for_any_training_precision(features):
    seen = []

    def logits_of(network):
        return predict(network, features, 0)[0]

    def evaluate(network):
        seen.append(logits_of(network))
        return {"f1": len(seen)}

    settings = SETTINGS.model_copy(update={"precision": "bfloat16", "max_steps": 3})
    network, _ = run(features, settings, evaluate=evaluate)
    fresh = model().to(network.device)
    fresh.load_state_dict(network.state_dict())
    assert np.array_equal(logits_of(fresh), seen[-1])
    assert not torch.equal(
        weights(network), weights(run(features, settings.model_copy(update={"precision": "float32"}))[0])
    )


def test_auto_trains_in_the_faster_precision_and_says_why(features, monkeypatch, capsys):
    settings = SETTINGS.model_copy(update={"max_steps": 3})
    ran = {}
    for speed in (1.0, 2.0):
        monkeypatch.setattr(hardware, "WIDE", 1)
        monkeypatch.setattr(hardware, "has_bfloat16", lambda: False)
        monkeypatch.setattr(hardware, "cpu_bfloat16_speed", lambda speed=speed: speed)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        environment = run_environment(model(), "auto")
        ran[environment["precision"]] = weights(run(features, settings)[0]), capsys.readouterr().out
    for precision, reason in (("float32", "1.0 times"), ("bfloat16", "2.0 times")):
        found, said = ran[precision]
        expected, _ = run(features, settings.model_copy(update={"precision": precision}))
        assert torch.equal(found, weights(expected))
        mentions(said, "training on cpu", f"{precision} (", reason)
    assert not torch.equal(ran["float32"][0], ran["bfloat16"][0])


def test_settings_of_the_launcher_do_not_change_the_steps(features, monkeypatch):
    expected = weights(run(features)[0])
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    assert torch.equal(weights(run(features)[0]), expected)


def test_lost_processes_raise_and_a_checkpoint_is_saved(features, tmp_path, monkeypatch):
    monkeypatch.setattr(training.Accelerator, "num_processes", 2)
    before = signal.getsignal(signal.SIGTERM)

    def lost(logits, batch):
        raise RuntimeError("[gloo/pair.cc] Connection closed by peer\nand a long traceback")

    try:
        with refused("processes", "step 1", "Connection closed by peer", "checkpoint", "step 0"):
            Trainer(model(), features, 0, SETTINGS, 0, lost, checkpoint=Checkpoint(tmp_path, "run")).train()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert Checkpoint(tmp_path, "run").read()[1]["steps"] == 0

    def broken(logits, batch):
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        Trainer(model(), features, 0, SETTINGS, 0, broken).train()

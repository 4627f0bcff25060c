import functools
import signal

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForQuestionAnswering

from pipeline.errors import InputError
from pipeline.models.hardware import BATCH_TOKENS_VARIABLE
from pipeline.models.inference import predict
from pipeline.params import Train
from pipeline.questions.features import Features
from pipeline.training import loop as training
from pipeline.training.checkpoints import Checkpoint
from pipeline.training.loading import StepLoader
from pipeline.training.loop import train
from pipeline.training.losses import span_cross_entropy
from pipeline.training.optimizer import new_optimizer
from pipeline.training.plan import Plan
from pipeline.training.pruning import Pruning
from pipeline.training.run import Run, reason_to_stop

SETTINGS = Train(epochs=4, batch_size=8, learning_rate=3e-3, schedule="constant")


@pytest.fixture
def features():
    """Windows in which the answer is the token 9, at a random place."""
    rng = np.random.default_rng(0)
    n, length = 64, 10
    ids = rng.integers(10, 30, (n, length)).astype(np.int32)
    ids[:, 0] = 2
    answers = rng.integers(3, length, n)
    ids[np.arange(n), answers] = 9
    return Features(
        starts=np.arange(n + 1, dtype=np.int64) * length,
        input_ids=ids.ravel(),
        token_type_ids=np.zeros(n * length, np.uint8),
        offset_mapping=np.zeros((n * length, 2), np.int32),
        context=np.tile(np.array([3, length], np.int32), (n, 1)),
        labels=np.stack([answers, answers], axis=1).astype(np.int32),
        record=np.arange(n, dtype=np.int32),
        keys=np.zeros((n, 16), np.uint8),
    )


def model():
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "num_hidden_layers": 1}
    return BertForQuestionAnswering(BertConfig(vocab_size=30, **sizes))


def without_dropout():
    network = model()
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    for layer in network.bert.encoder.layer:
        layer.attention.self.attention_dropout = 0.0
        layer.attention.self.dropout.p = 0.0
    return network


def loss(logits, batch):
    return {"loss": span_cross_entropy(logits, batch.labels, batch.answer_mask).mean()}


def run(features, settings=SETTINGS, seed=0, network=None, **more):
    network = network or model()
    return network, train(network, features, 0, settings, seed, loss, **more)


def weights(network):
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


def test_the_loss_falls(features):
    _, result = run(features, SETTINGS.model_copy(update={"epochs": 12}))
    assert result.curve[-1]["loss"] < 0.5 * result.curve[0]["loss"]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(features):
    first, again, other = (weights(run(features, seed=seed)[0]) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_epochs_and_windows_are_counted(features):
    _, result = run(features)
    assert (result.stopped_by, result.steps, result.windows, result.saved_step) == ("epochs", 32, 256, 32)


def test_max_steps_ends_the_run(features):
    _, result = run(features, SETTINGS.model_copy(update={"max_steps": 5}))
    assert (result.stopped_by, result.steps) == ("max_steps", 5)
    assert result.curve[-1]["step"] == 5


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


def test_best_keeps_the_weights_of_the_highest_f1(features):
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


def test_evaluation_does_not_change_the_training(features):
    with_scores, _ = run(
        features,
        SETTINGS.model_copy(update={"keep": "last"}),
        evaluate=lambda network: {"f1": len(network.eval().name_or_path)},
    )
    assert torch.equal(weights(with_scores), weights(run(features)[0]))


def test_pruned_weights_are_zero_in_what_is_kept(features):
    network = model()
    pruning = Pruning(network, 0.3)
    network, _ = run(features, network=network, evaluate=lambda _: {"f1": 1.0}, after_step=pruning.apply)
    for weight, mask in pruning.masks:
        assert not weight[~mask].any()
        assert (~mask).sum() == round(0.3 * weight.numel())


def test_a_loss_that_is_not_finite_stops_and_says_the_step(features):
    network = model()
    network.qa_outputs.bias.data[0] = torch.nan
    with pytest.raises(InputError, match=r"not finite at step 1, learning rate 3\.00e-03"):
        run(features, network=network)


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
    assert [plan.rate(step) for step in range(plan.steps)] == pytest.approx(expected)


def test_weight_decay_spares_biases_and_norms():
    groups = new_optimizer(model(), SETTINGS.model_copy(update={"weight_decay": 0.1})).param_groups
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0]
    assert {p.dim() for p in groups[0]["params"]} == {2}
    assert {p.dim() for p in groups[1]["params"]} == {1}


def test_the_order_is_the_data_sets_without_shuffling(features):
    settings = SETTINGS.model_copy(update={"shuffle": False, "epochs": 2})
    assert np.concatenate(list(Plan(features, settings, seed=3).batches(0))).tolist() == [*range(64)] * 2


def test_whichever_limit_comes_first_ends_the_run():
    settings = SETTINGS.model_copy(update={"max_steps": 7, "time_limit_minutes": 1.0})
    assert reason_to_stop(Run(steps=6, seconds=59.0), settings, total=7) is None
    assert reason_to_stop(Run(steps=6, seconds=60.0), settings, total=7) == "time_limit"
    assert reason_to_stop(Run(steps=7, seconds=1.0), settings, total=7) == "max_steps"


def losses(result):
    """Not the weights: Adam makes whole steps of gradients that are zero but for rounding."""
    return [row["loss"] for row in result.curve]


def test_micro_batches_add_up_to_the_step(features):
    _, whole = run(features, SETTINGS.model_copy(update={"batch_size": 7}), network=without_dropout())
    settings = SETTINGS.model_copy(update={"batch_size": 7, "micro_batch_size": 3})
    _, parts = run(features, settings, network=without_dropout())
    assert losses(parts) == pytest.approx(losses(whole), rel=1e-4)
    assert parts.windows == whole.windows


def test_a_cpu_takes_a_step_in_parts_that_suit_it(features, monkeypatch):
    _, whole = run(features, network=without_dropout())
    monkeypatch.setenv(BATCH_TOKENS_VARIABLE, "35")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    seen = []

    def noted(logits, batch):
        seen.append(len(batch.indices))
        return loss(logits, batch)

    result = train(without_dropout(), features, 0, SETTINGS, 0, noted)
    assert seen == [3, 3, 2] * result.steps
    assert losses(result) == pytest.approx(losses(whole), rel=1e-4)


def test_gradient_checkpointing_changes_memory_and_not_the_steps(features):
    _, whole = run(features, network=without_dropout())
    network, again = run(
        features, SETTINGS.model_copy(update={"gradient_checkpointing": True}), network=without_dropout()
    )
    assert network.is_activation_checkpointing
    assert losses(again) == pytest.approx(losses(whole), rel=1e-4)


def test_a_compiled_model_takes_the_same_steps(features, monkeypatch):
    plain, expected = run(features, network=without_dropout())
    compile = functools.partial(torch.compile, backend="eager")  # code generation takes half a minute
    monkeypatch.setattr(torch, "compile", compile)
    network, result = run(features, SETTINGS.model_copy(update={"compile": True}), network=without_dropout())
    assert losses(result) == pytest.approx(losses(expected), rel=1e-4)
    assert list(network.state_dict()) == list(plain.state_dict())


def test_a_budget_of_tokens_bounds_a_step(features):
    settings = SETTINGS.model_copy(update={"batch_tokens": 35})
    plan = Plan(features, settings, seed=0)
    steps = list(plan.batches(0))
    assert {len(step) for step in steps} <= {1, 2, 3} and plan.steps == len(steps)
    assert sorted(np.concatenate(steps[: plan.ends[0]])) == list(range(64))
    in_order = list(Plan(features, settings.model_copy(update={"shuffle": False}), seed=0).batches(0))
    assert {len(step) for step in in_order} <= {1, 2, 3}


@pytest.mark.parametrize("step", [0, 1, 7, 8, 20])
def test_a_plan_goes_on_after_any_step(features, step):
    plan = Plan(features, SETTINGS, seed=3)
    whole, rest = (np.concatenate(list(plan.batches(begin))).tolist() for begin in (0, step))
    assert rest == whole[step * 8 :]


def test_the_time_limit_and_the_clock_survive_a_resume(features, tmp_path, monkeypatch):
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
    assert len(steps) == 4 + 7  # the fourth step was not whole


def test_the_curve_is_told_while_training(features):
    told = []
    run(features, report=lambda result: told.append((result.steps, len(result.curve), len(result.evaluations))))
    assert told == [(10, 1, 0), (20, 2, 0), (30, 3, 0), (32, 4, 0)]


def test_more_warm_up_than_steps_is_refused(features):
    with pytest.raises(InputError, match=r"warmup_ratio 0\.9 makes 4 of 4 steps warm-up"):
        run(features, SETTINGS.model_copy(update={"schedule": "linear", "warmup_ratio": 0.9, "max_steps": 4}))


def test_out_of_memory_says_which_setting_to_lower(features):
    def exhausted(logits, batch):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(InputError, match=r"out of memory on cpu at step 1; set train\.micro_batch_size"):
        train(model(), features, 0, SETTINGS, 0, exhausted)


def test_out_of_memory_while_scoring_says_which_variable_to_lower(features):
    def exhausted(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    def evaluate(network):
        network.forward = exhausted
        return predict(network, features, 0)

    with pytest.raises(InputError, match=rf"out of memory on cpu; set {BATCH_TOKENS_VARIABLE} below \d+"):
        run(features, evaluate=evaluate)


def test_a_result_that_cannot_be_kept_is_a_result(features, tmp_path, capsys):
    class Full(Checkpoint):
        def write(self, *_):
            raise InputError("no space left")

    _, result = run(features, checkpoint=Full(tmp_path, "run"))
    assert (result.stopped_by, result.steps) == ("epochs", 32)
    assert "warning: no space left; the result is not kept" in capsys.readouterr().err


def test_weights_that_are_not_finite_are_no_result(features):
    settings = SETTINGS.model_copy(update={"max_steps": 1, "learning_rate": 1e38})
    with pytest.raises(InputError, match=r"is not finite after step 1; lower learning_rate"):
        run(features, settings, evaluate=lambda _: {"f1": 1.0})


def test_a_model_that_cannot_compute_activations_again_is_refused(features):
    network = model()
    network.supports_gradient_checkpointing = False
    with pytest.raises(InputError, match=r"train\.gradient_checkpointing: "):
        run(features, SETTINGS.model_copy(update={"gradient_checkpointing": True}), network=network)


def test_scores_are_of_the_float32_model_whatever_the_training_is_in(features):
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


def test_a_launchers_settings_do_not_change_the_steps(features, monkeypatch):
    expected = weights(run(features)[0])
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    assert torch.equal(weights(run(features)[0]), expected)


def test_waiting_for_windows_counts_as_training(features, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(training.time, "perf_counter", lambda: clock[0])
    as_usual = StepLoader.prefetched

    def slow(loop, steps):
        for step in as_usual(loop, steps):
            clock[0] += 6.0
            yield step

    monkeypatch.setattr(StepLoader, "prefetched", slow)
    _, result = run(features, SETTINGS.model_copy(update={"time_limit_minutes": 1.0}))
    assert (result.stopped_by, result.steps, result.seconds) == ("time_limit", 10, 60.0)


def test_a_run_whose_processes_lost_each_other_keeps_a_checkpoint_and_says_so(features, tmp_path, monkeypatch):
    monkeypatch.setattr(training.Accelerator, "num_processes", 2)
    before = signal.getsignal(signal.SIGTERM)

    def lost(logits, batch):
        raise RuntimeError("[gloo/pair.cc] Connection closed by peer\nand a long trace")

    expected = r"lost each other at step 1 \(.*Connection closed by peer\); a checkpoint of step 0 is kept"
    try:
        with pytest.raises(InputError, match=expected):
            train(model(), features, 0, SETTINGS, 0, lost, checkpoint=Checkpoint(tmp_path, "run"))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert Checkpoint(tmp_path, "run").read()[1]["steps"] == 0

    def mistaken(logits, batch):
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        train(model(), features, 0, SETTINGS, 0, mistaken)

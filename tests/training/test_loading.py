import numpy as np
import pytest
import torch

from pipeline.models import hardware
from pipeline.models.hardware import BATCH_TOKENS_VARIABLE, batch_tokens, run_environment
from pipeline.training import loop as training
from pipeline.training.loading import StepLoader
from pipeline.training.loop import Trainer
from tests.training.small import SETTINGS, loss, losses, run, without_dropout


@pytest.mark.slow
def test_micro_batches_accumulate_to_the_full_batch(features):
    _, whole = run(features, SETTINGS.model_copy(update={"batch_size": 7}), network=without_dropout())
    settings = SETTINGS.model_copy(update={"batch_size": 7, "micro_batch_size": 3})
    _, parts = run(features, settings, network=without_dropout())
    assert losses(parts) == pytest.approx(losses(whole), rel=1e-4)
    assert parts.windows == whole.windows


@pytest.mark.slow
def test_a_cpu_splits_a_step_by_tokens(features, monkeypatch):
    _, whole = run(features, network=without_dropout())
    monkeypatch.setenv(BATCH_TOKENS_VARIABLE, "35")
    seen = []

    def recorded(logits, batch):
        seen.append(len(batch.indices))
        return loss(logits, batch)

    result = Trainer(without_dropout(), features, 0, SETTINGS, 0, recorded).train()
    assert seen == [2, 2, 2, 2] * result.steps
    assert losses(result) == pytest.approx(losses(whole), rel=1e-4)


def test_with_amx_a_step_in_bfloat16_has_larger_parts(features, monkeypatch):
    monkeypatch.delenv(BATCH_TOKENS_VARIABLE, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    monkeypatch.setattr(hardware, "CPU_ACTIVATIONS", 32 * 8)  # 8 tokens of the widest layer
    monkeypatch.setattr(hardware, "AMX_ACTIVATIONS", 32 * 1000)
    network = without_dropout()
    widest = max(layer.out_features for layer in network.modules() if isinstance(layer, torch.nn.Linear))
    assert widest <= 32
    counts = {}
    for precision in ("float32", "bfloat16"):
        loader = StepLoader(features, 0, None, network, precision)
        counts[precision] = len(loader.micro_batches(np.arange(8)))
        assert run_environment(network, precision)["tokens"] == batch_tokens(network, precision)
    assert counts["bfloat16"] == 2 < counts["float32"]


def test_loading_counts_as_training_time(features, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(training.time, "perf_counter", lambda: clock[0])
    prefetch = StepLoader.prefetch

    def slow(loop, steps):
        for step in prefetch(loop, steps):
            clock[0] += 6.0
            yield step

    monkeypatch.setattr(StepLoader, "prefetch", slow)
    _, result = run(features, SETTINGS.model_copy(update={"time_limit_minutes": 1.0}))
    assert (result.stopped_by, result.steps, result.seconds) == ("time_limit", 10, 60.0)

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from pipeline.models import hardware
from pipeline.models.hardware import (
    BATCH_TOKENS_VARIABLE,
    PRECISION_VARIABLE,
    batch_tokens,
    cpu_threads,
    run_environment,
    teacher_precision,
    training_precision,
    training_threads,
)
from tests.words import refused


def test_a_wide_model_gets_smaller_batches_on_a_cpu(monkeypatch):
    monkeypatch.delenv(BATCH_TOKENS_VARIABLE, raising=False)
    budgets = [batch_tokens(nn.Linear(2, width)) for width in (16, 1536, 4096)]
    assert budgets == [2048, 1024, 384]


@pytest.mark.parametrize(("amx", "expected"), [(True, [2048, 2048, 1536]), (False, [2048, 1024, 384])])
def test_batches_in_bfloat16_are_larger_with_amx(monkeypatch, amx, expected):
    monkeypatch.delenv(BATCH_TOKENS_VARIABLE, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    models = [nn.Linear(2, width) for width in (16, 1536, 4096)]
    assert [batch_tokens(model, "bfloat16") for model in models] == expected
    assert [batch_tokens(model) for model in models] == [2048, 1024, 384]
    assert [batch_tokens(model.to(torch.bfloat16)) for model in models] == expected


@pytest.mark.parametrize("value", ["many", "-5", "1e4", "0"])
def test_batch_tokens_must_be_a_whole_number(model, monkeypatch, value):
    monkeypatch.setenv(BATCH_TOKENS_VARIABLE, value)
    with refused("SPAN_DISTILL_BATCH_TOKENS", f"'{value}'", "whole number"):
        batch_tokens(model)


@pytest.mark.parametrize(
    ("gpu", "cpu_speed", "width", "precision", "reason"),
    [
        (True, 0.0, 16, "bfloat16", "the GPU has it"),
        (False, 2.24, 768, "bfloat16", "this CPU multiplies it 2.2 times as fast as float32"),
        (False, 1.04, 768, "float32", "this CPU multiplies bfloat16 1.0 times as fast"),
        (False, 0.0, 768, "float32", "the CPU has no bfloat16"),
        (False, 2.24, 16, "float32", "the encoder is narrower than 256"),
    ],
)
def test_a_model_is_in_bfloat16_where_that_is_faster(monkeypatch, gpu, cpu_speed, width, precision, reason):
    monkeypatch.delenv(PRECISION_VARIABLE, raising=False)
    monkeypatch.setattr(hardware, "has_bfloat16", lambda: gpu)
    monkeypatch.setattr(hardware, "cpu_bfloat16_speed", lambda: cpu_speed)
    model = SimpleNamespace(config=SimpleNamespace(hidden_size=width, model_type="bert"))
    assert teacher_precision(model) == training_precision(model, "auto") == (precision, reason)
    student = SimpleNamespace(config=SimpleNamespace(encoder_config=model.config))
    assert training_precision(student, "auto") == (precision, reason)


def test_a_training_takes_the_precision_that_is_set(model, monkeypatch):
    monkeypatch.setenv(PRECISION_VARIABLE, "bfloat16")  # of teachers alone
    assert training_precision(model, "float32") == ("float32", "train.precision")
    assert training_precision(model, "auto")[0] == "float32"


def test_the_environment_decides_the_precision(model, monkeypatch):
    for precision in ("float32", "bfloat16"):
        monkeypatch.setenv(PRECISION_VARIABLE, precision)
        assert teacher_precision(model)[0] == precision
    monkeypatch.setenv(PRECISION_VARIABLE, "half")
    with refused("SPAN_DISTILL_PRECISION", "'half'", "float32", "bfloat16"):
        teacher_precision(model)


def test_a_narrow_encoder_is_trained_by_one_thread(model):
    before = torch.get_num_threads()
    with cpu_threads(3):
        assert torch.get_num_threads() == 3
        assert training_threads(model) == 1
        wide = SimpleNamespace(config=SimpleNamespace(hidden_size=256))
        assert training_threads(wide) == 3
    assert torch.get_num_threads() == before


def test_the_scores_of_a_narrow_encoder_do_not_depend_on_the_threads(model):
    runs = []
    for count in (1, 2):
        with cpu_threads(count):
            runs.append(run_environment(model, "auto"))
    assert runs[0] == runs[1] and runs[0]["threads"] == 1

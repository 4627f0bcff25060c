"""The order, size and precision of what a teacher computes."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn
from transformers import BertConfig, BertForQuestionAnswering

from pipeline.errors import InputError
from pipeline.models import encoders, hardware, inference
from pipeline.models.hardware import BATCH_TOKENS_VARIABLE, PRECISION_VARIABLE, batch_tokens, teacher_precision


@pytest.fixture
def model():
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "num_hidden_layers": 2}
    return BertForQuestionAnswering(BertConfig(vocab_size=200, initializer_range=0.3, **sizes))


@pytest.mark.parametrize("budget", ["20", "60", "100000"])
def test_logits_do_not_depend_on_how_windows_are_batched(model, features, monkeypatch, budget):
    together = inference.predict(model, features, pad_token_id=0)
    monkeypatch.setenv(BATCH_TOKENS_VARIABLE, budget)
    order = np.random.default_rng(0).permutation(len(features))
    start, end = inference.predict(model, features, 0, order)
    tokens = features.places(order)
    np.testing.assert_allclose(start, together[0][tokens], atol=1e-5)
    np.testing.assert_allclose(end, together[1][tokens], atol=1e-5)


def test_progress_is_told_of_every_window_and_every_token_with_its_padding(model, features, monkeypatch):
    monkeypatch.setenv(BATCH_TOKENS_VARIABLE, "60")
    told = []
    inference.predict(model, features, 0, progress=lambda windows, tokens: told.append((windows, tokens)))
    windows, tokens = np.array(told).T
    assert len(told) > 2 and windows.sum() == len(features)
    assert (tokens <= 60).all() and tokens.sum() >= features.lengths.sum()
    assert tokens[0] == windows[0] * features.lengths.max()


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def threads_of_a_new_thread():
    with ThreadPoolExecutor(1) as fresh:
        return fresh.submit(torch.get_num_threads).result()


def test_logits_are_the_same_to_the_bit_whatever_the_number_of_threads(model, features, monkeypatch, threads):
    monkeypatch.setenv(BATCH_TOKENS_VARIABLE, "60")
    threads(1)
    alone = inference.predict(model, features, 0)
    threads(3)
    told = []
    several = inference.predict(model, features, 0, progress=lambda windows, tokens: told.append(windows))
    assert np.array_equal(alone, several) and sum(told) == len(features)
    assert threads_of_a_new_thread() == 3


def test_a_thread_that_fails_ends_the_computing(model, features, monkeypatch, threads):
    monkeypatch.setenv(BATCH_TOKENS_VARIABLE, "60")
    threads(2)

    def exhausted(*_, **__):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")

    model.forward = exhausted
    with pytest.raises(InputError, match=f"out of memory on cpu; set {BATCH_TOKENS_VARIABLE} below 60"):
        inference.predict(model, features, 0)
    assert threads_of_a_new_thread() == 2


def test_in_bfloat16_the_output_layer_stays_float32(model, features, monkeypatch):
    exact, _ = inference.predict(model, features, 0)
    seen = {}
    model.qa_outputs.register_forward_hook(lambda _, inputs, output: seen.update(input=inputs[0], output=output))
    encoders.bfloat16_encoder(model)
    rough, _ = inference.predict(model, features, 0)
    assert {weight.dtype for weight in model.base_model.parameters()} == {torch.bfloat16}
    assert model.qa_outputs.weight.dtype == seen["input"].dtype == seen["output"].dtype == torch.float32
    assert model.dtype == torch.bfloat16  # which is what the shard says of itself
    assert 0 < np.abs(rough - exact).max() < 0.1 * np.abs(exact).max()
    assert not np.array_equal(rough, torch.from_numpy(rough).bfloat16().float().numpy())


def test_a_wide_model_gets_smaller_batches_on_a_cpu(monkeypatch):
    monkeypatch.delenv(BATCH_TOKENS_VARIABLE, raising=False)
    budgets = [batch_tokens(nn.Linear(2, width)) for width in (16, 1536, 4096)]
    assert budgets == [2048, 1024, 384]


@pytest.mark.parametrize("said", ["many", "-5", "1e4", "0"])
def test_a_budget_that_is_no_number_is_refused(model, monkeypatch, said):
    monkeypatch.setenv(BATCH_TOKENS_VARIABLE, said)
    with pytest.raises(InputError, match=f"SPAN_DISTILL_BATCH_TOKENS is '{said}'; it must be a whole number"):
        batch_tokens(model)


def test_the_precision_is_what_the_environment_says_or_what_the_device_has(monkeypatch):
    monkeypatch.delenv(PRECISION_VARIABLE, raising=False)
    for there, precision in ((False, "float32"), (True, "bfloat16")):
        monkeypatch.setattr(hardware, "has_bfloat16", lambda there=there: there)
        assert teacher_precision() == precision
    monkeypatch.setenv(PRECISION_VARIABLE, "float32")
    assert teacher_precision() == "float32"
    monkeypatch.setenv(PRECISION_VARIABLE, "half")
    with pytest.raises(InputError, match="SPAN_DISTILL_PRECISION is 'half'; it may be float32 or bfloat16"):
        teacher_precision()

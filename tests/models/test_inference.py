from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForQuestionAnswering, RobertaConfig, RobertaForQuestionAnswering

from pipeline.errors import InputError
from pipeline.models import encoders, inference
from pipeline.models.hardware import BATCH_TOKENS_VARIABLE
from tests.words import refused


@pytest.mark.parametrize("budget", ["20", "60", "100000"])
def test_logits_do_not_depend_on_the_batch(model, features, monkeypatch, budget):
    together = inference.predict(model, features, pad_token_id=0)
    monkeypatch.setenv(BATCH_TOKENS_VARIABLE, budget)
    order = np.random.default_rng(0).permutation(len(features))
    start, end = inference.predict(model, features, 0, order)
    tokens = features.token_indices(order)
    np.testing.assert_allclose(start, together[0][tokens], atol=1e-5)
    np.testing.assert_allclose(end, together[1][tokens], atol=1e-5)


def test_progress_counts_every_window_and_every_token_with_padding(model, features, monkeypatch):
    monkeypatch.setenv(BATCH_TOKENS_VARIABLE, "60")
    reported = []
    inference.predict(model, features, 0, progress=lambda windows, tokens: reported.append((windows, tokens)))
    windows, tokens = np.array(reported).T
    assert len(reported) > 2 and windows.sum() == len(features)
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


def test_logits_are_bitwise_equal_for_any_number_of_threads(model, features, monkeypatch, threads):
    monkeypatch.setenv(BATCH_TOKENS_VARIABLE, "60")
    threads(1)
    alone = inference.predict(model, features, 0)
    threads(3)
    reported = []
    several = inference.predict(model, features, 0, progress=lambda windows, tokens: reported.append(windows))
    assert np.array_equal(alone, several) and sum(reported) == len(features)
    assert threads_of_a_new_thread() == 3


def test_an_error_in_a_thread_is_raised(model, features, monkeypatch, threads):
    monkeypatch.setenv(BATCH_TOKENS_VARIABLE, "60")
    threads(2)

    def exhausted(*_, **__):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")

    model.forward = exhausted
    with refused("memory", "cpu", BATCH_TOKENS_VARIABLE, "60"):
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
    assert model.dtype == torch.bfloat16  # the precision that the shard's header records
    assert 0 < np.abs(rough - exact).max() < 0.1 * np.abs(exact).max()
    assert not np.array_equal(rough, torch.from_numpy(rough).bfloat16().float().numpy())


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_windows_that_a_model_cannot_process_raise(features, kind):
    longest, vocabulary = int(features.lengths.max()), int(features.input_ids.max()) + 1
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "num_hidden_layers": 1}

    def model(positions=longest, vocab_size=vocabulary):
        if kind == "bert":
            return BertForQuestionAnswering(
                BertConfig(vocab_size=vocab_size, max_position_embeddings=positions, **sizes)
            )
        # RoBERTa's positions start after the padding id
        config = RobertaConfig(vocab_size=vocab_size, max_position_embeddings=positions + 2, pad_token_id=1, **sizes)
        return RobertaForQuestionAnswering(config)

    names = [f"q{i}" for i in range(len(features))]
    inference.check_windows(model(), features, names, 0)
    with refused(names[features.lengths.argmax()], f"{longest} tokens", longest - 1, "tokenize.max_length"):
        inference.check_windows(model(positions=longest - 1), features, names, 0)
    with pytest.raises(InputError, match=f"token {vocabulary - 1}\\b.* vocabulary .*\\b{vocabulary - 1}\\b"):
        inference.check_windows(model(vocab_size=vocabulary - 1), features, names, 0)

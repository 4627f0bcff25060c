import numpy as np
import torch
from transformers import DataCollatorWithFlattening

from benchmarks import packing
from pipeline.models import encoders, inference
from tests.tiny import TINY


def test_packed_windows_have_the_same_logits_as_padded_batches(features):
    model = encoders.new_qa_model(TINY["teacher"]["config"], vocab_size=200, seed=0)
    indices = np.random.default_rng(0).permutation(len(features))
    padded = inference.predict(model, features, 0, indices)
    for budget in (20, 60, 10000):
        packed = packing.predict(model, features, indices, budget)
        for one, other in zip(padded, packed, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)


def test_packs_respect_the_budget_and_contain_every_window():
    lengths = np.array([5, 3, 9, 12, 4, 4, 1])
    parts = packing.packs(lengths, 10)
    assert np.concatenate(parts).tolist() == list(range(7))
    assert [lengths[part].sum() for part in parts] == [8, 9, 12, 9]


def test_a_pack_is_given_to_the_model_as_transformers_flattens_a_batch(features):
    model = encoders.new_qa_model(TINY["teacher"]["config"], vocab_size=200, seed=0)
    calls = []
    model.register_forward_pre_hook(lambda _, __, inputs: calls.append(inputs), with_kwargs=True)
    indices = np.arange(len(features))
    packing.predict(model, features, indices, 10000)
    windows = [{"input_ids": features.input_ids[features.token_indices(indices[i : i + 1])]} for i in indices]
    flattened = DataCollatorWithFlattening(return_flash_attn_kwargs=True)(windows)
    assert len(calls) == 1
    for name in ("input_ids", "position_ids", "cu_seq_lens_q", "cu_seq_lens_k"):
        assert torch.equal(calls[0][name], flattened[name]), name
    assert calls[0]["max_length_q"] == calls[0]["max_length_k"] == flattened["max_length_q"]

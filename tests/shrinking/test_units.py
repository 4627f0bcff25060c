"""For every architecture: an encoder with all units, or some of them, computes what the original with a mask does."""

import json

import numpy as np
import pytest
import torch
from transformers import AutoModel

from pipeline.models.batching import pad
from pipeline.models.inference import model_inputs
from pipeline.shrinking.units import FEED_FORWARD, feed_forward, keep_units, output_layers, width
from tests.models import architectures
from tests.models.architectures import PAD
from tests.words import refused

UNITS = 64
KEPT = [torch.tensor([0, 3, 4, 9, 20, 33, 62]), torch.tensor([1, 2, 7, 31, 40, 41, 63])]


def encoder_of(model_type):
    key = feed_forward(architectures.config(model_type)).width
    return architectures.model(model_type, **{key: UNITS}).base_model


@torch.inference_mode()
def hidden_states(encoder):
    features = architectures.windows(encoder.config.model_type, [28, 7, 19])
    batch = pad(features, np.arange(len(features)), PAD)
    return encoder.eval()(**model_inputs(encoder, batch))[0][batch.attention_mask.bool()]


@pytest.mark.parametrize("model_type", sorted(FEED_FORWARD))
def test_with_all_units_it_is_the_original(model_type):
    encoder = encoder_of(model_type)
    assert width(encoder) == UNITS
    whole = keep_units(encoder, [torch.arange(UNITS)] * 2)
    torch.testing.assert_close(hidden_states(whole), hidden_states(encoder), rtol=0, atol=0)


@pytest.mark.parametrize("model_type", sorted(FEED_FORWARD))
def test_with_some_units_it_is_the_original_with_the_others_masked_and_loads_in_transformers(model_type, tmp_path):
    encoder = encoder_of(model_type)
    keep_units(encoder, KEPT).save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved[FEED_FORWARD[model_type].width] == 7 and saved["model_type"] == model_type
    loaded, info = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["unexpected_keys"] and not info["mismatched_keys"]
    assert not [name for name in info["missing_keys"] if "pooler" not in name]
    whole = hidden_states(encoder)
    for layer, units in zip(output_layers(encoder), KEPT, strict=True):
        mask = torch.zeros(UNITS).index_fill(0, units, 1)
        layer.register_forward_pre_hook(lambda _, inputs, mask=mask: inputs[0] * mask)
    masked = hidden_states(encoder)
    torch.testing.assert_close(hidden_states(loaded), masked, rtol=1e-5, atol=1e-5)
    assert (masked - whole).abs().max() > 0.01


def test_an_architecture_without_support_is_refused_by_name():
    with refused("shrink.intermediate_size", "albert", "bert", "modernbert"):
        width(architectures.model("albert").base_model)

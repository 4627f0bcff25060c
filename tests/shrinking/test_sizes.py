import pytest
import torch
from transformers import BertConfig

from pipeline.shrinking.sizes import Size, choose, kept_share, models, sizes

CONFIG = BertConfig(hidden_size=16, num_attention_heads=2, num_hidden_layers=4, intermediate_size=128, vocab_size=20)
# a layer takes 1 for its attention and 2 for 128 units
LATENCIES = {size: size.layers * (1 + 2 * size.units / 128) for size in sizes(CONFIG, False)}


def test_sizes_are_multiples_of_32_up_to_the_encoders_own():
    assert sizes(CONFIG, False)[0] == Size(4, 128)
    assert {size.units for size in sizes(CONFIG, False)} == {128, 96, 64, 32}
    assert {size.layers for size in sizes(CONFIG, False)} == {1, 2, 3, 4}
    assert {size.layers for size in sizes(CONFIG, True)} == {4}
    deep = BertConfig(num_hidden_layers=24, intermediate_size=4096)
    assert sorted({size.layers for size in sizes(deep, False)}) == [1, 6, 10, 15, 19, 24]


def test_the_models_have_the_sizes():
    for size, model in models(CONFIG, sizes(CONFIG, False)):
        assert len(model.bert.encoder.layer) == size.layers
        assert model.bert.encoder.layer[0].intermediate.dense.out_features == size.units
        assert model(torch.arange(6)[None]).start_logits.shape == (1, 6)


def test_without_scores_layers_come_before_units_down_to_half_of_them():
    assert choose(LATENCIES, 1.4, None) == Size(4, 64)  # 12 -> 8
    assert choose(LATENCIES, 2, None) == Size(3, 64)  # 6; 2 layers of 128 are 6 too
    assert choose(LATENCIES, 7.9, None) == Size(1, 32)
    assert choose(LATENCIES, 9, None) is None


def test_the_share_kept_is_of_the_best_units_of_the_first_layers():
    scores = torch.tensor([[1.0, 4.0, 2.0], [0.0, 3.0, 0.0]])
    assert kept_share(scores, Size(2, 3)) == 1
    assert kept_share(scores, Size(2, 1)) == pytest.approx(7 / 10)
    assert kept_share(scores, Size(1, 2)) == pytest.approx(6 / 10)


def test_with_scores_more_than_half_of_the_layers_stay_and_then_most_of_the_scores():
    scores = torch.ones(4, 128)
    scores[2:] = 0.001
    assert choose(LATENCIES, 2, scores) == Size(3, 64)  # 2 layers of 128 units keep twice as much
    assert choose(LATENCIES, 4, scores) == Size(1, 128)  # no size of 3 layers is fast enough
    scores = torch.ones(4, 128)
    scores[:, 32:] = 0.001
    assert choose(LATENCIES, 2, scores) == Size(4, 32)

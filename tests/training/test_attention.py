import pytest
import torch
from transformers import (
    BertConfig,
    BertForQuestionAnswering,
    DistilBertConfig,
    DistilBertForQuestionAnswering,
    FalconConfig,
    FalconForQuestionAnswering,
)

from pipeline.models.architectures import encoder_config
from pipeline.models.student import Student
from pipeline.training.attention import attention, training_attention
from pipeline.training.dropout import with_dropout
from tests.words import mentions

SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
IDS = torch.arange(4, 16)[None]


def models():
    bert = BertForQuestionAnswering(BertConfig(vocab_size=20, **SIZES))
    config = DistilBertConfig(vocab_size=20, dim=16, n_layers=1, n_heads=2, hidden_dim=16)
    distilbert = DistilBertForQuestionAnswering(config)
    return [bert, distilbert, Student.from_encoder(distilbert.base_model, "linear", seed=0)]


@pytest.mark.parametrize("number", range(3))
def test_a_cpu_takes_the_faster_attention_and_says_why(number):
    model = models()[number]
    for precision, reason in (("bfloat16", "bfloat16"), ("float32", "dropout of 0.1")):
        faster, why = training_attention(model, precision)
        assert faster == "eager"
        mentions(why, "CPU", reason)
    assert training_attention(with_dropout(model, None, 0.0), "float32") == ("sdpa", "")


def test_another_device_or_implementation_keeps_its_attention():
    model = models()[0]
    with torch.device("meta"):
        elsewhere = BertForQuestionAnswering(model.config)
    assert training_attention(elsewhere, "bfloat16") == ("sdpa", "")
    model.set_attn_implementation("eager")
    assert training_attention(model, "bfloat16") == ("eager", "")


def test_an_attention_that_transformers_cannot_change_is_the_one_that_is_named():
    sizes = {"vocab_size": 20, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = FalconForQuestionAnswering(FalconConfig(**sizes))
    assert training_attention(model, "bfloat16")[0] == model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("number", range(3))
def test_attention_changes_within_the_block_alone_and_computes_the_same(number):
    model = models()[number].eval()
    inputs = {"input_ids": IDS, "attention_mask": torch.ones_like(IDS)}
    expected = model(**inputs).start_logits
    with pytest.raises(KeyboardInterrupt), attention(model, "eager"):
        encoders = [module for module in model.modules() if hasattr(module, "config")]
        assert {encoder_config(module)._attn_implementation for module in encoders} == {"eager"}
        torch.testing.assert_close(model(**inputs).start_logits, expected)
        raise KeyboardInterrupt
    assert {encoder_config(module)._attn_implementation for module in encoders} == {"sdpa"}

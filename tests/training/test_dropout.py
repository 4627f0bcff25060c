import pytest
import torch
from torch.profiler import profile
from transformers import (
    BartConfig,
    BartForQuestionAnswering,
    BertConfig,
    BertForQuestionAnswering,
    DistilBertConfig,
    DistilBertForQuestionAnswering,
    FNetConfig,
    FNetForQuestionAnswering,
    FunnelConfig,
    FunnelForQuestionAnswering,
)

from pipeline.models.student import Student
from pipeline.training.dropout import with_dropout
from tests.words import refused

SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
MODELS = {
    "bert": lambda: BertForQuestionAnswering(BertConfig(vocab_size=20, **SIZES)),
    "distilbert": lambda: DistilBertForQuestionAnswering(
        DistilBertConfig(vocab_size=20, dim=16, n_layers=1, n_heads=2, hidden_dim=16)
    ),
    "funnel": lambda: FunnelForQuestionAnswering(
        FunnelConfig(vocab_size=20, d_model=16, n_head=2, d_head=8, d_inner=16, block_sizes=[1], num_decoder_layers=1)
    ),
}
IDS = torch.arange(4, 16)[None]


def logits(model):
    return model(input_ids=IDS, attention_mask=torch.ones_like(IDS)).start_logits


@pytest.mark.parametrize("name", MODELS)
def test_without_dropout_a_training_step_computes_what_evaluation_does(name):
    model = MODELS[name]().train()
    assert not torch.equal(logits(model), logits(model))
    changed = with_dropout(model, 0.0, 0.0).train()
    torch.testing.assert_close(logits(changed), logits(model.eval()))


@pytest.mark.parametrize(("dropout", "attention_dropout"), [(0.0, None), (None, 0.0), (0.5, 0.5)])
def test_each_dropout_is_set_by_itself(dropout, attention_dropout):
    config = with_dropout(MODELS["bert"](), dropout, attention_dropout).config
    assert config.hidden_dropout_prob == (0.1 if dropout is None else dropout)
    assert config.attention_probs_dropout_prob == (0.1 if attention_dropout is None else attention_dropout)


def test_with_null_the_model_is_its_own():
    model = MODELS["bert"]()
    assert with_dropout(model, None, None) is model


def test_a_students_encoder_changes_and_its_head_does_not():
    encoder = MODELS["bert"]().base_model
    student = Student.from_encoder(encoder, "mlp_dropout", seed=0)
    changed = with_dropout(student, 0.0, 0.0)
    assert changed.config.encoder_config.hidden_dropout_prob == 0
    assert changed.head.dropout.p == 0.5
    assert student.config.encoder_config.hidden_dropout_prob == 0.1
    torch.testing.assert_close(logits(changed.eval()), logits(student.eval()))


@pytest.mark.parametrize("own", [0.0, 0.2])
def test_dropout_after_activations_changes_where_the_encoder_has_it(own):
    sizes = {name: 1 for name in ("encoder_layers", "decoder_layers")} | {"d_model": 16, "vocab_size": 20}
    config = BartConfig(**sizes, encoder_attention_heads=2, decoder_attention_heads=2, activation_dropout=own)
    changed = with_dropout(BartForQuestionAnswering(config), 0.1, None).config
    assert (changed.dropout, changed.activation_dropout) == (0.1, 0.1 if own else 0.0)


def fused_attention(model):
    with profile() as profiled:
        logits(model.train()).sum().backward()
    return any("flash_attention_for_cpu" in event.key for event in profiled.key_averages())


def test_without_attention_dropout_a_cpu_uses_fused_attention():
    assert not fused_attention(MODELS["bert"]())
    assert fused_attention(with_dropout(MODELS["bert"](), None, 0.0))


def test_an_encoder_without_attention_dropout_refuses_it():
    model = FNetForQuestionAnswering(FNetConfig(vocab_size=20, **{k: v for k, v in SIZES.items() if "heads" not in k}))
    with refused("train.attention_dropout", "FNetForQuestionAnswering"):
        with_dropout(model, None, 0.0)

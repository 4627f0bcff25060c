"""A small model, and a loss to train it with."""

import torch
from transformers import BertConfig, BertForQuestionAnswering

from pipeline.params import Train
from pipeline.training.loop import Trainer
from pipeline.training.losses import span_cross_entropy

SETTINGS = Train(epochs=4, batch_size=8, learning_rate=3e-3, schedule="constant")


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
    return network, Trainer(network, features, 0, settings, seed, loss, **more).train()


def weights(network):
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


def losses(result):
    """The losses of the curve. Compare these and not weights: Adam amplifies gradients that are zero up to rounding."""
    return [row["loss"] for row in result.curve]

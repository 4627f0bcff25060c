import pytest
import torch
from transformers import BertConfig, BertForQuestionAnswering


@pytest.fixture
def model():
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "num_hidden_layers": 2}
    return BertForQuestionAnswering(BertConfig(vocab_size=200, initializer_range=0.3, **sizes))

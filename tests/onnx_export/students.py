"""Students with random weights, whose logits are some units apart, and a tokenizer for them."""

import torch
from transformers import BertConfig, DistilBertConfig, RobertaConfig

from pipeline.models.encoders import qa_class
from pipeline.models.student import Student
from pipeline.questions import synthetic, tokenization

LONGEST, VOCABULARY = 64, 300
ANSWERING = {
    "max_length": 48,
    "stride": 12,
    "max_answer_length": 30,
    "null_threshold": None,
    "confidence_temperature": 1.5,
}
SIZES = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "num_hidden_layers": 1}
CONFIGS = {
    "embeddings": BertConfig(  # for tests of heads: each layer takes seconds to export
        vocab_size=VOCABULARY, max_position_embeddings=LONGEST, **SIZES | {"num_hidden_layers": 0}
    ),
    "bert": BertConfig(vocab_size=VOCABULARY, max_position_embeddings=LONGEST, **SIZES),
    "distilbert": DistilBertConfig(
        vocab_size=VOCABULARY, max_position_embeddings=LONGEST, dim=16, n_heads=2, hidden_dim=32, n_layers=1
    ),
    "roberta": RobertaConfig(
        vocab_size=VOCABULARY, max_position_embeddings=LONGEST + 2, type_vocab_size=1, pad_token_id=1, **SIZES
    ),
}


def student(head, encoder="bert"):
    """No bias is 0, so that a wrong order of an LSTM's gates shows."""
    torch.manual_seed(0)
    made = Student.from_encoder(qa_class(CONFIGS[encoder])(CONFIGS[encoder]).base_model, head, seed=1).eval()
    made.config.answering = ANSWERING
    with torch.no_grad():
        for name, weights in made.named_parameters():
            if "embeddings" in name or name.startswith("head.output") or "bias" in name:
                weights.normal_(std=0.5)
    return made


def records():
    return list(synthetic.corpus("validation", 40, seed=0))


def tokenizer():
    return tokenization.train((record[key] for record in records() for key in ("context", "question")), VOCABULARY)

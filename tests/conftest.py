"""A few invented records, a tokenizer learnt from them, and their windows. No test reaches the network."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import torch

from pipeline import tokenization
from pipeline.windows import pack, windows

# tiny tensors: a second thread costs more than it does
torch.set_num_threads(1)

TEA = "The café on Oak Lane opened in 1899. Its owner, Zoë Grün, sold tea and 12-inch cakes to the quiet people there."
MILL = "An old mill stands by the river; in winter the mill and the river sleep. Two millers keep it warm."


def _record(identifier, context, question, answer):
    answers = {"text": [answer], "answer_start": [context.index(answer)]}
    return {"id": identifier, "title": "Town", "context": context, "question": question, "answers": answers}


@pytest.fixture
def records():
    return [
        _record("tea-1", TEA, "When did the café open?", "1899"),
        _record("tea-2", TEA, "Who owned the café?", "Zoë Grün"),
        _record("mill-1", MILL, "Where does the old mill stand?", "by the river"),
        _record("mill-2", MILL, "How many millers keep the mill warm?", "Two"),
    ]


@pytest.fixture(scope="session")
def tokenizer():
    questions = "When did it open? Who owned it? Where does it stand? How many?"
    return tokenization.learn([TEA, MILL, questions], vocab_size=200)


@pytest.fixture
def features(records, tokenizer):
    """Several windows a record, of unequal lengths."""
    return pack(windows(records, tokenizer, max_length=26, stride=6))

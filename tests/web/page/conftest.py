import unicodedata
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from pipeline import paths
from pipeline.about import About, Example
from pipeline.answering.answerer import Answerer, Reply
from pipeline.errors import InputError
from pipeline.models.student import Answering, Student
from pipeline.onnx_export.folder import write_export
from pipeline.questions import synthetic
from pipeline.questions.tokenization import train
from pipeline.web.page import runtime
from tests.conftest import MILL, TEA

# what a tokenizer with offsets can get wrong
TRICKY = [
    "",
    " \n\t ",
    "plain words, with punctuation: 12-inch (or 3.5 %)!",
    unicodedata.normalize("NFC", "Zoë Grün naïve ÅNGSTRÖM Ế"),
    unicodedata.normalize("NFD", "Zoë Grün naïve ÅNGSTRÖM Ế"),
    "a\u0323\u0307b \u0301x o\u0307\u0323",  # marks alone, first in a word, in another order
    "İstanbul ISTANBUL \u0131i ẞß ﬁ ΣΑΣ Kelvin Ω",  # lower case of several letters, or of another block
    "emoji 😀👩‍👩‍👧 flags 🇩🇪 skin 👍🏽 keycap 1️⃣",
    "\U0001d518\U0001d52b\U0001d526 𐐀𐐨 𠀀𠀁 surrogate pairs 𒀀𒀁",
    "漢字かな交じり文、中文。 한국어 조선 豈更",  # with compatibility ideographs, which decompose
    "zero\u200bwidth \ufeffmark soft\u00adhyphen joi\u200dner \u2060",
    "no\u00a0break\u2003em\u3000ideographic\u1680ogham\u2028line\u2029paragraph\u202fnarrow",
    "control\x00\x01\x1c\x1f\x7f\x85 tab\tline\r\nend \ufffd",
    "private \ue000\U000f0000 unassigned \u0378\U0003fffe \U000e0041tag",
    "हिन्दी में العَرَبِيَّة עִבְרִית ไทย",
    "[SEP] in the text, [CLS][MASK] [sep] [UNK]x[PAD] [SE P] [[SEP]]",
    "w" * 100 + " " + "w" * 101 + " " + "é" * 101,
    "x\u0301" * 120,
    "“quotes” \u2018\u2019 «» \u2013 — … · ¡¿ § $ + < = > ^ ` | ~ € £ ° © №",
    f"  {TEA}\n\n{MILL}  ",
]


@pytest.fixture(scope="session")
def tricky():
    return TRICKY


@dataclass(frozen=True)
class Exported:
    """An exported student, and what Python answers with it.

    Attributes:
        folder: with both models.
        records: synthetic validation questions.
        replies: to each record, all candidates, best first.
    """

    folder: Path
    records: list
    replies: list[list[Reply]]


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """A small student with random weights, which answers half of the questions with no answer."""
    records = list(synthetic.corpus("validation", 100, 0))
    folder = tmp_path_factory.mktemp("export") / "tiny cnn3"
    tokenizer = train((record["context"] for record in records), vocab_size=300)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.5,
    )
    student = Student.from_encoder(BertModel(config, add_pooling_layer=False), "cnn3", seed=0).eval()
    for weight in student.head.parameters():  # else all logits are nearly equal
        weight.data *= 4
    pairs = [(record["question"], record["context"]) for record in records]
    answerer = Answerer(student, tokenizer, Answering(48, 12, 30, 0.0, 1.5))
    odds = [_null_odds(replies) for replies in answerer.answers(pairs, n_best=21)]
    answerer.settings = replace(answerer.settings, null_threshold=float(np.median(odds)))
    student.config.answering = vars(answerer.settings)
    examples = [Example(record["question"], record["context"], record["answers"]["text"][0]) for record in records[:2]]
    write_export(student, tokenizer, folder, reduce_range=False, about=About("100 questions of x<y.json", examples))
    return Exported(folder, records, answerer.answers(pairs, n_best=21))


def _null_odds(replies):
    none = next(reply for reply in replies if not reply.text)
    return none.score - next(reply for reply in replies if reply.text).score


@pytest.fixture(scope="session")
def engine():
    """The files of onnxruntime-web, from the user's cache or, once, from the network."""
    try:
        return runtime.load(paths.cache() / "page")
    except InputError as error:
        if "checksum" in str(error):
            raise
        pytest.skip(str(error))

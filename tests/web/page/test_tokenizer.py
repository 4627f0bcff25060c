"""The page's tokenizer gives the ids and offsets of the `tokenizers` library."""

import itertools
import json
import random
import unicodedata
from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, models, normalizers
from transformers import BertTokenizer, PreTrainedTokenizerFast

from pipeline.questions.tokenization import train
from pipeline.web.page.tokenizer import CODES, describe
from tests import tiny
from tests.web.page import javascript
from tests.words import refused

pytestmark = pytest.mark.slow

needs_node = pytest.mark.skipif(javascript.NODE is None, reason="no node on this machine")

ENCODE = """const tokenizer = new WordPiece(data.tokenizer);
return data.texts.map((text) => tokenizer.encode(codePoints(text)));"""


def encoded(tokenizer, texts):
    found = javascript.run(ENCODE, {"tokenizer": describe(tokenizer, Path("folder")), "texts": texts})
    return [[(i, (begin, end)) for i, begin, end in zip(*tokens.values(), strict=True)] for tokens in found]


def expected(tokenizer, texts):
    encodings = tokenizer.backend_tokenizer.encode_batch(texts, add_special_tokens=False)
    return [list(zip(encoding.ids, encoding.offsets, strict=True)) for encoding in encodings]


def assert_equal(tokenizer, texts):
    for text, ours, theirs in zip(texts, encoded(tokenizer, texts), expected(tokenizer, texts), strict=True):
        assert ours == theirs, (text, [(a, b) for a, b in itertools.zip_longest(ours, theirs) if a != b][:3])


@needs_node
@pytest.mark.parametrize("known", [True, False], ids=["trained on these texts", "on others"])
def test_tricky_text(tricky, tokenizer, known):
    assert_equal(train(tricky, vocab_size=400) if known else tokenizer, tricky)


@needs_node
@pytest.mark.parametrize("lower, accents, chinese", [(False, None, True), (True, False, False), (False, True, True)])
def test_other_normalizers(tricky, lower, accents, chinese):
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces += sorted({form for text in tricky for c in text for form in (c, f"##{c}", c.lower()) if c.strip()})
    backend = BertTokenizer(
        vocab={piece: i for i, piece in enumerate(dict.fromkeys(pieces))},
        do_lower_case=lower,
        strip_accents=accents,
        tokenize_chinese_chars=chinese,
    ).backend_tokenizer
    options = json.loads(backend.to_str())["normalizer"]
    chosen = {"lowercase": lower, "strip_accents": accents, "handle_chinese_chars": chinese}
    assert options.items() >= chosen.items()
    assert_equal(PreTrainedTokenizerFast(tokenizer_object=backend), tricky)


@needs_node
def test_any_character(tokenizer):
    """A sample of all code points, each in a word, in a word of its own, and beside another.

    Marks stand apart: in another order than the canonical one, offsets may differ by a character of their word.
    """
    chosen = random.Random(0)
    texts = []
    for _ in range(100):
        codes = [*chosen.sample(CODES, 100), *chosen.choices(range(0x3100), k=100)]
        codes = [code for code in codes if not 0xD800 <= code < 0xE000]
        alone = "".join(f"a{chr(code)}e {chr(code)} " for code in codes)
        texts.append(alone + "".join(chr(code) for code in codes if not unicodedata.combining(chr(code))))
    assert_equal(tokenizer, texts)


def check(tokenizer, *words):
    """The page refuses the tokenizer, with these words."""
    with refused("folder/tokenizer.json", *words):
        describe(tokenizer, Path("folder"))


def test_other_tokenizers_are_refused_by_name(tokenizer):
    check(tiny.byte_level(["a text"], 300, trim_offsets=True), "WordPiece", "model", "BPE")
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.normalizer = normalizers.NFC()
    check(PreTrainedTokenizerFast(tokenizer_object=backend), "normalizer", "NFC")
    unigram = Tokenizer(models.Unigram([("<unk>", 0.0), ("a", -1.0)], unk_id=0))
    check(PreTrainedTokenizerFast(tokenizer_object=unigram), "Unigram")


def test_an_added_token_with_rules_of_its_own_is_refused(tokenizer):
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.add_tokens([AddedToken("mill stone", normalized=True)])
    check(PreTrainedTokenizerFast(tokenizer_object=backend), "'mill stone'", "normalized")

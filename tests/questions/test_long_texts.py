"""Tokens and windows of long texts are those of the whole text, for tokenizers of every kind."""

import random

import numpy as np
import pytest
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from pipeline.questions import long_texts, offsets
from pipeline.questions.long_texts import long_windows, pieces, tokenize
from pipeline.questions.squad import NO_ANSWERS
from pipeline.questions.tokenization import train
from pipeline.questions.windows import encode, windows
from tests import tiny
from tests.conftest import MILL, TEA
from tests.words import refused

FRAGMENTS = [
    *"abcdefghijklmnop",
    *"éüßΣσςİıǅ",
    *("the", "mill", "river", "water", "12", "3.5", "1st", "don't", "''tis``", "x" * 120),
    *("漢字", "。", "かな", "한국어", "हिन्दी", "ไทย", "العَرَبِيَّة", "👩‍👩‍👧", "🇩🇪", "𠀀", "\U0001d518"),
    *("e\u0301", "\u0301", "o\u0323\u0307", "ﬁ", "Å", "\u212b", "①", "½", "\ufdfa", "豈"),
    *("\u200b", "\u00ad", "\u200f", "\ufeff", "\u2060", "\u200d", "\ufe0f", "\x00", "\x1c", "\ufffd", "\ue000"),
    *("[SEP]", "[sep]", "<mask>", "<s>", "mill stone", "▁", "▁▁", "Ġ", "##a", "_", "...", "—", "(", ")", '"', "'s"),
]
SPACES = ["\n", "\n\n", "\r\n", "\t", "  ", "   ", " \n ", "\n  ", "\u00a0", "\u3000", "\u2028", "\u2009", " \u200b "]


def nasty(seed, length=1500):
    """Fragments in any order, most of them after a space, some after other white space or nothing."""
    chance = random.Random(seed)
    text = ""
    while len(text) < length:
        text += chance.choice([" ", " ", " ", "\n", "", chance.choice(SPACES)]) + chance.choice(FRAGMENTS)
    return text


TEXTS = [TEA, MILL, *(nasty(seed) for seed in range(20))]


def word_piece():
    return train(TEXTS, vocab_size=600)


def word_piece_without_words():
    """No pre-tokenizer: a text is one word, so no text can be cut."""
    tokenizer = train(TEXTS, vocab_size=600)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([])
    return tokenizer


def byte_level(prefix=False, trim_offsets=True, added=()):
    tokenizer = tiny.byte_level(TEXTS, 500, trim_offsets)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    tokenizer.backend_tokenizer.add_tokens(list(added))
    return tokenizer


def unigram(normalizer, scheme="always", split=True):
    backend = Tokenizer(models.Unigram())
    backend.normalizer = normalizer
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=split)
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    backend.train_from_iterator(
        TEXTS,
        trainers.UnigramTrainer(vocab_size=300, special_tokens=special, unk_token="<unk>", show_progress=False),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, cls_token="<s>", sep_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )


def llama():
    """Marks every text's beginning by a normalizer, and has no words."""
    backend = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=["<unk>"], max_token_length=12, show_progress=False)
    backend.train_from_iterator(TEXTS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")


SPACES_TO_ONE = normalizers.Replace(Regex(" {2,}"), " ")
MASK = AddedToken("<mask>", lstrip=True, normalized=False)
TOKENIZERS = {
    "WordPiece": word_piece,
    "WordPiece without words": word_piece_without_words,
    "byte level": byte_level,
    "byte level, prefix space": lambda: byte_level(prefix=True, trim_offsets=False),
    "byte level, added tokens": lambda: byte_level(
        added=[MASK, AddedToken("mill stone"), AddedToken("river", single_word=True), AddedToken("12", rstrip=True)]
    ),
    "Unigram": lambda: unigram(normalizers.Sequence([normalizers.NFKC(), SPACES_TO_ONE])),
    "Unigram, stripped": lambda: unigram(normalizers.Sequence([normalizers.Strip(), normalizers.NFD(), SPACES_TO_ONE])),
    "Unigram, first": lambda: unigram(normalizers.NFC(), scheme="first"),
    "Unigram over spaces": lambda: unigram(normalizers.NFKC(), split=False),
    "BPE over spaces": llama,
}
CUT = TOKENIZERS.keys() - {"WordPiece without words", "Unigram over spaces", "BPE over spaces"}
QUESTIONS = ["Where does the old mill stand?", " Who\u00a0", "When did the café open, and who owned it in 1899?"]


@pytest.fixture(scope="module", params=TOKENIZERS)
def named(request):
    return request.param, TOKENIZERS[request.param]()


@pytest.fixture
def short_pieces(monkeypatch):
    monkeypatch.setattr(long_texts, "PIECE", 60)
    monkeypatch.setattr(long_texts, "AROUND", 50)


def whole(text, tokenizer):
    (encoding,) = encode([text], tokenizer)
    mapping = np.array(encoding.offsets, dtype=np.int32).reshape(-1, 2)
    return encoding.ids, offsets.complete(mapping, text).tolist()


@pytest.mark.slow
def test_tokens_are_those_of_the_whole_text(named, short_pieces):
    name, tokenizer = named
    cuts = 0
    for seed in range(100):
        text = nasty(seed, length=300)
        found = tokenize(text, lambda texts: encode(texts, tokenizer))
        assert (found.ids.tolist(), found.offsets.tolist()) == whole(text, tokenizer), seed
        cuts += len(list(pieces(text, lambda texts: encode(texts, tokenizer)))) - 1
    assert cuts > 100 if name in CUT else cuts < 100


@pytest.mark.parametrize(("max_length", "stride"), [(64, 0), (64, 20), (100, 40)])
@pytest.mark.parametrize("name", ["WordPiece", "byte level, prefix space"])
def test_windows_are_those_of_the_whole_text(name, max_length, stride, monkeypatch):
    tokenizer = TOKENIZERS[name]()
    contexts = [
        TEA,
        *(nasty(seed, length) for seed, length in enumerate([90, 700, 1500])),
        "\n " * 400,
        MILL,
        "x" * 900,
    ]
    questions = [(question, context) for context in contexts for question in QUESTIONS]
    records = [
        {"id": str(i), "question": question, "context": context, "answers": NO_ANSWERS}
        for i, (question, context) in enumerate(questions)
    ]
    expected = list(windows(records, tokenizer, max_length, stride))
    monkeypatch.setattr(long_texts, "PIECE", 120)
    tokenized = []
    found = list(long_windows(questions, tokenizer, max_length, stride, tokenized.append))
    assert len(found) == len(expected) > 40
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours.record, ours.context, ours.label, ours.key) == (
            theirs.record,
            theirs.context,
            theirs.label,
            theirs.key,
        )
        for values, others in ((ours.offset_mapping, theirs.offset_mapping), (ours.input_ids, theirs.input_ids)):
            assert values.dtype == others.dtype and np.array_equal(values, others)
        assert ours.token_type_ids.dtype == theirs.token_type_ids.dtype
    assert sum(tokenized) == sum(len(context) for context in contexts if len(context) > 120)  # each text once


def test_chinese_is_cut_after_sentences(short_pieces):
    tokenizer, text = word_piece(), "漢字かな豈漢字豈。" * 50
    assert len(list(pieces(text, lambda texts: encode(texts, tokenizer)))) > 5
    found = tokenize(text, lambda texts: encode(texts, tokenizer))
    assert (found.ids.tolist(), found.offsets.tolist()) == whole(text, tokenizer)


def test_a_long_text_can_be_interrupted_after_each_piece(tokenizer, monkeypatch):
    monkeypatch.setattr(long_texts, "PIECE", 1000)
    counts = []

    def stop(count):
        counts.append(count)
        if len(counts) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        next(long_windows([("Who?", TEA * 100)], tokenizer, 64, 20, stop))
    assert len(counts) == 2 and all(1000 <= count < 1000 + len(TEA) for count in counts)


def test_a_question_without_room_for_its_long_context_is_refused(tokenizer, monkeypatch):
    monkeypatch.setattr(long_texts, "PIECE", 100)
    with refused("40 tokens", "question 1: 45", one_line=False):
        list(long_windows([("Who?", TEA), ("who " * 45, TEA)], tokenizer, 64, 20))

"""A part of a vocabulary: the texts that it was made for keep their tokens, others lose no character."""

import json

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from pipeline.questions import tokenization
from pipeline.questions.vocabulary import reduced, used_tokens
from tests import tiny
from tests.words import refused

TEXTS = ["The old mill sleeps", "Two millers keep it"]
OTHER = "An old miller sat"


def wordpiece():
    words = "the old mill ##er ##ers sleep ##s two keep it an sat miller".split()
    letters = sorted(set("".join(words)) - {"#"})
    special = ["[PAD]", "never", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    return tokenization._uncased([*special, *words, *letters, *(f"##{letter}" for letter in letters)])


def unigram():
    words = ["▁the", "▁old", "▁mill", "er", "ers", "▁sleep", "s", "▁two", "▁keep", "▁it", "▁an", "▁sat", "▁miller", "▁"]
    letters = sorted(set("".join(words)) - {"▁", "s"})
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    pieces = [(token, 0.0) for token in special] + [(word, -len(word) / 10) for word in words]
    backend = Tokenizer(models.Unigram([*pieces, *((letter, -9.0) for letter in letters)], unk_id=3))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.add_special_tokens([*special, "<mask>"])
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    names = {f"{name}_token": f"<{name}>" for name in ("pad", "unk", "mask")}
    names |= {"cls_token": "<s>", "sep_token": "</s>"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, model_input_names=["input_ids", "attention_mask"], **names)


@pytest.fixture(params=[wordpiece, unigram], ids=lambda made: made.__name__)
def whole(request):
    return request.param()


def tokens(tokenizer, *texts):
    return tokenizer.convert_ids_to_tokens(tokenizer(*texts)["input_ids"])


def test_the_texts_keep_their_tokens_and_the_ids_are_those_that_are_listed(whole):
    part, kept = reduced(whole, used_tokens(whole, TEXTS))
    assert len(part) == len(kept) < len(whole)
    for pair in (TEXTS, TEXTS[::-1], ["mill", "old"]):
        assert tokens(part, *pair) == tokens(whole, *pair)
        assert [kept[i] for i in part(*pair)["input_ids"]] == whole(*pair)["input_ids"]
    for name in ("cls", "sep", "pad", "unk", "mask"):
        assert kept[getattr(part, f"{name}_token_id")] == getattr(whole, f"{name}_token_id")
    assert part.pad_token_id == whole.pad_token_id


def test_other_texts_are_split_into_shorter_pieces(whole):
    part, _ = reduced(whole, used_tokens(whole, TEXTS))
    assert len(tokens(part, OTHER)) > len(tokens(whole, OTHER))
    assert part.unk_token not in tokens(part, OTHER)
    covered = {i for pair in part(OTHER, return_offsets_mapping=True)["offset_mapping"] for i in range(*pair)}
    assert {OTHER[i] for i in range(len(OTHER)) if i not in covered} <= {" "}


def test_it_is_the_same_after_a_save(whole, tmp_path):
    part, _ = reduced(whole, used_tokens(whole, TEXTS))
    part.save_pretrained(tmp_path)
    loaded = tokenization.load(tmp_path)
    assert tokenization.fingerprint(loaded) == tokenization.fingerprint(part)
    assert loaded(OTHER, TEXTS[0])["input_ids"] == part(OTHER, TEXTS[0])["input_ids"]
    assert json.loads((tmp_path / "tokenizer.json").read_text())["padding"] is None


def test_a_tokenizer_of_merges_is_refused_by_name():
    tokenizer = tiny.byte_level(TEXTS, 300, True)
    with refused("tokenize.student_vocabulary", "BPE", "WordPiece", "Unigram"):
        reduced(tokenizer, set())

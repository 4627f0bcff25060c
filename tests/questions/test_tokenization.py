import pytest
from tokenizers import normalizers, pre_tokenizers, processors

from pipeline.errors import InputError
from pipeline.questions import tokenization

TEXTS = ["The café opened in 1899.", "Zoë sold tea; the café sold cakes."]


def test_the_same_texts_give_the_same_tokenizer():
    first, second = (tokenization.train(TEXTS, vocab_size=100) for _ in range(2))
    assert first.get_vocab() == second.get_vocab()
    assert tokenization.fingerprint(first) == tokenization.fingerprint(second)


def test_a_trained_tokenizer_splits_unknown_words_into_characters():
    tokenizer = tokenization.train(TEXTS, vocab_size=100)
    assert tokenizer.tokenize("Café tea") == ["cafe", "tea"]
    assert tokenizer.tokenize("eat") == ["e", "##a", "##t"]
    assert tokenizer.tokenize("x") == ["[UNK]"]


def test_a_small_vocabulary_has_the_most_frequent_words():
    pieces = tokenization.train(TEXTS, vocab_size=100).get_vocab()
    characters = sum(len(piece.removeprefix("##")) == 1 for piece in pieces)
    small = tokenization.train(TEXTS, vocab_size=characters + 5 + 1).get_vocab()
    assert [piece for piece in small if len(piece.removeprefix("##")) > 1 and piece[0] != "["] == ["cafe"]


def test_a_fingerprint_survives_a_save_and_differs_between_tokenizers(tmp_path):
    tokenizer = tokenization.train(TEXTS, vocab_size=100)
    tokenizer.save_pretrained(tmp_path)
    assert tokenization.fingerprint(tokenization.load(str(tmp_path))) == tokenization.fingerprint(tokenizer)
    assert tokenization.fingerprint(tokenization.train(TEXTS[:1], 100)) != tokenization.fingerprint(tokenizer)


def test_padding_and_truncation_do_not_change_the_fingerprint():
    tokenizer = tokenization.train(TEXTS, vocab_size=100)
    before = tokenization.fingerprint(tokenizer)
    tokenizer(TEXTS, padding=True, truncation=True, max_length=8)
    assert tokenization.fingerprint(tokenizer) == before


@pytest.mark.parametrize(
    "part", ["normaliser", "pre-tokenizer", "special tokens", "added tokens", "template", "segments"]
)
def test_every_part_of_the_definition_changes_the_fingerprint(part):
    other = tokenization.train(TEXTS, vocab_size=100)
    before, parts = tokenization.fingerprint(other), tokenization.definition(other)
    if part == "special tokens":
        other.cls_token = "[MASK]"
    elif part == "added tokens":
        other.add_tokens(["oak lane"])
    elif part == "template":
        other.backend_tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    elif part == "segments":
        other.model_input_names = ["input_ids", "attention_mask"]
    elif part == "normaliser":
        other.backend_tokenizer.normalizer = normalizers.Lowercase()
    else:
        other.backend_tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    assert [name for name, value in tokenization.definition(other).items() if value != parts[name]] == [part]
    assert tokenization.fingerprint(other) != before


def test_a_folder_without_a_tokenizer_raises_with_its_name(tmp_path):
    with pytest.raises(InputError, match=f"cannot load a tokenizer from {tmp_path}"):
        tokenization.load(str(tmp_path))

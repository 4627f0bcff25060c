import pytest
from tokenizers import normalizers, pre_tokenizers, processors

from pipeline.errors import InputError
from pipeline.questions import tokenization

TEXTS = ["The café opened in 1899.", "Zoë sold tea; the café sold cakes."]


def test_the_same_texts_give_the_same_tokenizer():
    first, second = (tokenization.learn(TEXTS, vocab_size=100) for _ in range(2))
    assert first.get_vocab() == second.get_vocab()
    assert tokenization.fingerprint(first) == tokenization.fingerprint(second)


def test_a_learnt_tokenizer_knows_words_and_spells_out_the_rest():
    tokenizer = tokenization.learn(TEXTS, vocab_size=100)
    assert tokenizer.tokenize("Café tea") == ["cafe", "tea"]
    assert tokenizer.tokenize("eat") == ["e", "##a", "##t"]
    assert tokenizer.tokenize("x") == ["[UNK]"]


def test_frequent_words_come_first_when_the_vocabulary_is_small():
    pieces = tokenization.learn(TEXTS, vocab_size=100).get_vocab()
    characters = sum(len(piece.removeprefix("##")) == 1 for piece in pieces)
    small = tokenization.learn(TEXTS, vocab_size=characters + 5 + 1).get_vocab()
    assert [piece for piece in small if len(piece.removeprefix("##")) > 1 and piece[0] != "["] == ["cafe"]


def test_a_fingerprint_survives_a_save_and_tells_tokenizers_apart(tmp_path):
    tokenizer = tokenization.learn(TEXTS, vocab_size=100)
    tokenizer.save_pretrained(tmp_path)
    assert tokenization.fingerprint(tokenization.load(str(tmp_path))) == tokenization.fingerprint(tokenizer)
    assert tokenization.fingerprint(tokenization.learn(TEXTS[:1], 100)) != tokenization.fingerprint(tokenizer)


def test_padding_and_truncation_settings_are_not_part_of_a_tokenizer():
    tokenizer = tokenization.learn(TEXTS, vocab_size=100)
    before = tokenization.fingerprint(tokenizer)
    tokenizer(TEXTS, padding=True, truncation=True, max_length=8)
    assert tokenization.fingerprint(tokenizer) == before


@pytest.mark.parametrize(
    "part", ["normaliser", "pre-tokenizer", "special tokens", "added tokens", "template", "segments"]
)
def test_one_vocabulary_read_in_another_way_is_another_tokenizer(part):
    other = tokenization.learn(TEXTS, vocab_size=100)
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


def test_a_folder_without_a_tokenizer_is_named(tmp_path):
    with pytest.raises(InputError, match=f"no tokenizer in {tmp_path}"):
        tokenization.load(str(tmp_path))

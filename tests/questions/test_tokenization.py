import json

import pytest
from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer, BertConfig

from pipeline.errors import InputError
from pipeline.questions import tokenization
from pipeline.questions.windows import encode
from tests.tiny import byte_level
from tests.words import refused

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


@pytest.fixture
def folder(tmp_path):
    """The three files of a model folder, with the tokenizer of `train`."""
    tokenization.train(TEXTS, vocab_size=100).save_pretrained(tmp_path)
    (tmp_path / "tokenizer_config.json").unlink()
    BertConfig().save_pretrained(tmp_path)
    return tmp_path


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def change_tokenizer(folder, **values):
    """Change parts of tokenizer.json; return the tokenizer that it is."""
    change(folder / "tokenizer.json", **values)
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def test_three_files_are_a_whole_cased_model(folder):
    cased = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None}
    vocabulary = {piece: i for i, piece in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "Café", "cafe"])}
    model = json.loads((folder / "tokenizer.json").read_text())["model"] | {"vocab": vocabulary}
    change_tokenizer(folder, normalizer={**cased, "lowercase": False}, model=model)
    assert AutoTokenizer.from_pretrained(folder).tokenize("Café") == ["cafe"]  # what the library makes of it
    tokenizer = tokenization.load(folder)
    assert tokenizer.tokenize("Café cafe") == ["Café", "cafe"]
    assert tokenization.has_segments(tokenizer) and tokenizer.pad_token_id == 0
    tokenizer.save_pretrained(folder / "saved")
    for load in (tokenization.load, AutoTokenizer.from_pretrained):  # the saved folder is right for everybody
        assert tokenization.fingerprint(load(folder / "saved")) == tokenization.fingerprint(tokenizer)


@pytest.mark.parametrize("with_config", [True, False])
@pytest.mark.parametrize(
    "values",
    [
        {},
        {"normalizer": None},
        {"normalizer": {"type": "NFC"}},
        {"pre_tokenizer": {"type": "Whitespace"}},
        {"post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}},
        {"added_tokens": []},
        {"truncation": {"direction": "Right", "max_length": 5, "strategy": "LongestFirst", "stride": 0}},
    ],
)
def test_the_tokenizer_is_what_tokenizer_json_says(folder, values, with_config):
    if with_config:
        tokenization.train(TEXTS, vocab_size=100).save_pretrained(folder)
    backend = change_tokenizer(folder, **values)
    backend.no_truncation()
    tokenizer = tokenization.load(folder)
    for text in ("The café opened; Zoë sold cakes?", "[SEP] the_cafe [MASK]"):
        assert tokenizer(text)["input_ids"] == backend.encode(text).ids
        assert tokenizer(text, "sold tea")["input_ids"] == backend.encode(text, "sold tea").ids
    tokenizer.save_pretrained(folder / "saved")
    assert tokenization.fingerprint(tokenization.load(folder / "saved")) == tokenization.fingerprint(tokenizer)


def test_tokens_that_the_file_does_not_have_are_not_added(folder):
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    del model["vocab"]["[MASK]"]
    added = [token for token in json.loads((folder / "tokenizer.json").read_text())["added_tokens"] if token["id"] < 4]
    backend = change_tokenizer(folder, model=model, added_tokens=added)
    assert AutoTokenizer.from_pretrained(folder).mask_token_id is not None  # the library adds it
    tokenizer = tokenization.load(folder)
    assert tokenizer.get_vocab() == backend.get_vocab() and tokenizer.mask_token is None


def test_a_folder_without_a_tokenizer_raises_with_its_name(folder):
    for name in ("tokenizer.json", "config.json"):
        (folder / name).unlink()
        with refused(folder, "no tokenizer.json"):
            tokenization.load(folder)


def test_vocabulary_files_need_a_tokenizer_config(folder):
    expected = tokenization.train(TEXTS, vocab_size=100)
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("\n".join(sorted(expected.get_vocab(), key=expected.get_vocab().get)))
    with refused(folder, "no tokenizer.json", "`AutoTokenizer"):
        tokenization.load(folder)
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer", "do_lower_case": true}')
    assert tokenization.fingerprint(tokenization.load(folder)) == tokenization.fingerprint(expected)
    (folder / "vocab.txt").unlink()
    with refused(folder, "no tokenizer.json", "no vocab.txt"):
        tokenization.load(folder)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"cls_token": "[START]"}, "[CLS] first"),
        ({"pad_token": "[NEW]"}, "padding pad_token tokenizer_config.json"),
        ({"cls_token": None}, "[CLS] first"),
        ({"cls_token": "[MASK]"}, "[CLS] first"),
        ({"pad_token": None}, "padding pad_token tokenizer_config.json"),
        ({"tokenizer_class": "CanineTokenizer"}, "fast"),
        ({"tokenizer_class": "LayoutLMv2Tokenizer"}, "tokenize question context"),
        ({"added_tokens_decoder": [1]}, "cannot load tokenizer"),
    ],
)
def test_a_tokenizer_that_windows_cannot_use_is_an_error_in_one_line(folder, values, problem):
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "TokenizersBackend", "pad_token": "[PAD]"} | values)
    )
    with refused(folder, *problem.split()):
        tokenization.load(folder)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"a":' * 100000 + "1" + "}" * 100000])
@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"])
def test_a_damaged_tokenizer_file_is_an_error_in_one_line(folder, name, content):
    (folder / name).write_text(content)
    with pytest.raises(InputError, match=name) as raised:
        tokenization.load(folder)
    assert "\n" not in str(raised.value)


def test_a_chat_template_is_not_saved_with_the_tokenizer(folder):
    templates = [{"name": "../../escaped", "template": "a"}, {"name": "default", "template": "b"}]
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "BertTokenizer", "chat_template": templates})
    )
    tokenization.load(folder).save_pretrained(folder / "saved/tokenizer")
    assert sorted(path.name for path in folder.rglob("*") if path.suffix == ".jinja") == []


@pytest.mark.parametrize(
    ("unk_token", "problem"),
    [(None, "characters unk_token"), ("<u>", "tokenize question")],
)
def test_a_tokenizer_without_an_unknown_token_is_an_error(folder, unk_token, problem):
    vocabulary = {piece: i for i, piece in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b"])}
    model = {"type": "BPE" if unk_token is None else "WordLevel", "vocab": vocabulary, "merges": []}
    change_tokenizer(folder, model=model | {"unk_token": unk_token})
    with refused(folder, *problem.split()):
        tokenization.load(folder)


def test_windows_begin_at_the_left_whatever_the_folder_says(folder):
    right = {"direction": "Left", "max_length": 5, "strategy": "LongestFirst", "stride": 0}
    change_tokenizer(folder, truncation=right)
    assert tokenization.load(folder).truncation_side == "right"


def check_words(tokenizer, texts):
    words = tokenization.Words(tokenizer)
    for text in texts:  # one by one, since they are counted over all calls
        words.add([text], encode([text], tokenizer))
    words.check("the questions")


def test_questions_with_too_many_unknown_words_are_an_error_with_examples():
    tokenizer = tokenization.train(TEXTS, vocab_size=100)
    known = ["the cafe sold tea"] * 20
    check_words(tokenizer, [*known, "the cafe sold 四杯 x"])
    with refused("6 %", "the questions", "'四', 'X'"):
        check_words(tokenizer, [*known, "the X cafe sold 四四四 X"])


def test_a_byte_level_tokenizer_knows_every_word():
    tokenizer = byte_level(TEXTS, 300, trim_offsets=True)
    check_words(tokenizer, ["四杯"])

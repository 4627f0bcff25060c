"""Tokenizers: load one from a hub or a folder, train one on questions, and fingerprint it."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import BertTokenizer, PreTrainedTokenizerFast

from pipeline import pretrained
from pipeline.errors import InputError

TOKENIZER_FILE = "tokenizer.json"
SEGMENT_IDS = "token_type_ids"
# share of the questions' words that may be unknown; of SQuAD's, BERT's vocabulary does not know 3 in 50,000
MAX_UNKNOWN = 0.05
MOST_EXAMPLES = 10_000  # different unknown words that are counted one by one
RARE = "\U00012000"  # a letter of cuneiform


def load(source: str | Path, revision: str | None = None) -> PreTrainedTokenizerFast:
    """Load the fast tokenizer of a model folder or a hub model.

    If the folder has tokenizer.json, the tokenizer is what this file says; transformers 5 rebuilds some parts, such as
    BERT's normalizer, from the defaults of its classes, and invents a vocabulary where there is none.

    Raises:
        InputError: it cannot be loaded, has no fast version, which `offset_mapping` needs, does not put [CLS] first, or
            lacks a padding token or a token for unknown characters.
    """
    folder = pretrained.fetch(source, revision, pretrained.TOKENIZER_FILES)
    path = folder / TOKENIZER_FILE
    tokenizer = _as_in_file(path) if path.exists() else _from_vocabulary(folder)
    tokenizer.truncation_side = "right"
    tokenizer.chat_template = None  # would be saved under a name that the folder chooses
    for key in ("is_local", "local_files_only"):  # would be saved too, and depend on the environment
        tokenizer.init_kwargs.pop(key, None)
    _check(tokenizer, folder)
    return tokenizer


def _as_in_file(path: Path) -> PreTrainedTokenizerFast:
    """The tokenizer that transformers makes of tokenizer.json; if it changed the file's, a plain one as in the file."""
    pretrained.check_file(path)
    try:
        backend = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain exceptions
        raise InputError(f"{path} is damaged: {pretrained.one_line(error)}") from None
    tokenizer = _load_fast(path.parent)
    if _parts(tokenizer.backend_tokenizer) == _parts(backend):
        return tokenizer
    return with_backend(tokenizer, backend)


def with_backend(tokenizer: PreTrainedTokenizerFast, backend: Tokenizer) -> PreTrainedTokenizerFast:
    """A plain tokenizer that is this backend, with the special tokens of another that the backend has too."""
    special = {
        name: token for name, token in tokenizer.special_tokens_map.items() if backend.token_to_id(token) is not None
    }
    exact = PreTrainedTokenizerFast(tokenizer_object=backend, model_input_names=tokenizer.model_input_names, **special)
    exact._tokenizer = backend  # the constructor adds tokens to its copy
    return exact


def _from_vocabulary(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer that transformers makes of vocabulary files and tokenizer_config.json."""
    if not (folder / "tokenizer_config.json").exists():  # it has the casing
        raise InputError(
            f"{folder} has no {TOKENIZER_FILE}; `AutoTokenizer.from_pretrained(...).save_pretrained(FOLDER)` writes it"
        )
    tokenizer = _load_fast(folder)
    for name in set(type(tokenizer).vocab_files_names.values()) - {TOKENIZER_FILE}:
        if not (folder / name).exists():
            raise InputError(f"{folder} has no {TOKENIZER_FILE}, and no {name} to make a tokenizer of")
        pretrained.check_file(folder / name)
    return tokenizer


def _load_fast(folder: Path) -> PreTrainedTokenizerFast:
    tokenizer = pretrained.load_tokenizer(folder)
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise InputError(f"the tokenizer of {folder} has no fast version, which offset_mapping needs")
    return tokenizer


def _parts(backend: Tokenizer) -> dict[str, Any]:
    """The parts of a tokenizer that determine a text's tokens."""
    parts = json.loads(backend.to_str())
    return {name: parts[name] for name in ("model", "normalizer", "pre_tokenizer", "added_tokens", "post_processor")}


def _check(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Check that the tokenizer can make windows, by an example."""
    if tokenizer.pad_token_id is None:
        raise InputError(
            f"the tokenizer of {folder} has no padding token; pad_token in tokenizer_config.json must name one of its "
            "tokens"
        )
    try:
        ids = tokenizer("a", RARE)["input_ids"]
        unknown = tokenizer(RARE, add_special_tokens=False)["input_ids"]
    except Exception as error:  # tokenizers of page layouts, for example, take other arguments
        raise InputError(
            f"the tokenizer of {folder} cannot tokenize a question and a context: {pretrained.one_line(error)}"
        ) from None
    if tokenizer.cls_token_id is None or ids[0] != tokenizer.cls_token_id:
        raise InputError(f"the tokenizer of {folder} does not put [CLS] first; labels need it there")
    if not unknown:
        raise InputError(f"the tokenizer of {folder} drops characters that it does not know; it needs an unk_token")


class Words:
    """Counts the words of texts, and those with a part that the tokenizer does not know."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast):
        self.unknown_id = tokenizer.unk_token_id
        self.total = self.unknown = 0
        self.examples: Counter[str] = Counter()

    def add(self, texts: Iterable[str], encodings: Iterable[Any]) -> None:
        """Count the words of texts, with the tokens of each text."""
        if self.unknown_id is None:
            return
        for text, encoding in zip(texts, encodings, strict=True):
            words, ids = encoding.word_ids, encoding.ids
            self.total += len(set(words))
            if self.unknown_id not in ids:
                continue
            bad = {word for word, token in zip(words, ids, strict=True) if token == self.unknown_id} - {None}
            self.unknown += len(bad)
            if len(self.examples) < MOST_EXAMPLES:
                self.examples.update(text[slice(*encoding.word_to_chars(word))] for word in bad)

    def check(self, where: str) -> None:
        """Check that most of the words are known.

        Args:
            where: the name of the texts, for the error.

        Raises:
            InputError: more than `MAX_UNKNOWN` of the words have an unknown part; the error has examples.
        """
        if self.unknown > MAX_UNKNOWN * self.total:
            examples = ", ".join(repr(word) for word, _ in self.examples.most_common(5))
            raise InputError(
                f"the tokenizer does not know {100 * self.unknown / self.total:.0f} % of the words of {where}, such as "
                f"{examples}; it belongs to another language, or tokenize.vocab_records is too low for a new teacher"
            )


def train(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Train an uncased WordPiece tokenizer like BERT's. Its vocabulary is all characters and the most frequent words.

    A word outside the vocabulary is split into its longest known prefix and single characters. The trainer of
    `tokenizers` is not used: it breaks ties by memory address, so the same texts can give different vocabularies.
    """
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    backend = _uncased(special).backend_tokenizer
    words: Counter[str] = Counter()
    for text in texts:
        normal = backend.normalizer.normalize_str(text)
        words.update(word for word, _ in backend.pre_tokenizer.pre_tokenize_str(normal))
    characters = sorted(set("".join(words)))
    pieces = special + characters + [f"##{character}" for character in characters]
    frequent = sorted((word for word in words if len(word) > 1), key=lambda word: (-words[word], word))
    pieces += frequent[: max(0, vocab_size - len(pieces))]
    return _uncased(pieces)


def _uncased(pieces: list[str]) -> PreTrainedTokenizerFast:
    return BertTokenizer(vocab={piece: i for i, piece in enumerate(pieces)}, do_lower_case=True)


def definition(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """Everything that determines a window's ids: vocabulary, normalizer, pre-tokenizer, special tokens, template."""
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    special = {name: getattr(tokenizer, f"{name}_id") for name in ("cls_token", "sep_token", "pad_token", "unk_token")}
    return {
        "vocabulary": backend["model"],
        "normaliser": backend["normalizer"],
        "pre-tokenizer": backend["pre_tokenizer"],
        "special tokens": special,
        "added tokens": backend["added_tokens"],
        "template": backend["post_processor"],
        "segments": has_segments(tokenizer),
    }


def has_segments(tokenizer: PreTrainedTokenizerFast) -> bool:
    """Whether windows get the segment ids of the tokenizer's template; else they get zeros."""
    return SEGMENT_IDS in tokenizer.model_input_names


def template_segments(tokenizer: PreTrainedTokenizerFast) -> set[int]:
    """The segment ids that the tokenizer's template gives to the tokens of a question and a context."""
    return set(tokenizer.backend_tokenizer.encode("a", RARE).type_ids)


def use_segments(tokenizer: PreTrainedTokenizerFast, count: int) -> None:
    """Make `has_segments` true, also after a save, if the template separates two texts in segments below `count`.

    `model_input_names` does not decide: most classes of transformers 5 leave `token_type_ids` out of it.
    """
    if not has_segments(tokenizer) and 0 < max(template_segments(tokenizer)) < count:
        tokenizer.model_input_names = [*tokenizer.model_input_names, SEGMENT_IDS]
        tokenizer.init_kwargs["model_input_names"] = tokenizer.model_input_names


def fingerprint(tokenizer: PreTrainedTokenizerFast) -> str:
    """Hexadecimal SHA-256 of the tokenizer's definition; tokenizers with equal fingerprints give equal windows."""
    content = json.dumps(definition(tokenizer), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(content.encode()).hexdigest()

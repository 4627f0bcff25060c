import numpy as np
import pytest
from safetensors.numpy import load_file
from transformers import DistilBertTokenizer

from pipeline import files
from pipeline.errors import InputError
from pipeline.logits.shards import Identity, Rows, read_shard, shard_name, write_shard
from pipeline.questions import tokenization
from pipeline.questions.windows import pack, windows
from tests.logits.rows import IDENTITY, rows
from tests.tiny import byte_level

TEXTS = ["The café opened in 1899.", "Zoë sold tea; the café sold cakes."]


def test_rejects_a_shard_with_a_changed_header(store):
    path = next(store.glob("*.safetensors"))
    path.write_bytes(path.read_bytes().replace(b"float32", b"bfloat1", 1))
    with pytest.raises(InputError, match="checksum"):
        read_shard(path, IDENTITY)


def test_a_failed_write_leaves_no_files(tmp_path, monkeypatch):
    monkeypatch.setattr(files.os, "fsync", lambda _: (_ for _ in ()).throw(OSError("no space left")))
    with pytest.raises(OSError, match="no space"):
        write_shard(tmp_path, IDENTITY, rows("a"))
    assert list(tmp_path.iterdir()) == []


def test_a_shard_is_plain_safetensors(store):
    tensors = load_file(next(store.glob("*.safetensors")))
    assert set(tensors) == {"keys", "starts", "start_logits", "end_logits"}
    assert tensors["start_logits"].dtype == np.float16


def bert():
    return tokenization.train(TEXTS, vocab_size=100)


@pytest.mark.parametrize(
    ("tokenizer", "fingerprint", "name"),
    [
        (bert, "1825da560c6fabf233587bd789416187", "73634411f7ab184697fac9d8a9039d73"),
        (lambda: DistilBertTokenizer(vocab=bert().get_vocab()), "4d9641dd39b9e7695a4477b90b9e8438",
         "d25b893e68d054692377ece47467da19"),
        (lambda: byte_level(TEXTS, 300, trim_offsets=True), "be0d105661004814557563b11546a7c2",
         "87e446d372508cae31a93d86e234a65e"),
    ],
    ids=["BERT", "DistilBERT", "RoBERTa"],
)  # fmt: skip
def test_the_names_of_cached_shards_stay_the_same(records, tokenizer, fingerprint, name):
    """Else the logits that users have cached are computed again. The pinned `tokenizers` is part of a fingerprint."""
    made = tokenizer()
    found = tokenization.fingerprint(made)
    features = pack(windows(records[:1], made, max_length=26, stride=6))
    cached = Rows(features.keys, features.starts, np.zeros(0), np.zeros(0), ("float32",))
    assert found.startswith(fingerprint)
    assert shard_name(Identity("0" * 64, found, "float16"), cached) == name

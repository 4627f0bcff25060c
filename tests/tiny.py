"""A very small configuration, for tests that run stages."""

import contextlib
import importlib
import os
import time

import yaml
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from pipeline import cli, paths
from pipeline.logits import cache as row_cache
from pipeline.stages import backbone, dataset, evaluate, logits, shrink, teacher, tokenize, train

TINY = {
    "head": "linear",
    "seed": 0,
    "dataset": {"source": "synthetic", "train_size": 24, "validation_size": 8},
    "tokenize": {"max_length": 64, "stride": 16, "vocab_size": 500, "vocab_records": 24},
    "teacher": {
        "models": {"large": {"model": "new", "revision": None}},
        "config": {
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "max_position_embeddings": 64,
        },
        "train": {"epochs": 1, "batch_size": 8, "learning_rate": 1e-3, "keep": "last"},
    },
    "logits": {"dtype": "float16", "shard_size": 5},
    "backbone": {"model": "large", "revision": None, "layers": [0]},
    "shrink": {"layers": None, "intermediate_size": None},
    "distill": {"alpha": 1.0, "temperature": 2.0},
    "prune": {"amount": 0.3},
    "train": {"epochs": 2, "batch_size": 8, "learning_rate": 1e-3},
    "evaluate": {"n_best": 5, "max_answer_length": 30, "metric": "squad"},
}
DATA_STAGES = (dataset, tokenize, teacher, logits, backbone, shrink)
ALL_STAGES = (*DATA_STAGES, train, evaluate)


def write_params(**changes):
    """Write params.yaml: TINY, with `changes` merged into its sections."""
    values = {
        key: {**value, **changes.get(key, {})} if isinstance(value, dict) else changes.get(key, value)
        for key, value in TINY.items()
    }
    paths.PARAMS.write_text(yaml.safe_dump(values))


def run_all(*stages, name="large"):
    """Run stages in this process; the teacher stage runs for the teacher `name`."""
    for stage in stages:
        stage.main(*([name] if stage is teacher else []))


def content(*folders):
    """{path: bytes} of all files in the folders."""
    return {str(path): path.read_bytes() for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()}


def run_with_cache(cache, module, pause):
    """Run a stage like its command line does, in a new process; stderr goes to stderr.txt.

    Args:
        pause: seconds to sleep after each shard, so that the stage is still at work when a signal arrives.
    """
    os.environ[paths.CACHE_VARIABLE] = cache
    write_shard = row_cache.write_shard

    def write_and_pause(*arguments):
        name = write_shard(*arguments)
        time.sleep(pause)
        return name

    row_cache.write_shard = write_and_pause
    with open("stderr.txt", "w") as file, contextlib.redirect_stderr(file):
        cli.report_errors(lambda: run_all(importlib.import_module(module)))


def byte_level(texts, vocab_size, trim_offsets):
    """Train a byte-level BPE tokenizer with RoBERTa's special tokens; untrimmed offsets include the leading space."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocab_size, special_tokens=special, initial_alphabet=alphabet, show_progress=False
        ),
    )
    backend.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), trim_offsets=trim_offsets, add_prefix_space=False
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        cls_token="<s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        model_input_names=["input_ids", "attention_mask"],
    )

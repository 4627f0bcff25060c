"""Narrower encoders by several methods: F1 before any training, and folders to train from. See README.md.

Run it in a workspace where `dvc repro` ran with `backbone.layers: null` and a teacher or a student as the backbone:

    python -m benchmarks.shrinking --intermediate-size 768 --validation-size 2000
    python -m benchmarks.shrinking --intermediate-size 768 --methods random --write data/raw/shrunk
    dvc exp run -S backbone.model=data/raw/shrunk-random-fitted
"""

import argparse
import time
from pathlib import Path

import numpy as np
from transformers import PreTrainedModel

from benchmarks import common
from pipeline import cli, paths
from pipeline.checksums import verified
from pipeline.errors import InputError
from pipeline.models import encoders, inference
from pipeline.models.hardware import on_device
from pipeline.params import Params, load
from pipeline.questions import tokenization
from pipeline.questions.features import Features, read_features
from pipeline.questions.records import read_records
from pipeline.scores import metrics
from pipeline.shrinking import cache, narrowing
from pipeline.shrinking.importance import METHODS, with_head
from pipeline.stages.shrink import read_sample, with_student_tokens

REPAIRS = {"fitted": True, "as they are": False}
COLUMNS = {"seconds": ("seconds", 1), "exact_match": ("exact match", 2), "f1": ("F1", 2)}


def arguments() -> argparse.ArgumentParser:
    parser = cli.parser("python -m benchmarks.shrinking", __doc__ or "")
    parser.add_argument("--intermediate-size", type=int, required=True, metavar="N", help="units of each layer")
    parser.add_argument("--layers", type=int, metavar="K", help="the first layers to keep (default: all)")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS, metavar="METHOD")
    parser.add_argument("--repairs", nargs="+", default=list(REPAIRS), choices=REPAIRS, metavar="REPAIR")
    parser.add_argument("--validation-size", type=int, metavar="N", help="validation questions (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", metavar="FOLDER", help="write FOLDER-METHOD-REPAIR for each instead of scoring")
    return parser


def main(
    intermediate_size: int,
    layers: int | None,
    methods: list[str],
    repairs: list[str],
    validation_size: int | None,
    seed: int,
    write: str | None,
) -> None:
    params = load(paths.PARAMS)
    params = params.model_copy(update={"shrink": params.shrink.model_copy(update={"seed": seed})})
    source = verified(paths.BACKBONE, "backbone")
    head, sample = encoders.read_head(source), read_sample(params)
    if head is None:
        raise InputError(f"{source} has no head to score; set backbone.layers to null and name a teacher")
    rows = []
    if not write:
        whole = with_student_tokens(encoders.load_encoder(source))
        rows.append({"peer": "whole", **scores(whole, head, params, validation_size)})
    for method in methods:
        for repair in repairs:
            began = time.monotonic()
            encoder = narrowing.narrowed(
                with_student_tokens(encoders.load_encoder(source)),
                intermediate_size,
                lambda part, method=method: cache.measured(paths.importance_cache(), part, head, sample, method, seed),
                fit=REPAIRS[repair],
            )
            if layers:
                encoder = encoders.keep_layers(encoder, list(range(layers)), "--layers")
            seconds = time.monotonic() - began
            if write:
                folder = Path(f"{write}-{method}-{repair.replace(' ', '-')}")
                with_head(encoder, head).save_pretrained(folder)
                tokenization.load(paths.tokenizer(paths.STUDENT_NAME)).save_pretrained(folder)
                print(f"wrote {folder}", flush=True)
            else:
                found = scores(encoder, head, params, validation_size)
                rows.append({"peer": f"{method}, {repair}", "seconds": seconds, **found})
                print(common.rounded(rows[-1]), flush=True)
    if rows:
        print(common.table(rows, COLUMNS))


def scores(encoder: PreTrainedModel, head: encoders.SavedHead, params: Params, size: int | None) -> dict[str, float]:
    """Exact match and F1 of an encoder under a head, on the first validation questions."""
    records = read_records(paths.DATASET / "validation.parquet")[:size]
    features = first_questions(read_features(paths.features(paths.STUDENT_NAME, "validation")), len(records))
    padding = tokenization.load(paths.tokenizer(paths.STUDENT_NAME)).pad_token_id
    logits = inference.predict(on_device(with_head(encoder, head)), features, padding)
    found, _ = metrics.scores(features, records, logits, params.evaluate.max_answer_length, params.evaluate.metric)
    return {name: found[name] for name in ("exact_match", "f1")}


def first_questions(features: Features, count: int) -> Features:
    """The windows of the first questions."""
    return features.select(np.flatnonzero(features.record < count))


if __name__ == "__main__":
    cli.run(main, arguments())

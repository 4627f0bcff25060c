"""shrink: make the student's encoder smaller before training, by `shrink` in params.yaml.

Reads data/backbone, and for shrink.intermediate_size data/features, data/tokenizer, data/logits and data/dataset.
Measures the feed-forward units on training windows, keeps the most important ones, then keeps the first layers.
With both sizes null, data/encoder is a copy of data/backbone.
Writes data/encoder.
"""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import cli, paths
from pipeline.checksums import verified
from pipeline.errors import InputError
from pipeline.params import Params, Shrink, load

if TYPE_CHECKING:  # a copy needs neither torch nor transformers
    from transformers import PreTrainedModel

    from pipeline.shrinking.importance import Sample


def main() -> None:
    params = load(paths.PARAMS)
    source = verified(paths.BACKBONE, "backbone")
    sizes = params.shrink.layers, params.shrink.intermediate_size
    if sizes == (None, None) and not paths.KEPT_TOKENS.exists():
        shutil.copytree(source, paths.empty_folder(paths.ENCODER), copy_function=shutil.copyfile, dirs_exist_ok=True)
    else:
        shrink(source, params)


def shrink(source: Path, params: Params) -> None:
    """Write data/encoder: the encoder in a folder, with the tokens of the student and the sizes of params.shrink."""
    from pipeline.about import About, write_about
    from pipeline.checksums import seal
    from pipeline.models import encoders
    from pipeline.shrinking import cache, narrowing

    whole, head, settings = encoders.load_encoder(source), encoders.read_head(source), params.shrink
    before, encoder = description(whole), with_student_tokens(whole)
    check_sizes(encoder, settings)
    removed = []
    if settings.intermediate_size:
        method = "fisher" if head else "magnitude"
        sample = read_sample(params)

        folder = paths.writable(paths.importance_cache())
        encoder = narrowing.narrowed(
            encoder,
            settings.intermediate_size,
            lambda encoder: cache.measured(folder, encoder, head, sample, method, settings.seed),
            fit=method in narrowing.FITTED,
        )
        by = "Fisher information" if head else "weights, fitted"
        removed = [f"; units by {by} on {len(sample.features):,} windows"]
    if settings.layers:
        encoder = encoders.keep_layers(encoder, list(range(settings.layers)), "shrink.layers")
    encoder.save_pretrained(paths.empty_folder(paths.ENCODER))
    if head:
        encoders.save_head(head, paths.ENCODER)
    text = "".join([f"{params.backbone.model}: {before} -> {description(encoder)}", *removed])
    write_about(About(shrunk=text), paths.ENCODER)
    seal(paths.ENCODER)
    print(text)


def with_student_tokens(encoder: "PreTrainedModel") -> "PreTrainedModel":
    """The encoder with the embeddings of the student's tokens, if the student has some of them only."""
    from pipeline.shrinking.vocabulary import keep_tokens

    if not paths.KEPT_TOKENS.exists():
        return encoder
    return keep_tokens(encoder, json.loads(verified(paths.KEPT_TOKENS, "tokenize").read_text(encoding="utf-8")))


def description(encoder: "PreTrainedModel") -> str:
    """The sizes of an encoder."""
    from pipeline.shrinking.units import FEED_FORWARD, width

    parts = [f"{encoder.config.num_hidden_layers} layers"]
    if encoder.config.model_type in FEED_FORWARD:
        parts.append(f"{width(encoder)} units each")
    weights = sum(parameter.numel() for parameter in encoder.parameters())
    parts.append(f"{encoder.config.vocab_size:,} word pieces")
    return ", ".join([*parts, f"{weights / 1e6:.4g} M weights"])


def check_sizes(encoder: "PreTrainedModel", settings: Shrink) -> None:
    """Check that the encoder is larger than it will be.

    Raises:
        InputError: it is not, or its architecture is not supported.
    """
    from pipeline.shrinking.narrowing import MULTIPLE
    from pipeline.shrinking.units import width

    layers = encoder.config.num_hidden_layers
    if settings.layers and settings.layers >= layers:
        raise InputError(
            f"shrink.layers {settings.layers}: {paths.BACKBONE} has {layers} layers; "
            + (f"give 1 to {layers - 1}, or null" if layers > 1 else "set it to null")
        )
    if settings.intermediate_size and settings.intermediate_size >= (units := width(encoder)):
        largest = (units - 1) // MULTIPLE * MULTIPLE
        raise InputError(
            f"shrink.intermediate_size {settings.intermediate_size}: {paths.BACKBONE} has {units} units in each layer; "
            + (f"give a multiple of {MULTIPLE} up to {largest}, or null" if largest else "set it to null")
        )


def read_sample(params: Params) -> "Sample":
    """The training windows on which the units are measured, with answers drawn from the teachers' distributions.

    Raises:
        InputError: a file is missing or damaged, or windows have no logits.
    """
    import numpy as np

    from pipeline.logits.targets import has_target, of_windows, read_teacher, student_targets
    from pipeline.questions import tokenization
    from pipeline.questions.features import read_features
    from pipeline.questions.records import open_records
    from pipeline.shrinking import importance

    tokenizer = tokenization.load(verified(paths.tokenizer(paths.STUDENT_NAME), "tokenize"))
    path = paths.features(paths.STUDENT_NAME, "train")
    features, records = read_features(path), open_records(paths.DATASET / "train.parquet")
    teachers = [read_teacher(*paths.teacher_paths(name, "train")) for name in sorted(params.teacher.models)]
    targets = student_targets(teachers, path, lambda i: records[i]["id"], paths.targets_cache()).logits
    known, seed = np.flatnonzero(has_target(features, targets)), params.shrink.seed
    if not len(known):
        raise InputError("shrink.intermediate_size: no training window has a teacher's answer to measure units on")
    chosen, logits = of_windows(features, targets, known[importance.chosen_windows(len(known), seed)])
    return importance.Sample(chosen, importance.drawn_spans(chosen, logits, seed), tokenizer.pad_token_id)


if __name__ == "__main__":
    cli.run_stage(main, cli.stage_parser("shrink", __doc__))

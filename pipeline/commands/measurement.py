"""Print what a model costs, and what it scores, as JSON.

A process of its own, which `span-distill cost` starts for each model, so that the peak memory belongs to one:

    python -m pipeline.commands.measurement student data/student data/student \\
        data/features/student/validation.safetensors
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import cli, pretrained
from pipeline.answering.cost import measure, peak_memory_mb
from pipeline.checksums import intact
from pipeline.models.encoders import load_qa_model
from pipeline.models.hardware import on_device
from pipeline.models.student import Student
from pipeline.questions import tokenization
from pipeline.questions.features import Features, read_features

MOST_QUESTIONS = 1000  # that are scored


def main(kind: str, folder: Path, tokenizer: Path, windows: Path, scored: Sequence[str]) -> None:
    """Print the cost of a model.

    Args:
        kind: `student`, `teacher`, or of an export `float32` or `int8`.
        folder: of the model.
        tokenizer: its folder.
        windows: of validation questions, in the model's tokens.
        scored: to score it too, the path of the questions, the tokens of the longest answer, and the metric.
    """
    model, weights = load(kind, folder)
    pad_token_id = tokenization.load(tokenizer).pad_token_id
    features = read_features(windows)
    values = {**measure(model, features, pad_token_id), "peak_memory_mb": peak_memory_mb()}
    values["bytes"] = weights.stat().st_size
    if scored:
        questions, longest, metric = scored
        values |= scores(model, features, Path(questions), pad_token_id, int(longest), metric)
    print(json.dumps(values))


def load(kind: str, folder: Path) -> tuple[Any, Path]:
    """A model in float32 or as exported, on its device, and the file of its weights."""
    if kind == "student":
        return on_device(Student.load(intact(folder))), folder / pretrained.WEIGHTS
    if kind == "teacher":
        return on_device(load_qa_model(intact(folder))), folder / pretrained.WEIGHTS
    from pipeline.onnx_export.session import FLOAT32, INT8, OnnxStudent  # of no part in the memory of torch's models

    file = folder / {"float32": FLOAT32, "int8": INT8}[kind]
    return OnnxStudent(file, pretrained.load_config(intact(folder))), file


def scores(
    model: Any, features: Features, questions: Path, pad_token_id: int, longest: int, metric: str
) -> dict[str, list[float]]:
    """`exact_match` and `f1` of each of the first questions, 0-100."""
    from pipeline.answering.scored import scored  # after the measurement, whose memory it would be
    from pipeline.questions.records import read_records

    records = read_records(questions)[:MOST_QUESTIONS]
    first = features.between(0, int(np.searchsorted(features.record, len(records))))
    table = scored(model, first, records, pad_token_id, longest, metric)
    return {name: table[name].to_pylist() for name in ("exact_match", "f1")}


if __name__ == "__main__":
    kind, folder, tokenizer, windows, *scored = sys.argv[1:]
    files = {"folder": Path(folder), "tokenizer": Path(tokenizer), "windows": Path(windows)}
    cli.report_errors(main, kind=kind, **files, scored=scored)

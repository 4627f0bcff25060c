"""export: write a student as ONNX, in float32 and int8.

The files run in onnxruntime, transformers.js and others, without torch.
Reads the student's folder, and with --score data/features and data/dataset. Writes only --out: onnx/model.onnx, with
--quantize onnx/model_quantized.onnx, config.json and the tokenizer. Compares the logits of the files with the
student's, and writes nothing if those of model.onnx differ. An earlier export is replaced.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import tabulate

from pipeline import paths, pretrained
from pipeline.about import read_about
from pipeline.answering import cost
from pipeline.answering.scored import scored
from pipeline.checksums import intact, verified
from pipeline.comparison.statistics import compare
from pipeline.errors import InputError
from pipeline.models.student import Student
from pipeline.onnx_export.exporting import cpu_overflows
from pipeline.onnx_export.folder import FLOAT32, INT8, load, write_export
from pipeline.params import load as load_params
from pipeline.questions import tokenization
from pipeline.questions.features import read_features
from pipeline.questions.records import read_records
from pipeline.scores.standard_errors import clusters_of

LEAST_GAIN = 0.7  # size of an int8 file that is worth having, as a share of the student's weights


def main(
    student: Path,
    format: str,
    quantize: str | None,
    reduce_range: str,
    out: Path,
    score: bool,
    examples: bool = False,
) -> None:
    model, tokenizer = Student.load(intact(student)), tokenization.load(student)
    reduce = cpu_overflows() if reduce_range == "auto" else reduce_range == "yes"
    about = read_about(student).published(examples)
    parities = write_export(model, tokenizer, out, reduce if quantize else None, about)
    print(f"{student / pretrained.WEIGHTS}: {megabytes(student / pretrained.WEIGHTS)}")
    for file, parity in parities.items():
        print(
            f"{out / file}: {megabytes(out / file)}; logits differ by at most {parity.largest:.1e} of the largest, "
            f"typically by {parity.typical:.1e} of their standard deviation"
        )
    if quantize and (out / INT8).stat().st_size > LEAST_GAIN * (student / pretrained.WEIGHTS).stat().st_size:
        print(f"int8 makes this student hardly smaller; {out / FLOAT32} is as good, and faster on some machines")
    if score:
        models = {"torch float32": model, "ONNX float32": load(out), "ONNX int8": load(out, INT8) if quantize else None}
        print("\n" + scores({name: each for name, each in models.items() if each is not None}, tokenizer), end="")


def megabytes(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.1f} MB"


def scores(models: dict[str, Any], tokenizer: Any) -> str:
    """A table of the models' scores, sizes and times, with the first one's answers and scores for comparison.

    Raises:
        InputError: the workspace has no validation questions, or they were tokenized by another tokenizer.
    """
    used = tokenization.load(verified(paths.tokenizer(paths.STUDENT_NAME), "tokenize"))
    if tokenization.fingerprint(used) != tokenization.fingerprint(tokenizer):
        raise InputError(f"{paths.FEATURES} is of another tokenizer than the student's; run `dvc repro tokenize`")
    features = read_features(paths.features(paths.STUDENT_NAME, "validation"))
    records = read_records(paths.DATASET / "validation.parquet")
    settings = load_params(paths.PARAMS).evaluate

    tables = {
        name: scored(model, features, records, tokenizer.pad_token_id, settings.max_answer_length, settings.metric)
        for name, model in models.items()
    }
    first = next(iter(tables.values()))
    rows = []
    for name, model in models.items():
        measured = cost.measure(model, features, tokenizer.pad_token_id)
        rows.append(
            {
                "": name,
                "exact match": f"{np.mean(tables[name]['exact_match']):.2f}",
                "F1": f"{np.mean(tables[name]['f1']):.2f}",
                "less the first": "" if tables[name] is first else difference(tables[name], first),
                "equal answers": f"{100 * np.mean(np.equal(tables[name]['prediction'], first['prediction'])):.1f} %",
                "ms": f"{measured['latency_ms_median']:.1f}",
                "p95": f"{measured['latency_ms_p95']:.1f}",
                "windows/s": f"{measured['windows_per_second']:.0f}",
            }
        )
    return tabulate.tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True) + (
        f"\nless the first: F1, paired by question; {clusters_of(first).note}.\nms: one window of mean length alone.\n"
    )


def difference(table: pa.Table, first: pa.Table) -> str:
    """The mean difference of F1 with its interval.

    Raises:
        InputError: the questions are about fewer than two paragraphs.
    """
    try:
        found = compare(table["f1"], first["f1"], clusters_of(first).labels).difference
    except ValueError as error:
        raise InputError(f"the students cannot be compared: {error}") from None
    return f"{found.mean:+.2f} [{found.low:+.2f}, {found.high:+.2f}]"

"""The folder of an exported student, with the names that transformers.js expects."""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir
from transformers import PreTrainedTokenizerFast

from pipeline import pretrained
from pipeline.about import ABOUT, About, write_about
from pipeline.checksums import SUMS, fault, seal, sealed
from pipeline.errors import InputError
from pipeline.files import replacing
from pipeline.models.architectures import max_length
from pipeline.models.encoders import qa_class
from pipeline.models.inference import predict
from pipeline.models.student import Answering, Student, answering
from pipeline.onnx_export.exporting import export, export_int8
from pipeline.onnx_export.session import FLOAT32, INT8, OnnxStudent
from pipeline.questions import synthetic, tokenization
from pipeline.questions.features import Features
from pipeline.questions.question import unlabeled
from pipeline.questions.windows import pack, windows

FILES = {str(FLOAT32), str(INT8), pretrained.CONFIG, "tokenizer.json", "tokenizer_config.json", ABOUT, SUMS}
TOLERANCE = 1e-4
LONGEST_TRIED = 2048  # tokens
LONGEST = 384  # of the windows that are compared, in tokens


@dataclass(frozen=True)
class Parity:
    """How far an ONNX file's logits are from the student's, over some windows.

    Attributes:
        largest: the largest difference, as a share of the largest logit.
        typical: root mean square of the differences, as a share of the logits' standard deviation.
    """

    largest: float
    typical: float


def write_export(
    student: Student,
    tokenizer: PreTrainedTokenizerFast,
    out: Path,
    reduce_range: bool | None = None,
    about: About | None = None,
) -> dict[Path, Parity]:
    """Write a student as ONNX to a folder, complete or not at all; replaces an earlier export.

    Args:
        out: gets `FLOAT32`, `INT8` if asked for, config.json, which is the encoder's with the keys `head` and
            `answering` of the student's, the tokenizer without truncation and padding, `about`, and checksums.
        reduce_range: None to write no int8; else as in `exporting.export_int8`.
        about: what the export says of the student.

    Returns:
        The parity of each ONNX file.

    Raises:
        InputError: the student cannot be exported, the logits differ by more than `TOLERANCE`, or `out` has other
            files than an export.
    """
    out = out.resolve()
    check_out(out)
    with replacing(out) as folder:
        (folder / FLOAT32).parent.mkdir()
        onnx_ir.save(export(student), folder / FLOAT32)
        if reduce_range is not None:
            onnx_ir.save(export_int8(student, reduce_range), folder / INT8)
        exported_config(student).save_pretrained(folder)
        tokenizer.backend_tokenizer.no_truncation()
        tokenizer.backend_tokenizer.no_padding()
        tokenizer.model_max_length = answering(student.config, out).max_length  # where transformers.js truncates
        tokenizer.save_pretrained(folder)
        write_about(about or About(), folder)
        seal(folder)
        found = {
            file: parity(student, load(folder, file), tokenizer) for file in (FLOAT32, INT8) if (folder / file).exists()
        }
        if not found[FLOAT32].largest <= TOLERANCE:
            raise InputError(
                f"the ONNX file's logits differ from the student's by {found[FLOAT32].largest:.1e} of the largest, "
                f"more than {TOLERANCE}; nothing was written"
            )
    return found


def load(folder: Path, file: Path = FLOAT32) -> OnnxStudent:
    """The exported student in a folder, after it has read a window on trial.

    Raises:
        InputError: there is none, a file is missing or does not match its checksum, or the student cannot answer with
            its settings and its tokenizer.
    """
    pretrained.check_file(folder / file)
    found = fault(folder)
    if found is None and str(file) not in sealed(folder):
        found = f"{folder / SUMS} has no checksum of {file}"
    if found:
        raise InputError(f"{found}; `span-distill export` writes the folder again")
    student = OnnxStudent(folder / file, pretrained.load_config(folder))
    _try(student, answering(student.config, folder), tokenization.load(folder), folder / file)
    return student


def _try(student: Any, settings: Answering, tokenizer: PreTrainedTokenizerFast, where: Path) -> None:
    """Raise an InputError if the student cannot read the longest window of its settings, or its tokenizer's last token.

    Windows longer than `LONGEST_TRIED` are not tried in full.
    """
    special = tokenizer.num_special_tokens_to_add(pair=True)
    if settings.max_length - special - settings.stride < 2:
        raise InputError(
            f"{where.parents[1] / pretrained.CONFIG}: with max_length {settings.max_length} and stride "
            f"{settings.stride}, windows have no room for a question; train the student again"
        )
    length = min(settings.max_length, LONGEST_TRIED)
    window = next(windows([unlabeled("", "a", "a " * length)], tokenizer, length, 0))
    window.input_ids[1:-1] = len(tokenizer) - 1
    try:
        logits = predict(student, pack([window]), tokenizer.pad_token_id)
    except Exception as error:  # onnxruntime raises many types of exceptions
        reason = pretrained.one_line(error)
        raise InputError(f"{where} cannot read a window of {length} tokens with its tokenizer: {reason}") from None
    if not np.isfinite(logits).all():
        raise InputError(f"{where} has weights that are not finite")


def exported_config(student: Student) -> Any:
    """The encoder's config with the keys `head` and `answering` of the student's."""
    config: Any = copy.deepcopy(student.config.encoder_config)
    config.architectures = [qa_class(config).__name__]
    config.head, config.answering = student.config.head, student.config.answering
    return config


def check_out(out: Path) -> None:
    """Raise an InputError if something other than an earlier export or an empty folder is there."""
    if not out.exists():
        return
    if not out.is_dir():
        raise InputError(f"{out} is a file; --out must be a folder")
    files = {path.relative_to(out).as_posix() for path in out.rglob("*") if not path.is_dir()}
    others = sorted(files - FILES)
    if others or (files and str(FLOAT32) not in files):
        raise InputError(
            f"{out} is not an earlier export: it has {(others or sorted(files))[0]}; --out must be a new folder"
        )


def parity(student: Student, exported: OnnxStudent, tokenizer: PreTrainedTokenizerFast) -> Parity:
    """Compare the logits of the two over synthetic questions, in batches with padding."""
    features = compared_windows(tokenizer, int(min(max_length(student), LONGEST)))
    models: list[Any] = [student, exported]
    expected, found = (np.stack(predict(model, features, tokenizer.pad_token_id)) for model in models)
    difference = found - expected
    return Parity(
        float(np.abs(difference).max() / np.abs(expected).max()),
        float(np.sqrt((difference**2).mean()) / expected.std()),
    )


def compared_windows(tokenizer: PreTrainedTokenizerFast, longest: int) -> Features:
    """Windows of several lengths up to `longest`: of a few short contexts, and of one that is long."""
    records = [
        unlabeled(record["id"], record["question"], record["context"])
        for record in synthetic.corpus("validation", 40, 0)
    ]
    long = unlabeled("long", records[0]["question"], " ".join(record["context"] for record in records))
    return pack(windows([*records[:6], long], tokenizer, longest, longest // 3))

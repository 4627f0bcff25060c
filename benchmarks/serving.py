"""Answering questions: a student in torch and ONNX, a teacher, and plain transformers code. See README.md."""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

from benchmarks import common
from pipeline.models import encoders
from pipeline.models.heads import HEADS
from pipeline.models.inference import predict
from pipeline.models.student import Answering, Student
from pipeline.onnx_export.exporting import cpu_overflows
from pipeline.onnx_export.folder import FLOAT32, INT8, load, write_export
from pipeline.questions import tokenization
from pipeline.questions.squad import Record
from pipeline.scores.spans import answers

MAX_ANSWER = 30  # tokens
N_BEST = 20  # starts and ends that the plain code combines, as transformers' example
COLUMNS = {
    "questions": ("questions", 0),
    "questions_per_second": ("questions/s", 2),
    "latency_ms_median": ("ms, median", 1),
    "latency_ms_p95": ("ms, p95", 1),
    "file_mb": ("file, MB", 1),
    "rss_growth_mb": ("memory, MB", 0),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    model = parser.add_mutually_exclusive_group()
    model.add_argument("--student", type=Path, help="student folder")
    model.add_argument("--model", help="folder of the encoder of a new student")
    model.add_argument("--shape", choices=common.SHAPES, default="tiny", help="a new student's (default: tiny)")
    parser.add_argument("--head", choices=HEADS, default="linear", help="a new student's (default: linear)")
    parser.add_argument("--teacher-shape", choices=common.SHAPES, default="bert-large", help="(default: bert-large)")
    parser.add_argument("--max-length", type=int, default=384, help="maximum tokens of a window; a third overlaps")
    parser.add_argument("--squad", type=Path, help="SQuAD JSON (default: ../shared/squad if it exists)")
    parser.add_argument("--questions", type=int, default=64, help="questions in all at once (default: 64)")
    parser.add_argument("--single", type=int, default=32, help="of these, asked one by one (default: 32)")
    parser.add_argument("--teacher-questions", type=int, default=4, help="the same for the teacher (default: 4)")
    parser.add_argument("--batch", type=int, default=8, help="batch size of plain transformers (default: 8)")
    common.peer_options(parser, PEERS)
    common.run_benchmark(parser.parse_args(), PEERS, prepare, COLUMNS)


def prepare(args: argparse.Namespace, folder: Path) -> dict:
    """Save the student in every form that a chosen peer loads."""
    source, records = records_of(args)
    if args.student:
        student, tokenizer = Student.load(args.student), tokenization.load(args.student)
    else:
        tokenizer = common.tokenizer_of(args, records)
        student = Student.from_encoder(common.model_of(args).cpu().base_model, args.head, seed=0)
        student.config.answering = vars(Answering(args.max_length, args.max_length // 3, MAX_ANSWER, None, 1.0))
    config: Any = student.config.encoder_config
    plain = encoders.qa_class(config)(config)  # the same encoder with one linear layer, whatever the head
    plain.base_model.load_state_dict(student.encoder.state_dict())
    for name, model in (("student", student), ("plain", plain)):
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    if {"onnx", "int8"} & set(args.peers.split(",")):
        write_export(student, tokenizer, folder / "export", cpu_overflows())
    features = common.features_of(records, tokenizer, args.max_length)
    about = common.describe(args, source, features)
    model = Path(args.student).name if args.student else about["model"]
    return {**about, "model": model, "head": student.config.head, "teacher": f"{args.teacher_shape}, random weights"}


def records_of(args: argparse.Namespace) -> tuple[str, list[Record]]:
    return common.questions(args.squad, "validation", args.questions)


Answer = Callable[[list[Record]], Any]


def answering(model: Any, tokenizer: Any, max_length: int) -> Answer:
    """A function from questions to answers, as the stages compute them: windows, batches by length, exact decoding."""

    def answer(records: list[Record]) -> Any:
        features = common.features_of(records, tokenizer, max_length)
        logits = predict(model, features, tokenizer.pad_token_id)
        return answers(features, [record["context"] for record in records], *logits, 1, MAX_ANSWER)

    return answer


def float32(args: argparse.Namespace, folder: Path) -> dict:
    return of_student(args, folder, lambda: Student.load(folder / "student"), folder / "student/model.safetensors")


def bfloat16(args: argparse.Namespace, folder: Path) -> dict:
    def make() -> Any:
        return encoders.bfloat16_encoder(Student.load(folder / "student"))

    return of_student(args, folder, make)


def onnx(args: argparse.Namespace, folder: Path) -> dict:
    return of_student(args, folder, lambda: load(folder / "export"), folder / "export" / FLOAT32)


def int8(args: argparse.Namespace, folder: Path) -> dict:
    return of_student(args, folder, lambda: load(folder / "export", INT8), folder / "export" / INT8)


def of_student(args: argparse.Namespace, folder: Path, make: Callable[[], Any], file: Path | None = None) -> dict:
    tokenizer = tokenization.load(folder / "student")
    result = measure(args, lambda: answering(make(), tokenizer, args.max_length))
    return {**result, "file_mb": file.stat().st_size / common.MB} if file else result


def teacher(args: argparse.Namespace, folder: Path) -> dict:
    """A model with random weights in the teacher's shape, in float32, on fewer questions."""
    options = argparse.Namespace(model=None, shape=args.teacher_shape)
    tokenizer = tokenization.load(folder / "student")

    def make() -> Answer:
        return answering(common.model_of(options).cpu(), tokenizer, args.max_length)

    few = args.teacher_questions
    return measure(argparse.Namespace(**vars(args) | {"questions": few, "single": few}), make)


def padded(args: argparse.Namespace, folder: Path) -> dict:
    """What a user of transformers 5 writes: windows padded to `--max-length`, one batch after another."""
    tokenizer = AutoTokenizer.from_pretrained(folder / "plain")

    def make() -> Answer:
        model = AutoModelForQuestionAnswering.from_pretrained(folder / "plain").eval()
        return lambda records: plain_answers(model, tokenizer, records, args.max_length, args.batch)

    return measure(args, make)


@torch.no_grad()
def plain_answers(model: Any, tokenizer: Any, records: list[Record], max_length: int, batch: int) -> list[str]:
    """The answers, decoded as in transformers' question-answering example."""
    encoded = tokenizer(
        [record["question"].strip() for record in records],
        [record["context"] for record in records],
        truncation="only_second",
        padding="max_length",
        max_length=max_length,
        stride=max_length // 3,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        return_tensors="pt",
    )
    owners, offsets = encoded.pop("overflow_to_sample_mapping").tolist(), encoded.pop("offset_mapping").tolist()
    best = [(-np.inf, "")] * len(records)
    for begin in range(0, len(owners), batch):
        output = model(**{name: values[begin : begin + batch] for name, values in encoded.items()})
        rows = zip(output.start_logits.numpy(), output.end_logits.numpy(), strict=True)
        for window, (start_logits, end_logits) in enumerate(rows, begin):
            owner, context = owners[window], encoded.sequence_ids(window)
            for start in np.argsort(start_logits)[-1 : -N_BEST - 1 : -1]:
                for end in np.argsort(end_logits)[-1 : -N_BEST - 1 : -1]:
                    if context[start] != 1 or context[end] != 1 or not 0 <= end - start < MAX_ANSWER:
                        continue
                    first, past = offsets[window][start][0], offsets[window][end][1]
                    text = records[owner]["context"][first:past]
                    best[owner] = max(best[owner], (float(start_logits[start] + end_logits[end]), text))
    return [text for _, text in best]


PEERS = {
    "float32": float32,
    "bfloat16": bfloat16,
    "onnx": onnx,
    "int8": int8,
    "teacher": teacher,
    "padded": padded,
}


def measure(args: argparse.Namespace, make: Callable[[], Answer]) -> dict:
    """Time answers from text to text: all questions at once, then some one by one; each after a warm-up.

    Memory includes the model.
    """
    _, records = records_of(args)
    alone, result, seconds = records[: args.single], {}, []
    with common.measured(result):
        answer = make()
        answer(records)
        began = time.perf_counter()
        answer(records)
        taken = time.perf_counter() - began
        answer(alone[:1])
        for record in alone:
            began = time.perf_counter()
            answer([record])
            seconds.append(time.perf_counter() - began)
    return {
        "questions": len(records),
        "seconds": taken,
        "questions_per_second": len(records) / taken,
        "latency_ms_median": 1000 * float(np.median(seconds)),
        "latency_ms_p95": 1000 * float(np.quantile(seconds, 0.95)),
        **result,
    }


if __name__ == "__main__":
    main()

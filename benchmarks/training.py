"""Training a student: ours against Trainer, and cached logits against a live teacher. See README.md."""

import argparse
import copy
import tempfile
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor, nn
from transformers import AutoModelForQuestionAnswering, PreTrainedModel, Trainer, TrainerCallback, TrainingArguments

from benchmarks import common
from pipeline.logits.targets import Targets
from pipeline.models import hardware, inference
from pipeline.models.batching import Batch, pad
from pipeline.models.inference import model_inputs
from pipeline.models.student import Student
from pipeline.params import Distill, Train
from pipeline.questions.features import Features, SpanLogits, write_features
from pipeline.questions.records import read_records, write_records
from pipeline.scores import metrics
from pipeline.stages.train import student_loss
from pipeline.training import loop
from pipeline.training.dropout import with_dropout
from pipeline.training.losses import distillation
from pipeline.training.plan import Plan

SEED = 0
MAX_ANSWER_LENGTH = 30
LABELS_ONLY = Distill(alpha=0, temperature=1)
DISTILLED = Distill(alpha=1, temperature=2)
COLUMNS = {
    "windows": ("windows", 0),
    "windows_per_second": ("windows/s", 2),
    "epoch_seconds": ("epoch, s", 1),
    "padding_percent": ("padding, %", 1),
    "rss_growth_mb": ("memory, MB", 0),
    "cuda_growth_mb": ("GPU memory, MB", 0),
    "exact_match": ("exact match", 2),
    "f1": ("F1", 2),
}


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__)
    common.model_options(parser)
    common.peer_options(parser, PEERS)
    parser.add_argument("--train", type=Path, help="SQuAD JSON (default: ../shared/squad if it exists)")
    parser.add_argument("--validation", type=Path, help="SQuAD JSON for F1")
    parser.add_argument("--train-size", type=int, help="training questions (default: all)")
    parser.add_argument("--validation-size", type=int, help="validation questions (default: all)")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--steps", type=int, help="maximum steps; the schedule ends there")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument(
        "--teacher-layers", type=int, default=3, help="layers of the live teacher, as a multiple of the student's"
    )
    parser.add_argument("--precision", choices=["auto", "float32", "bfloat16"], default="auto", help="of ours")
    parser.add_argument("--dropout", type=float, help="of ours, hidden states and attention; default: the model's own")
    parser.add_argument("--attention", choices=["eager", "sdpa"], help="of ours; default: what training chooses")
    parser.add_argument("--profile", action="store_true", help="only print a profile of our steps")
    return parser


def main() -> None:
    args = arguments().parse_args()
    if args.profile:
        with tempfile.TemporaryDirectory() as folder:
            prepare(args, Path(folder))
            print(profile(args, Path(folder)))
    else:
        common.run_benchmark(args, PEERS, prepare, COLUMNS)


def prepare(args: argparse.Namespace, folder: Path) -> dict:
    source, records = common.questions(args.train, "train", args.train_size)
    validation_source, validation = common.questions(args.validation, "validation", args.validation_size)
    tokenizer = common.tokenizer_of(args, records)
    for split, questions in {"train": records, "validation": validation}.items():
        features = common.features_of(questions, tokenizer, args.max_length)
        write_features(features, folder / f"{split}.safetensors")
    write_records(validation, folder / "validation.parquet")
    about = common.describe(args, source, common.split_features(folder, "train"))
    return {**about, "validation": validation_source, "batch_size": args.batch_size, "steps": args.steps}


def settings_of(args: argparse.Namespace) -> Train:
    return Train(
        epochs=args.epochs,
        max_steps=args.steps,
        batch_size=args.batch_size,
        learning_rate=args.learning_rate,
        precision=args.precision,
        keep="last",
    )


def student_of(args: argparse.Namespace) -> PreTrainedModel:
    """A student with the encoder and output weights that Trainer's model starts from."""
    model = common.model_of(args)
    student = Student.from_encoder(model.base_model, "linear", SEED).to(model.device)
    student.head.output.load_state_dict(model.qa_outputs.state_dict())
    return with_dropout(student, args.dropout, args.dropout)


def attention(name: str | None) -> AbstractContextManager:
    """Have training compute attention by this implementation within the block, and not by its own choice."""
    return patch.object(loop, "training_attention", lambda *_: (name, "")) if name else nullcontext()


def labels_only(args: argparse.Namespace, student: Student, features: Features):
    return lambda logits, batch: student_loss(logits, batch, features, None, LABELS_ONLY)


def cached_logits(args: argparse.Namespace, student: Student, features: Features):
    """The loss on logits in the form of `LogitStore.aligned`; they are random, since only time is measured."""
    rng = np.random.default_rng(SEED)
    cached = SpanLogits(*rng.standard_normal((2, len(features.input_ids)), dtype=np.float32).astype(np.float16))
    targets = Targets(cached, "random")
    return lambda logits, batch: student_loss(logits, batch, features, targets, DISTILLED)


def live_teacher(args: argparse.Namespace, student: Student, features: Features):
    """The loss with a teacher that runs in each step: the student's width, a multiple of its layers, random weights."""
    config = copy.deepcopy(student.encoder.config)
    config.num_hidden_layers *= args.teacher_layers
    teacher = AutoModelForQuestionAnswering.from_config(config).to(student.device).eval()

    bfloat16 = hardware.training_precision(student, args.precision)[0] == "bfloat16"

    def loss(logits: tuple[Tensor, Tensor], batch: Batch) -> loop.Losses:
        with torch.no_grad(), torch.autocast(student.device.type, torch.bfloat16, enabled=bfloat16):
            output = teacher(**model_inputs(teacher, batch))
        theirs = output.start_logits, output.end_logits
        return distillation(logits, theirs, batch.labels, batch.answer_mask, DISTILLED.alpha, DISTILLED.temperature)

    return loss


def ours(make_loss, scored: bool = False):
    """A peer that trains a student with `pipeline.training.loop.Trainer`."""

    def run(args: argparse.Namespace, folder: Path) -> dict:
        features, student, result = common.split_features(folder, "train"), student_of(args), {}
        with common.measured(result):
            loss = make_loss(args, student, features)
            warm_up(student, features, args.batch_size)
            began = time.perf_counter()
            with attention(args.attention):
                done = loop.Trainer(student, features, 0, settings_of(args), SEED, loss).train()
            common.synchronize()
            seconds = time.perf_counter() - began
        steps = Plan(features, settings_of(args), SEED).epoch(0)
        longest = sum(features.lengths[windows].max() * len(windows) for windows in steps)
        result |= {"padding_percent": 100 * (1 - features.lengths.sum() / longest)}
        return report(args, folder, student, features, done.windows, seconds, scored) | result

    return run


def trainer(args: argparse.Namespace, folder: Path) -> dict:
    """Train like transformers' question-answering example, with our settings."""
    features, model, result = common.split_features(folder, "train"), common.model_of(args), {}
    data = Dataset.from_dict(common.padded(features, np.arange(len(features)), args.max_length, labels=True))
    ours, steps_per_epoch = settings_of(args), -(-len(features) // args.batch_size)
    steps = min(ours.epochs * steps_per_epoch, ours.max_steps or np.inf)
    settings = TrainingArguments(
        output_dir=str(folder / "trainer"),
        per_device_train_batch_size=ours.batch_size,
        max_steps=steps,
        learning_rate=ours.learning_rate,
        warmup_steps=round(ours.warmup_ratio * steps),
        weight_decay=ours.weight_decay,
        max_grad_norm=ours.max_grad_norm,
        seed=SEED,
        bf16=hardware.has_bfloat16(),  # on a CPU float32, whatever ours has
        dataloader_pin_memory=torch.cuda.is_available(),
        save_strategy="no",
        report_to="none",
    )
    clock = Clock()
    with common.measured(result):
        warm_up(model, features, args.batch_size)
        Trainer(model=model, args=settings, train_dataset=data, callbacks=[clock]).train()
    epochs, rest = divmod(steps, steps_per_epoch)
    seen = epochs * len(features) + rest * args.batch_size
    result |= {"padding_percent": 100 * (1 - features.lengths.mean() / args.max_length)}
    return report(args, folder, model, features, seen, clock.ended - clock.began, True) | result


class Clock(TrainerCallback):
    """Times only the steps, not what Trainer does before and after them."""

    def on_train_begin(self, *args, **kwargs) -> None:
        self.began = time.perf_counter()

    def on_train_end(self, *args, **kwargs) -> None:
        common.synchronize()
        self.ended = time.perf_counter()


PEERS = {
    "ours": ours(labels_only, scored=True),
    "trainer": trainer,
    "cached-logits": ours(cached_logits),
    "live-teacher": ours(live_teacher),
}


def warm_up(model: nn.Module, features: Features, batch_size: int) -> None:
    """Run one forward and backward pass, so that no peer's time includes the loading of kernels."""
    batch = pad(features, np.arange(min(batch_size, len(features))), 0).to(model.device)
    output = model(**model_inputs(model, batch))
    (output.start_logits.sum() + output.end_logits.sum()).backward()
    model.zero_grad()
    common.synchronize()


def report(
    args: argparse.Namespace,
    folder: Path,
    model: nn.Module,
    features: Features,
    seen: int,
    seconds: float,
    scored: bool,
) -> dict:
    scores = {}
    if scored:
        validation, records = common.split_features(folder, "validation"), read_records(folder / "validation.parquet")
        logits = inference.predict(model, validation, 0)
        scores, _ = metrics.scores(validation, records, logits, MAX_ANSWER_LENGTH)
    return {
        "windows": seen,
        "seconds": seconds,
        "windows_per_second": seen / seconds,
        "epoch_seconds": seconds * len(features) / seen,
        **{name: scores[name] for name in ("exact_match", "f1") if scored},
    }


def profile(args: argparse.Namespace, folder: Path) -> str:
    """A table of the time of our steps by operation; 10 steps unless --steps is given."""
    features, student = common.split_features(folder, "train"), student_of(args)
    warm_up(student, features, args.batch_size)
    settings = settings_of(args).model_copy(update={"max_steps": args.steps or 10})
    with attention(args.attention), torch.profiler.profile() as profiler:
        loop.Trainer(student, features, 0, settings, SEED, labels_only(args, student, features)).train()
    by = "self_cuda_time_total" if torch.cuda.is_available() else "self_cpu_time_total"
    return profiler.key_averages().table(sort_by=by, row_limit=25, max_name_column_width=50)


if __name__ == "__main__":
    main()

"""train: train a student, data/backbone with a span head, on the teachers' logits and the labels.

Reads data/backbone, data/features, data/tokenizer, data/logits and data/dataset.
Resumes from its checkpoint if it was interrupted.
Writes data/student and data/curves.
"""

import sys
from typing import Any

import numpy as np
from transformers import PreTrainedModel

from pipeline import cli, paths
from pipeline.checksums import seal, verified
from pipeline.errors import InputError
from pipeline.logits.targets import read_teacher, student_targets
from pipeline.models import encoders, inference
from pipeline.models.batching import Batch, pad_pair, to_device
from pipeline.models.hardware import on_device, run_environment
from pipeline.models.student import Answering, Student
from pipeline.params import Distill, Params, load
from pipeline.processes import processes
from pipeline.questions import tokenization
from pipeline.questions.features import Features, read_features
from pipeline.questions.records import read_records
from pipeline.scores import confidence, metrics
from pipeline.training.checkpoints import Checkpoint, run_key
from pipeline.training.dropout import with_dropout
from pipeline.training.loop import Losses, train
from pipeline.training.losses import Pair, distillation
from pipeline.training.pruning import Pruning, check_prunable
from pipeline.training.run import Row, Run, has_learnt

# the columns plotted in dvc.yaml; `soft` is empty without distillation
TRAIN_CURVE = ("step", "minutes", "learning_rate", "loss", "hard", "soft", "gradient_norm")
VALIDATION_CURVE = ("step", "minutes", "exact_match", "f1")


def main() -> None:
    params = load(paths.PARAMS)
    paths.writable(paths.training_cache())
    tokenizer = tokenization.load(verified(paths.tokenizer(paths.STUDENTS), "tokenize"))
    splits = ("train", "validation")
    features = {split: read_features(paths.features(paths.STUDENTS, split)) for split in splits}
    records = {split: read_records(paths.DATASET / f"{split}.parquet") for split in splits}
    teacher = None
    if params.distill.alpha:
        names = sorted(params.teacher.models)
        outputs = [read_teacher(*paths.teacher_paths(name, "train"), records["train"]) for name in names]
        teacher = student_targets(outputs, features["train"])
    else:
        features["train"] = with_labels(features["train"])

    backbone = encoders.load_encoder(verified(paths.BACKBONE, "backbone"))
    check_prunable(backbone, params.prune.amount)
    student = on_device(Student.from_encoder(backbone, params.head, params.seed))
    config: Any = student.config
    student = with_dropout(student, params.train.dropout, params.train.attention_dropout)
    names = {split: [records[split][i]["id"] for i in windows.record] for split, windows in features.items()}
    for split, windows in features.items():
        inference.check_windows(student, windows, names[split], tokenizer.pad_token_id)
    pruning = Pruning(student, params.prune.amount)
    checkpoint = Checkpoint(paths.training_cache(), key(params, student, features, records, teacher))
    is_main = processes().is_main_process

    def evaluate(model: PreTrainedModel) -> Row:
        logits = inference.predict_distributed(model, features["validation"], tokenizer.pad_token_id)
        longest, metric = params.evaluate.max_answer_length, params.evaluate.metric
        scores, answers = metrics.scores(
            features["validation"], records["validation"], logits, longest, metric, confidence.CANDIDATES
        )
        row = {name: scores[name] for name in ("exact_match", "f1", "null_threshold") if name in scores}
        fit = confidence.calibrate(records["validation"], answers, metric, scores.get("null_threshold"))
        return {**row, "confidence_temperature": fit.temperature}

    with checkpoint.held():
        if is_main:  # not before: the training that was waited for writes its curves
            paths.empty_folder(paths.CURVES)
        result = train(
            student,
            features["train"],
            tokenizer.pad_token_id,
            params.train,
            params.seed,
            loss=lambda logits, batch: student_loss(logits, batch, features["train"], teacher, params.distill),
            evaluate=evaluate,
            after_step=pruning.apply,
            checkpoint=checkpoint,
            report=write_curves,
            names=names["train"],
        )
        if is_main:
            print(f"saved the student of step {result.saved_step} of {result.steps}, stopped by {result.stopped_by}")
            student.config = config
            (saved,) = (row for row in result.evaluations if row["step"] == result.saved_step)
            answering = Answering(
                params.tokenize.max_length,
                params.tokenize.stride,
                params.evaluate.max_answer_length,
                saved.get("null_threshold"),
                saved["confidence_temperature"],
            )
            student.config.answering = vars(answering)
            student.save_pretrained(paths.empty_folder(paths.STUDENT))
            tokenizer.save_pretrained(paths.STUDENT)
            seal(paths.STUDENT)
            write_curves(result)
            metrics.write_json(summary(result), paths.CURVES / "summary.json")
            checkpoint.remove()
    if is_main:
        warn_if_nothing_learnt(result)


def with_labels(features: Features) -> Features:
    """Select the windows of questions that have an answer.

    Raises:
        InputError: no question has an answer.
    """
    if features.labelled.all():
        return features
    if not features.labelled.any():
        raise InputError("no training question has an answer: there is nothing to learn from with distill.alpha 0")
    without = len(set(features.record[~features.labelled]))
    print(f"{without} unlabelled questions are left out because distill.alpha is 0")
    return features.select(np.flatnonzero(features.labelled))


def key(
    params: Params,
    student: PreTrainedModel,
    features: dict[str, Features],
    records: dict[str, list],
    teacher: metrics.Logits | None,
) -> str:
    """Return the checkpoint key: a hash of everything that determines the result of the run."""
    sections = ("seed", "distill", "prune", "train", "evaluate")
    settings = {**params.model_dump(include=set(sections)), **run_environment(student, params.train.precision)}
    settings["references"] = [(record["title"], record["answers"]["text"]) for record in records["validation"]]
    arrays = [array for split in features.values() for array in (split.keys, split.context, split.labels)]
    return run_key(settings, student, *arrays, *(teacher or ()))


def warn_if_nothing_learnt(result: Run) -> None:
    """Print a warning if the loss at the end is that of the first step."""
    if not has_learnt(result):
        print(
            f"warning: the student's loss was {result.first_loss:.3f} at the first step and is "
            f"{result.curve[-1]['loss']:.3f} at the end; it has learnt nothing, train for more steps or raise "
            "train.learning_rate",
            file=sys.stderr,
        )


def write_curves(result: Run) -> None:
    """Write the rows so far to data/curves, to follow the training."""
    if result.curve:
        metrics.write_tsv(result.curve, TRAIN_CURVE, paths.CURVES / "train.tsv")
    if result.evaluations:
        metrics.write_tsv(result.evaluations, VALIDATION_CURVE, paths.CURVES / "validation.tsv")


def summary(result: Run) -> dict[str, str | int | float]:
    """Return how the training went; no DVC metric, since minutes and speed differ from run to run."""
    return {
        "stopped_by": result.stopped_by,
        "steps": result.steps,
        "saved_step": result.saved_step,
        "windows": result.windows,
        "windows_per_second": result.windows / result.seconds,
        "minutes": result.seconds / 60,
    }


def student_loss(
    logits: Pair, batch: Batch, features: Features, teacher: metrics.Logits | None, settings: Distill
) -> Losses:
    """The distillation loss of a batch, given the teacher's logits of all windows."""
    targets = None
    if teacher:
        start, end = pad_pair(teacher, features, batch.indices)
        targets = to_device(start, batch.labels.device), to_device(end, batch.labels.device)
    return distillation(
        logits,
        targets,
        batch.labels,
        batch.answer_mask,
        settings.alpha,
        settings.temperature,
        settings.no_answer_weight,
    )


if __name__ == "__main__":
    cli.run_stage(main, cli.stage_parser("train", __doc__))

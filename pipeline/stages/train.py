"""train: train a student, data/encoder with a span head, on the teachers' logits and the labels.

Reads data/encoder, data/features, data/tokenizer, data/logits and data/dataset.
Resumes from its checkpoint if it was interrupted.
Writes data/student and data/curves, and hands the student's validation logits over to `evaluate` in the user's cache.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from safetensors import SafetensorError
from torch import Tensor
from transformers import PreTrainedModel

from pipeline import cli, paths
from pipeline.about import About, read_about, write_about
from pipeline.answering.examples import choose_examples, trained_on
from pipeline.checksums import checksum, seal, verified
from pipeline.errors import InputError
from pipeline.log import log
from pipeline.logits.targets import Targets, has_target, read_teacher, student_targets
from pipeline.models import encoders, inference, student_logits
from pipeline.models.batching import Batch, pad_pair, to_device
from pipeline.models.hardware import on_device, run_environment
from pipeline.models.student import Answering, Student
from pipeline.params import Distill, Params, load
from pipeline.processes import processes
from pipeline.questions import tokenization
from pipeline.questions.features import Features, SpanLogits, question_ids, read_features
from pipeline.questions.question import Question
from pipeline.questions.records import open_records, read_records
from pipeline.scores import confidence, metrics
from pipeline.training.checkpoints import Checkpoint, run_key
from pipeline.training.dropout import with_dropout
from pipeline.training.loop import Losses, Trainer
from pipeline.training.losses import distillation
from pipeline.training.pruning import Pruning, check_prunable
from pipeline.training.run import Row, Run, has_learned

# the columns plotted in dvc.yaml; `soft` is empty without distillation
TRAIN_CURVE = ("step", "minutes", "learning_rate", "loss", "hard", "soft", "gradient_norm")
VALIDATION_CURVE = ("step", "minutes", "exact_match", "f1")


@dataclass(frozen=True)
class Data:
    """What the student is trained and evaluated on.

    Attributes:
        features, records: of `train` and `validation`; the training records are read for errors alone.
        targets: of the training windows; None with distill.alpha 0. Windows without a target have a label.
        windows: indices of the windows to train on; None for all.
    """

    tokenizer: tokenization.PreTrainedTokenizerFast
    features: dict[str, Features]
    records: dict[str, Sequence[Question]]
    targets: Targets | None
    windows: np.ndarray | None = None


def main() -> None:
    params = load(paths.PARAMS)
    paths.writable(paths.training_cache())
    data = read(params)
    student = new_student(params, data)
    answers_with = student.config
    student = with_dropout(student, params.train.dropout, params.train.attention_dropout)
    checkpoint = Checkpoint(paths.training_cache(), key(params, student, data))
    code = student_logits.current_code()
    newest: dict[int, SpanLogits[np.ndarray]] = {}  # the logits of the last evaluation, by its step

    def evaluate_and_keep(model: PreTrainedModel) -> Row:
        newest.clear()
        row, newest[trainer.run.steps] = evaluate(model, data, params)
        return row

    with checkpoint.held():
        if processes().is_main_process:  # not before: the training that was waited for writes its curves
            paths.empty_folder(paths.CURVES)
        trainer = Trainer(
            student,
            data.features["train"],
            data.tokenizer.pad_token_id,
            params.train,
            params.seed,
            loss=lambda logits, batch: student_loss(
                logits, batch, data.features["train"], data.targets, params.distill
            ),
            evaluate=evaluate_and_keep,
            after_step=lambda: pruning.apply(trainer.run.steps + 1),
            checkpoint=checkpoint,
            report=write_curves,
            questions=question_ids(data.features["train"], data.records["train"]),
            windows=data.windows,
        )
        rise = trainer.plan.steps // 2 if params.prune.schedule == "cubic" else 0
        pruning = Pruning(student, params.prune.amount, rise)
        result = trainer.train()
        if processes().is_main_process:
            student.config = answers_with
            save(student, data, params, result)
            if result.saved_step in newest:
                hand_over(newest[result.saved_step], code)
            checkpoint.remove()
            warn_if_the_loss_did_not_fall(result)


def read(params: Params) -> Data:
    """Read the windows, the records and the teachers' logits.

    Raises:
        InputError: a file is missing or damaged, or windows have no logits.
    """
    splits = ("train", "validation")
    tokenizer = tokenization.load(verified(paths.tokenizer(paths.STUDENT_NAME), "tokenize"))
    features = {split: read_features(paths.features(paths.STUDENT_NAME, split)) for split in splits}
    records: dict[str, Sequence[Question]] = {
        "train": open_records(paths.DATASET / "train.parquet"),
        "validation": read_records(paths.DATASET / "validation.parquet"),
    }
    if not params.distill.alpha:
        return Data(tokenizer, features, records, None, with_labels(features["train"]))
    targets = read_targets(params, records["train"])
    return Data(tokenizer, features, records, targets, learnable(features["train"], targets))


def read_targets(params: Params, records: Sequence[Question]) -> Targets:
    """The teachers' logits over the student's tokens. The main process writes them to the cache before others read."""
    teachers = [read_teacher(*paths.teacher_paths(name, "train")) for name in sorted(params.teacher.models)]
    features = paths.features(paths.STUDENT_NAME, "train")
    with processes().main_process_first():
        return student_targets(teachers, features, lambda i: records[i]["id"], paths.targets_cache())


def new_student(params: Params, data: Data) -> Student:
    """The student before its training, on its device.

    Raises:
        InputError: the encoder cannot be pruned, or cannot process the windows.
    """
    encoder = encoders.load_encoder(verified(paths.ENCODER, "shrink"))
    check_prunable(encoder, params.prune.amount)
    student = on_device(Student.from_encoder(encoder, params.head, params.seed, encoders.read_head(paths.ENCODER)))
    for split, windows in data.features.items():
        inference.check_windows(
            student, windows, question_ids(windows, data.records[split]), data.tokenizer.pad_token_id
        )
    return student


def evaluate(model: PreTrainedModel, data: Data, params: Params) -> tuple[Row, SpanLogits[np.ndarray]]:
    """Score a model on the validation questions.

    Returns:
        The columns of the curve with the settings of the model's answers, and its logits, (T,) each.
    """
    features, records = data.features["validation"], data.records["validation"]
    logits = inference.predict_distributed(model, features, data.tokenizer.pad_token_id)
    longest, metric = params.evaluate.max_answer_length, params.evaluate.metric
    scores, answers = metrics.scores(features, records, logits, longest, metric, confidence.CANDIDATES)
    row = {name: scores[name] for name in ("exact_match", "f1", "null_threshold") if name in scores}
    fit = confidence.calibrate(records, answers, metric, scores.get("null_threshold"))
    return {**row, "confidence_temperature": fit.temperature}, logits


def save(student: PreTrainedModel, data: Data, params: Params, result: Run) -> None:
    """Write data/student, and the curves and the summary of its training."""
    print(f"saved the student of step {result.saved_step} of {result.steps}, stopped by {result.stopped_by}")
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
    data.tokenizer.save_pretrained(paths.STUDENT)
    examples = choose_examples(
        data.records["validation"],
        data.features["validation"],
        lambda windows: inference.predict(student, windows, data.tokenizer.pad_token_id),
        answering,
        params.evaluate.metric,
    )
    source = training_questions(params, data)
    write_about(About(source, examples, read_about(paths.ENCODER).shrunk), paths.STUDENT)
    seal(paths.STUDENT)
    write_curves(result)
    metrics.write_json(summary(result), paths.CURVES / "summary.json")


def training_questions(params: Params, data: Data) -> str:
    """What the student was trained on; questions without a label are left out where labels alone count."""
    dataset = params.dataset.model_dump()
    if not params.distill.alpha:
        dataset["unlabelled_file"] = None
    windows, features = data.windows, data.features["train"]
    count = len(data.records["train"]) if windows is None else count_questions(features, windows)
    return trained_on(dataset, count)


def hand_over(logits: SpanLogits[np.ndarray], code: bytes) -> None:
    """Store the saved student's logits of the validation windows for `evaluate`, which can do without them."""
    features = paths.features(paths.STUDENT_NAME, "validation")
    try:
        student_logits.hand_over(logits, paths.STUDENT, features, paths.handed_over(), code)
    except (InputError, OSError, SafetensorError) as error:
        log.warning("%s; evaluate will compute the logits again", error)


def with_labels(features: Features) -> np.ndarray | None:
    """Return the indices of the windows of questions that have an answer; None if all have one.

    Raises:
        InputError: no question has an answer.
    """
    labelled = features.labelled
    if labelled.all():
        return None
    if not labelled.any():
        raise InputError("no training question has an answer: there is nothing to learn from with distill.alpha 0")
    without = count_questions(features, ~labelled)
    print(f"{without} unlabelled questions are left out because distill.alpha is 0")
    return np.flatnonzero(labelled)


def learnable(features: Features, targets: Targets) -> np.ndarray | None:
    """Return the indices of the windows that have a target or a label; None if all have one.

    Only files of answers leave windows without a target.

    Raises:
        InputError: there are none.
    """
    known = has_target(features, targets.logits)
    if known.all():
        return None
    usable = known | features.labelled
    if not usable.any():
        raise InputError("no training question has an answer of a teacher or a label: there is nothing to learn from")
    print(
        f"{count_questions(features, usable & ~known)} questions without a teacher's answer are trained on the label "
        f"alone; {count_questions(features, ~usable)} without a label too are left out"
    )
    return None if usable.all() else np.flatnonzero(usable)


def count_questions(features: Features, windows: np.ndarray) -> int:
    """The number of questions of some windows: (N,) bool, or indices."""
    return len(np.unique(features.record[windows]))


def key(params: Params, student: PreTrainedModel, data: Data) -> str:
    """Return the checkpoint key: a hash of everything that determines the result of the run."""
    sections = ("seed", "distill", "prune", "train", "evaluate")
    settings = {**params.model_dump(include=set(sections)), **run_environment(student, params.train.precision)}
    settings["references"] = [(record["title"], record["answers"]["text"]) for record in data.records["validation"]]
    windows = [checksum(paths.features(paths.STUDENT_NAME, split)) for split in data.features]
    return run_key("train", settings, student, *windows, *([data.targets.digest] if data.targets else []))


def warn_if_the_loss_did_not_fall(result: Run) -> None:
    """Print a warning if the loss at the end is about the loss of the first step."""
    if not has_learned(result):
        print(
            f"warning: the student's loss was {result.first_loss:.3f} at the first step and is "
            f"{result.curve[-1]['loss']:.3f} at the end: it learned nothing; train for more steps or raise "
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
    logits: SpanLogits[Tensor],
    batch: Batch,
    features: Features,
    targets: Targets | None,
    settings: Distill,
) -> Losses:
    """The distillation loss of a batch, given the targets of all windows."""
    soft = None
    if targets:
        start, end = pad_pair(targets.logits, features, batch.indices)
        soft = SpanLogits(to_device(start, batch.labels.device), to_device(end, batch.labels.device))
    return distillation(
        logits,
        soft,
        batch.labels,
        batch.answer_mask,
        settings.alpha,
        settings.temperature,
        settings.no_answer_weight,
    )


if __name__ == "__main__":
    cli.run_stage(main, cli.stage_parser("train", __doc__))

"""evaluate: score the student on the validation questions.

Reads data/student, data/features, data/tokenizer, data/dataset, data/logits, and the student's logits of `train` from
the user's cache.
Compares its answers with the reference answers and the teachers' answers.
Writes metrics/eval.json and data/predictions.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from pipeline import cli, paths
from pipeline.checksums import seal, verified
from pipeline.log import log
from pipeline.logits.targets import has_target, read_teacher, student_targets
from pipeline.logits.teacher_scores import scores_of_answered
from pipeline.models import inference, student_logits
from pipeline.models.batching import pad, pad_pair, token_budget_batches
from pipeline.models.student import Student
from pipeline.params import Params, load
from pipeline.progress import Progress
from pipeline.questions import tokenization
from pipeline.questions.features import Features, SpanLogits, read_features
from pipeline.questions.question import Question
from pipeline.questions.records import read_records
from pipeline.scores import confidence, metrics
from pipeline.scores.baseline import warn_if_constant
from pipeline.scores.question_scores import question_scores, write_question_scores
from pipeline.scores.spans import Answer
from pipeline.scores.standard_errors import with_errors
from pipeline.training.losses import span_cross_entropy, span_divergence


class Losses(NamedTuple):
    """Losses of N windows, (N,) each, in nats.

    Attributes:
        label: cross-entropy with the label.
        teacher: KL(teacher || student) at temperature 1; NaN for windows without a target.
    """

    label: np.ndarray
    teacher: np.ndarray


def main() -> None:
    params = load(paths.PARAMS)
    longest, metric = params.evaluate.max_answer_length, params.evaluate.metric
    features = read_features(paths.features(paths.STUDENT_NAME, "validation"))
    records = read_records(paths.DATASET / "validation.parquet")
    teacher = read_targets(params, records)
    student = Student.load(verified(paths.STUDENT, "train"))

    logits = predict(student, features)
    candidates = max(params.evaluate.n_best, confidence.CANDIDATES)
    scores, answers = metrics.scores(features, records, logits, longest, metric, candidates)
    teacher_scores, teacher_answers = scores_of_answered(features, records, teacher, longest, metric)
    table = question_scores(features, records, answers, teacher_answers, metric)
    losses = window_losses(features, logits, teacher)
    settings = student.config.answering
    if "null_threshold" in scores:
        scores["null_threshold"] = settings["null_threshold"]
        if "no_answer_rate" in teacher_scores:
            scores["teacher_no_answer_rate"] = teacher_scores["no_answer_rate"]
        scores |= null_shares(features, losses)
    scores = with_errors(scores, table)
    if teacher_scores:
        scores["agreement"] = float(np.mean(table["agreement"].drop_null()))
        scores["teacher_kl"] = float(np.nanmean(losses.teacher))
    scores["loss"] = float(losses.label.mean())

    metrics.write_json({**scores, **sizes(student, paths.STUDENT)}, paths.EVAL_METRICS)
    folder = paths.empty_folder(paths.PREDICTIONS)
    write_predictions(records, [best_answers(found, params.evaluate.n_best) for found in answers], folder)
    write_calibration(records, answers, metric, settings, folder)
    write_question_scores(table, paths.question_scores(folder))
    seal(folder)
    warn_if_constant("the student", scores["f1"], records, metric)


def read_targets(params: Params, records: list[Question]) -> SpanLogits[np.ndarray]:
    """The teachers' logits over the student's tokens, each (T,)."""
    paths.writable(paths.targets_cache())
    teachers = [read_teacher(*paths.teacher_paths(name, "validation")) for name in sorted(params.teacher.models)]
    features = paths.features(paths.STUDENT_NAME, "validation")
    return student_targets(teachers, features, lambda i: records[i]["id"], paths.targets_cache()).logits


def predict(student: Student, features: Features) -> SpanLogits[np.ndarray]:
    """The student's logits, each (T,): those that `train` handed over, or computed with progress."""
    pad_token_id = tokenization.load(verified(paths.tokenizer(paths.STUDENT_NAME), "tokenize")).pad_token_id
    windows = paths.features(paths.STUDENT_NAME, "validation")
    handed = student_logits.take(paths.STUDENT, windows, paths.handed_over(), student_logits.current_code())
    if handed and student_logits.agree(handed, student, features, pad_token_id):
        print("the student's logits are those that train computed")
        return handed
    if handed:
        log.warning("the student's logits differ from those that train computed, so they are computed again")
    with Progress("scoring", "window", len(features)) as progress:
        return inference.predict(student, features, pad_token_id, progress=lambda windows, _: progress.update(windows))


def window_losses(features: Features, logits: SpanLogits[np.ndarray], teacher: SpanLogits[np.ndarray]) -> Losses:
    """The losses of each window."""
    losses = Losses(*np.zeros((2, len(features))))
    for indices in token_budget_batches(features.lengths, 65536):
        batch = pad(features, indices, pad_token_id=0)
        student_logits, teacher_logits = (pad_pair(pair, features, indices) for pair in (logits, teacher))
        losses.label[indices] = span_cross_entropy(student_logits, batch.labels, batch.answer_mask)
        losses.teacher[indices] = span_divergence(student_logits, teacher_logits, batch.answer_mask, temperature=1.0)
    losses.teacher[~has_target(features, teacher)] = np.nan
    return losses


def null_shares(features: Features, losses: Losses) -> dict[str, float]:
    """Shares, 0-100, of windows without the answer, whose label is [CLS]: in the windows, and in both losses."""
    null = features.labels[:, 1] == 0
    parts = {"null_windows": np.ones(len(features)), "null_loss": losses.label}
    if np.isfinite(losses.teacher).any():
        parts["null_kl"] = np.nan_to_num(losses.teacher)
    return {name: 100 * float(each[null].sum() / each.sum()) for name, each in parts.items()}


def sizes(student: nn.Module, folder: Path) -> dict[str, int]:
    """Number of parameters, number of nonzero parameters, and size of the weight files in bytes."""
    return {
        "parameters": sum(parameter.numel() for parameter in student.parameters()),
        "nonzero_parameters": sum(int(torch.count_nonzero(parameter)) for parameter in student.parameters()),
        "bytes": sum(path.stat().st_size for path in folder.glob("*.safetensors")),
    }


def best_answers(answers: list[Answer], n_best: int) -> list[Answer]:
    """The `n_best` best spans, and no answer where it is among them."""
    spans = [answer for answer in answers if answer.text][:n_best]
    return [answer for answer in answers if answer in spans or not answer.text]


def write_predictions(records: list[Question], answers: list[list[Answer]], folder: Path) -> None:
    """Write two files.

    predictions.json: question id -> answer text, the format of the official SQuAD evaluation script.
    nbest.jsonl: one line per question with its n best answers.
    """
    predictions = {record["id"]: best[0].text for record, best in zip(records, answers, strict=True) if best}
    text = json.dumps(predictions, indent=1, ensure_ascii=False) + "\n"
    (folder / "predictions.json").write_text(text, encoding="utf-8")
    with open(folder / "nbest.jsonl", "w", encoding="utf-8") as file:
        for record, best in zip(records, answers, strict=True):
            row = {"id": record["id"], "answers": [vars(answer) for answer in best]}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def write_calibration(
    records: list[Question], answers: list[list[Answer]], metric: str, settings: dict[str, Any], folder: Path
) -> None:
    """Write calibration.json: the calibration error of the student's confidence, whose temperature `train` chose."""
    candidates = [best_answers(found, confidence.CANDIDATES) for found in answers]
    fit = confidence.calibrate(
        records, candidates, metric, settings["null_threshold"], settings["confidence_temperature"]
    )
    metrics.write_json(vars(fit), folder / "calibration.json")


if __name__ == "__main__":
    cli.run_stage(main, cli.stage_parser("evaluate", __doc__))

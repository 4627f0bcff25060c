"""evaluate: score the student on the validation questions.

Reads data/student, data/features, data/tokenizer, data/dataset and data/logits.
Compares its answers with the reference answers and the teachers' answers.
Writes metrics/eval.json and data/predictions.
"""

import json
from pathlib import Path

import numpy as np
import torch
from torch import nn

from pipeline import cli, paths
from pipeline.checksums import seal, verified
from pipeline.logits.targets import read_teacher, student_targets
from pipeline.models import inference
from pipeline.models.batching import pad, pad_pair, token_budget_batches
from pipeline.models.student import Student
from pipeline.params import load
from pipeline.progress import Progress
from pipeline.questions import tokenization
from pipeline.questions.features import Features, SpanLogits, read_features
from pipeline.questions.records import read_records
from pipeline.scores import confidence, metrics
from pipeline.scores.baseline import warn_if_constant
from pipeline.scores.question_scores import question_scores, write_question_scores
from pipeline.scores.spans import Answer
from pipeline.scores.standard_errors import with_errors
from pipeline.training.losses import span_cross_entropy, span_divergence


def main() -> None:
    params = load(paths.PARAMS)
    tokenizer = tokenization.load(verified(paths.tokenizer(paths.STUDENT_NAME), "tokenize"))
    features = read_features(paths.features(paths.STUDENT_NAME, "validation"))
    records = read_records(paths.DATASET / "validation.parquet")
    names = sorted(params.teacher.models)
    outputs = [read_teacher(*paths.teacher_paths(name, "validation"), records) for name in names]
    teacher = student_targets(outputs, features)
    student = Student.load(verified(paths.STUDENT, "train"))

    with Progress("scoring", "window", len(features)) as progress:
        logits = inference.predict(
            student, features, tokenizer.pad_token_id, progress=lambda windows, _: progress.update(windows)
        )
    longest, metric = params.evaluate.max_answer_length, params.evaluate.metric
    n_best = params.evaluate.n_best
    scores, answers = metrics.scores(features, records, logits, longest, metric, max(n_best, confidence.CANDIDATES))
    teacher_scores, teacher_answers = metrics.scores(features, records, teacher, longest, metric)
    table = question_scores(features, records, answers, teacher_answers, metric)
    losses = window_losses(features, logits, teacher)
    settings = student.config.answering
    temperature = settings["confidence_temperature"]
    candidates = [best_answers(found, confidence.CANDIDATES) for found in answers]
    fit = confidence.calibrate(records, candidates, metric, settings["null_threshold"], temperature)
    if "null_threshold" in scores:
        scores |= {
            "null_threshold": settings["null_threshold"],
            "teacher_no_answer_rate": teacher_scores["no_answer_rate"],
            **null_shares(features, losses),
        }
    metrics.write_json(
        {
            **with_errors(scores, table),
            "agreement": float(np.mean(table["agreement"])),
            "teacher_kl": float(losses[1].mean()),
            "loss": float(losses[0].mean()),
            **sizes(student, paths.STUDENT),
        },
        paths.EVAL_METRICS,
    )
    folder = paths.empty_folder(paths.PREDICTIONS)
    write_predictions(records, [best_answers(found, n_best) for found in answers], folder)
    metrics.write_json(vars(fit), folder / "calibration.json")
    write_question_scores(table, paths.question_scores(folder))
    seal(folder)
    warn_if_constant("the student", scores["f1"], records, params.evaluate.metric)


def window_losses(features: Features, logits: SpanLogits[np.ndarray], teacher: SpanLogits[np.ndarray]) -> np.ndarray:
    """(2, N) in nats: cross-entropy with the labels, and KL(teacher || student) at temperature 1, of each window."""
    losses = np.zeros((2, len(features)))
    for indices in token_budget_batches(features.lengths, 65536):
        batch = pad(features, indices, pad_token_id=0)
        student_logits, teacher_logits = (pad_pair(pair, features, indices) for pair in (logits, teacher))
        losses[0, indices] = span_cross_entropy(student_logits, batch.labels, batch.answer_mask)
        losses[1, indices] = span_divergence(student_logits, teacher_logits, batch.answer_mask, temperature=1.0)
    return losses


def null_shares(features: Features, losses: np.ndarray) -> dict[str, float]:
    """Shares, 0-100, of windows without the answer, whose label is [CLS]: in the windows, and in both losses."""
    shares = [np.ones(len(features)), *losses]
    null = features.labels[:, 1] == 0
    names = ("null_windows", "null_loss", "null_kl")
    return {name: 100 * float(each[null].sum() / each.sum()) for name, each in zip(names, shares, strict=True)}


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


def write_predictions(records: list[dict], answers: list[list[Answer]], folder: Path) -> None:
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


if __name__ == "__main__":
    cli.run_stage(main, cli.stage_parser("evaluate", __doc__))

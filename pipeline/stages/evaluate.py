"""evaluate: score the student on the validation questions.

Reads data/student, data/features, data/tokenizer, data/dataset and data/logits.
Compares its answers with the references and with the teachers'.
Writes metrics/eval.json and data/predictions.
"""

import json
from pathlib import Path

import numpy as np
import torch
from torch import nn

from pipeline import cli, paths
from pipeline.logits import teaching
from pipeline.models import inference
from pipeline.models.batching import pad, pad_flat, token_budget_batches
from pipeline.models.hardware import device
from pipeline.models.student import Student
from pipeline.params import load
from pipeline.questions import tokenization
from pipeline.questions.features import Features, read_features
from pipeline.questions.records import read_records
from pipeline.scores import metrics
from pipeline.scores.spans import Answer
from pipeline.training.losses import span_cross_entropy, span_divergence


def main() -> None:
    params = load(paths.PARAMS)
    tokenizer = tokenization.load(paths.tokenizer(paths.STUDENTS))
    features = read_features(paths.features(paths.STUDENTS, "validation"))
    records = read_records(paths.DATASET / "validation.parquet")
    names = sorted(params.teacher.models)
    outputs = [teaching.read(*paths.teacher_paths(name, "validation"), records) for name in names]
    teacher = teaching.targets(outputs, features)
    student = Student.from_pretrained(paths.STUDENT).to(device())

    logits = inference.predict(student, features, tokenizer.pad_token_id)
    scores, found = metrics.scores(features, records, logits, params.evaluate.max_answer_length, params.evaluate.n_best)
    _, teachers = metrics.scores(features, records, teacher, params.evaluate.max_answer_length)
    loss, divergence = mean_losses(features, logits, teacher)
    metrics.write_json(
        {
            **scores,
            "loss": loss,
            "agreement": agreement(found, teachers),
            "teacher_kl": divergence,
            **sizes(student, paths.STUDENT),
        },
        paths.EVAL_METRICS,
    )
    write_predictions(records, found, paths.empty_folder(paths.PREDICTIONS))


def agreement(ours: list[list[Answer]], theirs: list[list[Answer]]) -> float:
    """Share of questions, 0-100, whose best answers have the same text."""
    first = [[answers[0].text if answers else None for answers in found] for found in (ours, theirs)]
    return 100 * float(np.mean([a == b for a, b in zip(*first, strict=True)]))


def mean_losses(features: Features, logits: metrics.Logits, teacher: metrics.Logits) -> tuple[float, float]:
    """Means over windows: cross-entropy with the label, and KL(teacher || student) at temperature 1; in nats."""
    total = np.zeros(2)
    for indices in token_budget_batches(features.lengths, 65536):
        batch = pad(features, indices, pad_token_id=0)
        ours, theirs = (tuple(pad_flat(end, features, indices) for end in pair) for pair in (logits, teacher))
        total[0] += span_cross_entropy(ours, batch.labels, batch.answer_mask).sum().item()
        total[1] += span_divergence(ours, theirs, batch.answer_mask, temperature=1.0).sum().item()
    return tuple((total / len(features)).tolist())


def sizes(student: nn.Module, folder: Path) -> dict[str, int]:
    """Parameters, those that are not zero, and bytes of the weights' files."""
    return {
        "parameters": sum(parameter.numel() for parameter in student.parameters()),
        "nonzero_parameters": sum(int(torch.count_nonzero(parameter)) for parameter in student.parameters()),
        "bytes": sum(path.stat().st_size for path in folder.glob("*.safetensors")),
    }


def write_predictions(records: list[dict], found: list[list[Answer]], folder: Path) -> None:
    """predictions.json, question id -> answer, as SQuAD's own script reads it; and nbest.jsonl, a line a question."""
    predictions = {record["id"]: answers[0].text for record, answers in zip(records, found, strict=True) if answers}
    text = json.dumps(predictions, indent=1, ensure_ascii=False) + "\n"
    (folder / "predictions.json").write_text(text, encoding="utf-8")
    with open(folder / "nbest.jsonl", "w", encoding="utf-8") as file:
        for record, answers in zip(records, found, strict=True):
            row = {"id": record["id"], "answers": [vars(answer) for answer in answers]}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    cli.run(main, cli.parser("pipeline.stages.evaluate", __doc__))

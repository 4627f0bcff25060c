"""The precision lost in stored logits: data/logits against the same teachers' float32 logits, in this workspace.

Runs each teacher over the validation windows again, in float32 and in bfloat16. Run `dvc repro` first.
"""

import json

import numpy as np

from pipeline import paths
from pipeline.cli import report_errors
from pipeline.logits.targets import read_teacher
from pipeline.models import encoders, inference
from pipeline.models.batching import pad, pad_flat, token_budget_batches
from pipeline.models.hardware import device
from pipeline.params import load
from pipeline.questions import tokenization
from pipeline.questions.features import Features
from pipeline.questions.records import read_records
from pipeline.scores import metrics
from pipeline.training.losses import span_divergence


def main() -> None:
    params = load(paths.PARAMS)
    records = read_records(paths.DATASET / "validation.parquet")
    longest = params.evaluate.max_answer_length
    names = sorted(name for name, teacher in params.teacher.models.items() if teacher.model)
    print(json.dumps({name: report(name, records, longest) for name in names}, indent=2))


def report(name: str, records: list[dict], longest: int) -> dict:
    """Compare with float32: a teacher's stored logits, and logits computed in bfloat16 and stored as float16."""
    opened = read_teacher(*paths.teacher_paths(name, "validation"))
    features, stored = opened.features, opened.logits(lambda i: records[i]["id"])
    pad_token_id = tokenization.load(paths.tokenizer(name)).pad_token_id
    teacher = encoders.load_qa_model(paths.TEACHER / name).to(device())
    float32 = inference.predict(teacher, features, pad_token_id)
    bfloat16 = inference.predict(encoders.bfloat16_encoder(teacher), features, pad_token_id)
    compared = {"stored": stored, "bfloat16, stored as float16": tuple(end.astype(np.float16) for end in bfloat16)}
    return {
        "windows": len(features),
        "stored as": str(stored[0].dtype),
        "float32": scores(features, records, float32, longest),
        **{
            what: {**scores(features, records, logits, longest), **differences(features, float32, logits)}
            for what, logits in compared.items()
        },
    }


def scores(features: Features, records: list[dict], logits: metrics.Logits, longest: int) -> dict[str, float]:
    found, _ = metrics.scores(features, records, logits, longest)
    return {"exact match": found["exact_match"], "F1": found["f1"]}


def differences(features: Features, exact: metrics.Logits, other: metrics.Logits) -> dict[str, float]:
    """Largest difference of a logit, and KL(exact || other) in nats, mean and largest over windows."""
    divergences = []
    for indices in token_budget_batches(features.lengths, 65536):
        mask = pad(features, indices, pad_token_id=0).answer_mask
        ours, theirs = (tuple(pad_flat(end, features, indices) for end in pair) for pair in (other, exact))
        divergences.append(span_divergence(ours, theirs, mask, temperature=1.0).numpy())
    divergence = np.concatenate(divergences)
    return {
        "largest difference": max(
            float(np.abs(a - b.astype(np.float32)).max()) for a, b in zip(exact, other, strict=True)
        ),
        "KL, mean": float(divergence.mean()),
        "KL, largest": float(divergence.max()),
    }


if __name__ == "__main__":
    report_errors(main)

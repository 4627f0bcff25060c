"""What storing logits as float16 loses: the stored logits against the same teacher's float32 ones, in this workspace.

Runs the teacher over the validation windows once more; `dvc repro` must have been there.
"""

import json

import numpy as np

from pipeline import encoders, feature_store, inference, metrics, paths, tokenization
from pipeline.batching import pad, pad_flat, token_budget_batches
from pipeline.errors import run
from pipeline.feature_store import Features
from pipeline.logit_store import LogitStore
from pipeline.losses import span_divergence
from pipeline.params import load
from pipeline.records import read_records
from pipeline.teaching import teachers_logits


def main() -> None:
    longest = load(paths.PARAMS).evaluate.max_answer_length
    tokenizer = tokenization.load(paths.TOKENIZER)
    features = feature_store.read(paths.FEATURES / "validation.safetensors")
    records = read_records(paths.DATASET / "validation.parquet")
    stored = teachers_logits(LogitStore(paths.LOGITS, tokenization.fingerprint(tokenizer)), features, records)
    teacher = encoders.load_qa_model(paths.TEACHER).to(inference.device())
    exact = inference.predict(teacher, features, tokenizer.pad_token_id)
    report = {"windows": len(features), "stored as": str(stored[0].dtype), **differences(features, exact, stored)}
    for name, logits in (("float32", exact), ("stored", stored)):
        scores, _ = metrics.scores(features, records, logits, longest)
        report[f"exact match, {name}"], report[f"F1, {name}"] = scores["exact_match"], scores["f1"]
    print(json.dumps(report, indent=2))


def differences(features: Features, exact: metrics.Logits, stored: metrics.Logits) -> dict[str, float]:
    """Largest difference of a logit, and KL(float32 || stored) in nats, mean and largest over windows."""
    divergences = []
    for indices in token_budget_batches(features.lengths, 65536):
        mask = pad(features, indices, pad_token_id=0).answer_mask
        ours, theirs = (tuple(pad_flat(end, features, indices) for end in pair) for pair in (stored, exact))
        divergences.append(span_divergence(ours, theirs, mask, temperature=1.0).numpy())
    divergence = np.concatenate(divergences)
    return {
        "largest difference": max(
            float(np.abs(a - b.astype(np.float32)).max()) for a, b in zip(exact, stored, strict=True)
        ),
        "KL, mean": float(divergence.mean()),
        "KL, largest": float(divergence.max()),
    }


if __name__ == "__main__":
    run(main)

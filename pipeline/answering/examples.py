"""Examples of a student's questions, for `pipeline.about`, and what it was trained on."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.about import Example
from pipeline.models.student import Answering
from pipeline.questions.features import Features, SpanLogits
from pipeline.questions.question import Question
from pipeline.scores import spans
from pipeline.scores.metrics import score_each

EXAMPLES = 3
TRIED = 60  # questions
LONGEST = 5000  # characters of a context


def trained_on(dataset: Mapping[str, Any], questions: int) -> str:
    """What a student was trained on.

    Args:
        dataset: the section of params.yaml.
        questions: how many.
    """
    files = [file for file in (dataset["train_file"], dataset.get("unlabelled_file")) if file]
    names = {"synthetic": "the synthetic corpus of span-distill", "files": " and ".join(files)}
    return f"{questions:,} questions of {names.get(dataset['source'], dataset['source'])}"


def choose_examples(
    records: Sequence[Question],
    features: Features,
    predict: Callable[[Features], SpanLogits[np.ndarray]],
    settings: Answering,
    metric: str,
) -> list[Example]:
    """Questions about different texts. Those that the student answers right come first, in the order of the records.

    Args:
        records: validation questions. `TRIED` of those with an answer and a context of at most `LONGEST` characters are
            considered, at equal distances.
        features: their windows.
        predict: the student's logits, (T,), of some windows.
        metric: the name of exact match in `metrics.METRICS`.
    """
    fit = [i for i, record in enumerate(records) if record["answers"]["text"] and len(record["context"]) <= LONGEST]
    places = fit[:: max(1, len(fit) // TRIED)][:TRIED]
    if not places:
        return []
    asked = [records[i] for i in places]
    windows = features.select(np.flatnonzero(np.isin(features.record, places)))
    windows.record[:] = np.searchsorted(places, windows.record)
    right = _right(asked, windows, predict(windows), settings, metric)
    examples: dict[str, Example] = {}
    for record, _ in sorted(zip(asked, right, strict=True), key=lambda pair: not pair[1]):
        context = record["context"]
        examples.setdefault(context, Example(record["question"], context, record["answers"]["text"][0]))
    return list(examples.values())[:EXAMPLES]


def _right(
    records: Sequence[Any], features: Features, logits: SpanLogits[np.ndarray], settings: Answering, metric: str
) -> list[bool]:
    """Whether the student's answer to each record is an exact match."""
    found = spans.answers(features, [record["context"] for record in records], *logits, 1, settings.max_answer_length)
    null_scores, predictions = spans.null_scores(features, *logits, len(records)), {}
    for record, best, null in zip(records, found, null_scores, strict=True):
        declines = settings.null_threshold is not None and best and null - best[0].score > settings.null_threshold
        predictions[record["id"]] = best[0].text if best and not declines else ""
    return [value > 0 for value in score_each(predictions, records, metric)["exact_match"]]

"""Generated questions, answers and students: words from a seed."""

import re
from functools import cache

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.comparison import frames
from pipeline.comparison.leaderboard import Candidate
from pipeline.report.content import Entry
from pipeline.scores.question_scores import COLUMNS, paragraph
from pipeline.scores.standard_errors import Clusters, clusters_of

WORDS = (
    "river stone clock garden winter letter harbour bridge lantern copper meadow engine castle window silver".split()
)


def records(questions: int, paragraphs: int, words: int = 120, seed: int = 0) -> list[dict]:
    rng = np.random.default_rng(seed)
    vocabulary = np.array([f"{first}{second}" for first in WORDS for second in WORDS])
    contexts = [" ".join(rng.choice(vocabulary, words)) for _ in range(paragraphs)]
    found = []
    for i in range(questions):
        context = contexts[i % paragraphs]
        start, text = span(context, rng)
        asked = ["What", "Who", "When", "Where"][i % 4]
        found.append(
            {
                "id": f"question-{i}",
                "title": f"Article {i % paragraphs // 5}",
                "context": context,
                "question": f"{asked} is the {' '.join(rng.choice(vocabulary, 4))}?",
                "answers": {"text": [text], "answer_start": [start]},
            }
        )
    return found


def span(context: str, rng: np.random.Generator) -> tuple[int, str]:
    """One to three words of the context, and where they start."""
    places = words_of(context)
    first, length = rng.integers(len(places) - 3), rng.integers(3)
    start, end = places[first][0], places[first + length][1]
    return start, context[start:end]


@cache
def words_of(context: str) -> list[tuple[int, int]]:
    """The start and the end of each word."""
    return [match.span() for match in re.finditer(r"\S+", context)]


def scores(records: list[dict], right: float, seed: int) -> pd.DataFrame:
    """A model that answers a share of the questions as the reference does, and the others with another span."""
    rng = np.random.default_rng(seed)
    is_right = rng.random(len(records)) < right
    answers = [
        (record["answers"]["answer_start"][0], record["answers"]["text"][0]) if good else span(record["context"], rng)
        for record, good in zip(records, is_right, strict=True)
    ]
    hashes = {context: paragraph(context) for context in {record["context"] for record in records}}
    columns = {
        "id": [record["id"] for record in records],
        "paragraph": [hashes[record["context"]] for record in records],
        "article": [record["title"] for record in records],
        "windows": [1] * len(records),
        "answerable": [True] * len(records),
        "exact_match": 100.0 * is_right,
        "f1": np.where(is_right, 100.0, rng.integers(0, 60, len(records))),
        "agreement": 100.0 * is_right,
        "prediction": [text for _, text in answers],
        "start": [start for start, _ in answers],
        "score": rng.normal(10, 3, len(records)),
        "null_odds": [None] * len(records),
    }
    return frames.from_table(pa.table(columns, schema=COLUMNS))


def entry(name: str, params: dict, scores: list[pd.DataFrame], parameters: int = 70_000_000) -> Entry:
    """A student whose seeds have these scores."""
    runs = {f"{name} {seed}": each for seed, each in enumerate(scores)}
    candidate = Candidate(name, runs, parameters, parameters, 4 * parameters)
    return Entry(candidate, params, [curves(seed) for seed in range(len(scores))], f"{name} gains", None)


def clusters(records: list[dict]) -> Clusters:
    columns = {"article": [each["title"] for each in records], "paragraph": [each["context"] for each in records]}
    return clusters_of(pa.table(columns))


def costs(**of_students: dict) -> pd.DataFrame:
    """What `span-distill cost` measured, by the model's name."""
    latencies = ["latency_ms_median", "latency_ms_low", "latency_ms_high"]
    columns = ["parameters", "nonzero_parameters", "bytes", *latencies, "device", "threads"]
    return pd.DataFrame(list(of_students.values()), list(of_students), columns)


def curves(seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    steps = np.arange(10, 1010, 10)
    loss = 3 * np.exp(-steps / 300) + 0.1 * np.random.default_rng(seed).random(len(steps))
    training = {"step": steps, "minutes": steps / 100, "loss": loss, "hard": loss + 0.2, "soft": loss}
    validation = {"step": steps[24::25], "minutes": steps[24::25] / 100, "exact_match": [50.0, 60.0, 65.0, 66.0]}
    return pd.DataFrame(training), pd.DataFrame({**validation, "f1": [60.0, 70.0 + seed, 74.0, 75.0]})

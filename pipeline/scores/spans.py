"""Start and end logits -> answers, by question."""

from dataclasses import dataclass

import numpy as np

from pipeline.questions.features import Features

Span = tuple[float, int, int]


@dataclass(frozen=True)
class Answer:
    """A stretch of a context: its text, first and past-the-last character, and the sum of its two logits."""

    text: str
    start: int
    end: int
    score: float


def best_spans(start_logits: np.ndarray, end_logits: np.ndarray, n: int, max_length: int) -> list[Span]:
    """The n spans of one window with the highest start plus end logit, best first, as (score, first, last).

    Every span of at most `max_length` tokens is looked at, so that the best one is found even where many single
    starts and ends score high. Of equal scores the earlier span comes first.

    Args:
        start_logits, end_logits: (L,) float, of the context's tokens only.
    """
    if not len(start_logits):
        return []
    max_length = min(max_length, len(start_logits))
    tail = np.full(max_length - 1, -np.inf, dtype=np.float32)
    ends = np.lib.stride_tricks.sliding_window_view(np.concatenate([end_logits, tail], dtype=np.float32), max_length)
    scores = (start_logits.astype(np.float32)[:, None] + ends).ravel()  # (L * max_length,)
    n = min(n, int(np.isfinite(scores).sum()))
    cut = np.partition(scores, -n)[-n] if n else np.inf
    best = np.flatnonzero(scores >= cut)
    best = best[np.argsort(-scores[best], kind="stable")][:n]
    return [(float(scores[i]), int(i // max_length), int(i // max_length + i % max_length)) for i in best]


def answers(
    features: Features,
    contexts: list[str],
    start_logits: np.ndarray,
    end_logits: np.ndarray,
    n_best: int,
    max_answer_length: int,
) -> list[list[Answer]]:
    """The `n_best` answers to each question, best first, pooled over its windows by the sum of logits.

    A span that several windows hold counts once, with its highest score. A question without a window has no answer.

    Args:
        contexts: of each question record; `features.record` points into it.
        start_logits, end_logits: (T,), laid end to end as the features' tokens are.
        max_answer_length: in tokens, inclusive.
    """
    pooled: list[dict[tuple[int, int], float]] = [{} for _ in contexts]
    for i in range(len(features)):
        first, past = features.context[i] + features.starts[i]
        offsets = features.offset_mapping[first:past]
        found = pooled[features.record[i]]
        spans = best_spans(start_logits[first:past], end_logits[first:past], n_best, max_answer_length)
        for score, start, end in spans:
            place = (int(offsets[start, 0]), int(offsets[end, 1]))
            found[place] = max(score, found.get(place, -np.inf))
    return [
        [
            Answer(context[start:end], start, end, score)
            for (start, end), score in sorted(spans.items(), key=lambda item: -item[1])[:n_best]
        ]
        for context, spans in zip(contexts, pooled, strict=True)
    ]


def window_accuracy(features: Features, start_logits: np.ndarray, end_logits: np.ndarray) -> float:
    """Share of windows, 0-100, whose highest start and end, each over context and [CLS], are both the label."""
    right = 0
    for i in range(len(features)):
        begin = features.starts[i]
        first, past = features.context[i]
        places = np.concatenate([[0], np.arange(first, past)])
        start = places[start_logits[begin + places].argmax()]
        end = places[end_logits[begin + places].argmax()]
        right += (start, end) == tuple(features.labels[i])
    return 100 * right / len(features)

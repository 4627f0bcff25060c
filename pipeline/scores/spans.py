"""Decoding: start and end logits -> the best answers to each question, and the score of no answer."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.questions.features import Features

Span = tuple[float, int, int]

# Digits, and the letters and combining marks of Latin, Greek and Cyrillic. Answers in other scripts may begin or end
# inside a word: some put no spaces between words, others attach articles and particles to them.
WORD_RANGES = (
    (0x30, 0x39), (0x41, 0x5A), (0x61, 0x7A), (0xAA, 0xAA), (0xBA, 0xBA), (0xC0, 0xD6), (0xD8, 0xF6), (0xF8, 0x2AF),
    (0x300, 0x373), (0x376, 0x377), (0x37B, 0x37D), (0x37F, 0x37F), (0x386, 0x386), (0x388, 0x481), (0x483, 0x52F),
    (0x1E00, 0x1FFF),
)  # fmt: skip
IN_WORD = np.zeros(0x2001, dtype=bool)  # by code point; the last is for all code points above
for _first, _last in WORD_RANGES:
    IN_WORD[_first : _last + 1] = True


@dataclass(frozen=True)
class Answer:
    """A span of a context, or no answer.

    Attributes:
        text: of the span; "" for no answer.
        start, end: character offsets in the context, `end` exclusive.
        score: start logit plus end logit; of [CLS] for no answer.
    """

    text: str
    start: int
    end: int
    score: float


def best_spans(start_logits: np.ndarray, end_logits: np.ndarray, n: int, max_length: int) -> list[Span]:
    """The n spans of one window with the highest start logit plus end logit, best first, as (score, first, last).

    The search is exact: it covers every span of at most `max_length` tokens. Ties are broken in favor of the earlier
    span.

    Args:
        start_logits, end_logits: (L,) float, of the context's tokens only.
        max_length: in tokens, inclusive.
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
    """The `n_best` answers to each question over all of its windows, ranked by start logit plus end logit.

    A span that occurs in several windows counts once, with its highest score. Tokens of white space alone are left out.
    No span begins or ends inside a word of `WORD_RANGES`, unless a window has no other span. A question without windows
    has no answers.

    Args:
        contexts: one for each question; `features.record` indexes this list.
        start_logits, end_logits: (T,), concatenated over the windows of `features`.
        max_answer_length: in tokens, inclusive.
    """
    pooled: list[dict[tuple[int, int], float]] = [{} for _ in contexts]
    for i in range(len(features)):
        first, past = features.context[i] + features.starts[i]
        tokens = first + np.flatnonzero(np.diff(features.offset_mapping[first:past])[:, 0] > 0)  # not white space alone
        offsets = features.offset_mapping[tokens]
        starts, ends = (logits[tokens].astype(np.float32) for logits in (start_logits, end_logits))
        starts_inside, ends_inside = inside_words(contexts[features.record[i]], offsets)
        places = _best_places(
            offsets,
            np.where(starts_inside, -np.inf, starts),
            np.where(ends_inside, -np.inf, ends),
            n_best,
            max_answer_length,
        ) or _best_places(offsets, starts, ends, n_best, max_answer_length)
        found = pooled[features.record[i]]
        for place, score in places:
            found[place] = max(score, found.get(place, -np.inf))
    return [
        [
            Answer(context[start:end], start, end, score)
            for (start, end), score in sorted(spans.items(), key=lambda item: -item[1])[:n_best]
        ]
        for context, spans in zip(contexts, pooled, strict=True)
    ]


def inside_words(context: str, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether an answer that starts, or ends, with each token would start, or end, inside a word; each (n,) bool.

    Args:
        offsets: (n, 2) first and past-the-last character of the tokens of a window, ascending.
    """
    if not len(offsets):
        return np.zeros(0, dtype=bool), np.zeros(0, dtype=bool)
    begin, past = max(int(offsets[0, 0]) - 1, 0), int(offsets[-1, 1])
    codes = np.frombuffer(context[begin : past + 1].encode("utf-32-le", "surrogatepass"), dtype="<u4")
    in_word = IN_WORD[np.minimum(codes, len(IN_WORD) - 1)]
    # whether the characters before and after each place are in one word
    joined = np.zeros(past - begin + 2, dtype=bool)
    joined[1 : len(in_word)] = in_word[:-1] & in_word[1:]
    return joined[offsets[:, 0] - begin], joined[offsets[:, 1] - begin]


def _best_places(
    offsets: np.ndarray, start_logits: np.ndarray, end_logits: np.ndarray, n: int, max_length: int
) -> list[tuple[tuple[int, int], float]]:
    """The n best (start, end) of one window, in characters, with their scores; several spans of tokens can be one."""
    wanted = n
    while True:
        spans = best_spans(start_logits, end_logits, wanted, max_length)
        places: dict[tuple[int, int], float] = {}
        for score, start, end in spans:
            places.setdefault((int(offsets[start, 0]), int(offsets[end, 1])), score)
        if len(places) >= n or len(spans) < wanted:
            return list(places.items())[:n]
        wanted *= 2


def with_no_answer(answers: Sequence[Answer], null_score: float, threshold: float) -> list[Answer]:
    """A question's answers, best first, with "" before those whose score is below its own by more than the threshold.

    Without answers, "" is there if the question has a window, so that its null score is finite.
    """
    if not answers and not np.isfinite(null_score):
        return []
    place = sum(not null_score - answer.score > threshold for answer in answers)
    return [*answers[:place], Answer("", 0, 0, float(null_score)), *answers[place:]]


def null_scores(features: Features, start_logits: np.ndarray, end_logits: np.ndarray, questions: int) -> np.ndarray:
    """(questions,) the score of no answer: [CLS] start plus end logit, the lowest over a question's windows.

    A window that lacks the answer has a high one, so the lowest counts; that of a question without windows is infinite.
    """
    cls = features.starts[:-1]
    found = np.full(questions, np.inf)
    np.minimum.at(found, features.record, start_logits[cls].astype(np.float32) + end_logits[cls].astype(np.float32))
    return found


def window_accuracy(features: Features, start_logits: np.ndarray, end_logits: np.ndarray) -> float:
    """Percentage of windows, 0-100, whose start and end argmax over the context and [CLS] both match the label."""
    right = 0
    for i in range(len(features)):
        begin = features.starts[i]
        first, past = features.context[i]
        places = np.concatenate([[0], np.arange(first, past)])
        start = places[start_logits[begin + places].argmax()]
        end = places[end_logits[begin + places].argmax()]
        right += (start, end) == tuple(features.labels[i])
    return 100 * right / len(features)

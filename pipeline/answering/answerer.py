"""Answers to questions about texts, by a trained student: the same windows, logits and decoding as in `evaluate`."""

import math
import re
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from pipeline.checksums import intact
from pipeline.models.hardware import on_device
from pipeline.models.inference import predict
from pipeline.models.student import Answering, Student, answering
from pipeline.questions import tokenization
from pipeline.questions.long_texts import Tokens, long_windows
from pipeline.questions.windows import Window, encode, pack
from pipeline.scores.confidence import CANDIDATES, confidences, ranked
from pipeline.scores.spans import Answer, answers, null_scores

MOST_WINDOWS = 4096  # in memory at a time
FAR = 5000  # characters
# ASCII ends before white space; full stops of Chinese and Japanese and of Hindi; lines
SENTENCE_END = re.compile(r"[.!?]+[\"')\]\u2019\u201d]*\s|[\u3002\uff01\uff1f\u0964]|\n")


@dataclass(frozen=True)
class Reply:
    """An answer to a question.

    Attributes:
        text: a span of the context; "" if the context does not answer the question.
        start, end: character offsets in the context, `end` exclusive; 0 and 0 for no answer.
        score: start logit plus end logit; of [CLS] for no answer.
        confidence: probability, 0-1, that the answer is right.
    """

    text: str
    start: int
    end: int
    score: float
    confidence: float


class Answerer:
    """A student, or another question-answering model, that answers questions.

    Attributes:
        model: in evaluation mode, on this process's device.
        tokenizer: fast tokenizer of the model.
        settings: of windows, decoding and confidence.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, settings: Answering):
        self.model = on_device(model).eval()
        self.tokenizer, self.settings = tokenizer, settings

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "Answerer":
        """The student in a folder, such as data/student or a copy of it.

        Raises:
            InputError: there is none, a file is damaged, or the config lacks a setting.
        """
        folder = intact(Path(folder))
        student = Student.load(folder)
        return cls(student, tokenization.load(folder), answering(student.config, folder))

    @property
    def question_tokens(self) -> int:
        """How many tokens a question may have, so that a window has room for new tokens of the context."""
        special = self.tokenizer.num_special_tokens_to_add(pair=True)
        return self.settings.max_length - special - self.settings.stride - 1

    def count_tokens(self, question: str) -> int:
        (encoding,) = encode([question.strip()], self.tokenizer)
        return len(encoding)

    def answers(
        self,
        questions: Sequence[tuple[str, str]],
        n_best: int = 1,
        progress: Callable[[int], Any] = lambda characters: None,
        tokenized: Callable[[int], Any] = lambda characters: None,
        tokens: Mapping[str, Tokens] | None = None,
    ) -> list[list[Reply]]:
        """The best answers to each question, best first.

        No answer is among them if the student may say so. A question has no replies if its context has no words. A
        context that several questions in succession share is tokenized once. Either callback may raise, to stop the
        work.

        Args:
            questions: pairs of a question and its context.
            n_best: at most this many for each question.
            progress: called after each batch of windows with the number of characters of contexts that were read; the
                sum over a whole call is the sum of the contexts' lengths.
            tokenized: called after each piece of a long context with its number of characters.
            tokens: of long contexts, as far as they are known.

        Raises:
            InputError: a question is too long for the student's windows.
        """
        steps = self.steps(questions, n_best, MOST_WINDOWS, progress, tokenized, tokens)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return end.value

    def steps(
        self,
        questions: Sequence[tuple[str, str]],
        n_best: int,
        size: int,
        progress: Callable[[int], Any] = lambda characters: None,
        tokenized: Callable[[int], Any] = lambda characters: None,
        tokens: Mapping[str, Tokens] | None = None,
    ) -> Generator[None, None, list[list[Reply]]]:
        """Like `answers`, in steps of at most `size` windows: yields between them, and returns the answers."""
        contexts = [context for _, context in questions]
        pools = [_Pool() for _ in questions]
        bounds = np.cumsum([0, *map(len, contexts)])
        settings, read = self.settings, 0
        windows = long_windows(questions, self.tokenizer, settings.max_length, settings.stride, tokenized, tokens)
        for number, group in enumerate(iter(lambda: list(islice(windows, size)), [])):
            if number:
                yield
            past = int(bounds[group[-1].record]) + _end(group[-1])
            self._read(group, contexts, pools, _shared(progress, past - read, len(group)))
            read = past
        progress(int(bounds[-1]) - read)
        return [self._replies(pool)[:n_best] for pool in pools]

    def _read(
        self, group: list[Window], contexts: list[str], pools: list["_Pool"], progress: Callable[[int, int], Any]
    ) -> None:
        """Add what some windows say to the pools of their questions."""
        first, last = group[0].record, group[-1].record
        features = pack(group)
        features.record[:] -= first
        logits = predict(self.model, features, self.tokenizer.pad_token_id, progress=progress)
        found = answers(features, contexts[first : last + 1], *logits, CANDIDATES, self.settings.max_answer_length)
        null = null_scores(features, *logits, last + 1 - first).tolist()
        for pool, spans, score in zip(pools[first : last + 1], found, null, strict=True):
            pool.add(spans, score)

    def _replies(self, pool: "_Pool") -> list[Reply]:
        settings = self.settings
        best = ranked(pool.candidates(settings.null_threshold is not None), settings.null_threshold)
        shares = confidences(best, settings.null_threshold, settings.confidence_temperature)
        return [Reply(**vars(answer), confidence=share) for answer, share in zip(best, shares.tolist(), strict=True)]


class _Pool:
    """The best spans of a question and the score of no answer, over the windows read so far."""

    def __init__(self) -> None:
        self.spans: dict[tuple[int, int], Answer] = {}
        self.null = math.inf

    def add(self, spans: list[Answer], null: float) -> None:
        """Add the best spans of more windows, best first. A span counts once, with its highest score."""
        for span in spans:
            known = self.spans.get((span.start, span.end), span)
            self.spans[span.start, span.end] = max(known, span, key=lambda answer: answer.score)
        best = sorted(self.spans.items(), key=lambda item: -item[1].score)[:CANDIDATES]
        self.spans, self.null = dict(best), min(self.null, null)

    def candidates(self, with_no_answer: bool) -> list[Answer]:
        """The best spans, best first, and no answer; none if the context has no words."""
        spans = list(self.spans.values())
        return [*spans, Answer("", 0, 0, self.null)] if spans and with_no_answer else spans


def _end(window: Window) -> int:
    """Past the last character of the context that a window holds; 0 if it holds none."""
    first, past = window.context
    return int(window.offset_mapping[past - 1, 1]) if past > first else 0


def _shared(progress: Callable[[int], Any], characters: int, windows: int) -> Callable[[int, int], Any]:
    """A callback of `predict` that reports some characters, shared out among some windows."""
    done = 0

    def report(count: int, tokens: int) -> None:
        nonlocal done
        before, done = done, done + count
        progress(characters * done // windows - characters * before // windows)

    return report


def sentence(context: str, start: int, end: int) -> tuple[int, int]:
    """First and past-the-last character of the sentence, or the sentences, around a span of a text.

    A sentence ends at a full stop, question or exclamation mark before white space, and at the end of a line. It is cut
    `FAR` characters from the span.
    """
    begin, stop = max(0, start - FAR), end + FAR
    ends = [match.end() for match in SENTENCE_END.finditer(context, begin, stop)]
    first = max((place for place in ends if place <= start), default=begin)
    last = min((place for place in ends if place >= end), default=min(stop, len(context)))
    text = context[first:last]
    return first + len(text) - len(text.lstrip()), first + len(text.rstrip())

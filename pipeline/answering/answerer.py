"""Answers to questions about texts, by a trained student: the same windows, logits and decoding as in `evaluate`."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerFast

from pipeline.models.hardware import on_device
from pipeline.models.inference import predict
from pipeline.models.student import Answering, Student, answering
from pipeline.questions import tokenization
from pipeline.questions.squad import NO_ANSWERS
from pipeline.questions.windows import Window, pack, windows
from pipeline.scores.confidence import CANDIDATES, confidences, ranked
from pipeline.scores.spans import Answer, answers, null_scores

# windows that are in memory at a time; those of one question are never divided
MOST_WINDOWS = 4096
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
        folder = Path(folder)
        student = Student.load(folder)
        return cls(student, tokenization.load(folder), answering(student.config, folder))

    def answers(
        self,
        questions: Sequence[tuple[str, str]],
        n_best: int = 1,
        progress: Callable[[int], Any] = lambda characters: None,
    ) -> list[list[Reply]]:
        """The best answers to each question, best first.

        No answer is among them if the student may say so. A question has no replies if its context has no words. A
        context that several questions in succession share is tokenized once.

        Args:
            questions: pairs of a question and its context.
            n_best: at most this many for each question.
            progress: called after each batch of windows with the number of characters of contexts that were read; the
                sum over a whole call is that of the contexts' lengths.

        Raises:
            InputError: a question is too long for the student's windows.
        """
        records = [_record(i, *pair) for i, pair in enumerate(questions)]
        replies: list[list[Reply]] = [[] for _ in records]
        settings = self.settings
        for group in _groups(windows(records, self.tokenizer, settings.max_length, settings.stride)):
            first, last = group[0].record, group[-1].record
            found = self._candidates(group, [record["context"] for record in records[first : last + 1]], progress)
            replies[first : last + 1] = [self._replies(candidates)[:n_best] for candidates in found]
        return replies

    def _candidates(
        self, group: list[Window], contexts: list[str], progress: Callable[[int], Any]
    ) -> list[list[Answer]]:
        """The candidates of some questions, given all of their windows."""
        features = pack(group)
        features.record[:] -= group[0].record
        total, windows_read = sum(map(len, contexts)), 0

        def report(count: int, tokens: int) -> None:
            nonlocal windows_read
            before, windows_read = windows_read, windows_read + count
            progress(total * windows_read // len(features) - total * before // len(features))

        logits = predict(self.model, features, self.tokenizer.pad_token_id, progress=report)
        found = answers(features, contexts, *logits, CANDIDATES, self.settings.max_answer_length)
        if self.settings.null_threshold is None:
            return found
        null = null_scores(features, *logits, len(contexts)).tolist()
        return [[*spans, Answer("", 0, 0, score)] if spans else [] for spans, score in zip(found, null, strict=True)]

    def _replies(self, candidates: list[Answer]) -> list[Reply]:
        best = ranked(candidates, self.settings.null_threshold)
        shares = confidences(best, self.settings.null_threshold, self.settings.confidence_temperature)
        return [Reply(**vars(answer), confidence=share) for answer, share in zip(best, shares.tolist(), strict=True)]


def _record(index: int, question: str, context: str) -> dict[str, Any]:
    return {"id": str(index), "question": question, "context": context, "answers": NO_ANSWERS}


def _groups(found: Iterable[Window]) -> Iterator[list[Window]]:
    """Consecutive questions' windows together, `MOST_WINDOWS` or a little more at a time."""
    group: list[Window] = []
    for _, of_record in groupby(found, key=lambda window: window.record):
        group += of_record
        if len(group) >= MOST_WINDOWS:
            yield group
            group = []
    if group:
        yield group


def sentence(context: str, start: int, end: int) -> tuple[int, int]:
    """First and past-the-last character of the sentence, or the sentences, around a span of a text.

    A sentence ends at a full stop, question or exclamation mark before white space, and at the end of a line.
    """
    ends = [match.end() for match in SENTENCE_END.finditer(context)]
    first = max((place for place in ends if place <= start), default=0)
    last = min((place for place in ends if place >= end), default=len(context))
    text = context[first:last]
    return first + len(text) - len(text.lstrip()), first + len(text.rstrip())

"""What the service knows of a student or teacher: its name, its answers, and the number of windows of a question."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil
from pathlib import Path

from tokenizers import Tokenizer

from pipeline.answering.answerer import Answerer
from pipeline.errors import InputError
from pipeline.models.encoders import load_qa_model
from pipeline.questions import tokenization

Pair = tuple[str, str]  # question and context


class TooLong(ValueError):
    """A question leaves its context no room in a window."""


@dataclass(frozen=True)
class Served:
    """A student, or a teacher, by the name that clients use."""

    name: str
    answerer: Answerer
    is_teacher: bool = False

    def windows(self, pairs: Sequence[Pair]) -> list[int]:
        """The number of windows of each question, without making them. Safe beside another thread's `answers`.

        Raises:
            TooLong: a question has too many tokens.
        """
        texts = {question.strip() for question, _ in pairs} | {context for _, context in pairs}
        tokens = {text: len(self._tokens.encode(text, add_special_tokens=False)) for text in texts}
        return [self._windows(i, tokens[pair[0].strip()], tokens[pair[1]]) for i, pair in enumerate(pairs)]

    def _windows(self, index: int, question: int, context: int) -> int:
        settings = self.answerer.settings
        room = settings.max_length - self.answerer.tokenizer.num_special_tokens_to_add(pair=True) - question
        if room <= settings.stride:
            most = room + question - settings.stride - 1
            raise TooLong(f"questions[{index}] has {question} tokens; {self.name} takes at most {most}")
        return 1 + max(0, ceil((context - room) / (room - settings.stride)))

    @cached_property
    def _tokens(self) -> Tokenizer:
        """A copy of the tokenizer, since a tokenizer's truncation and padding are set for each call."""
        copy = Tokenizer.from_str(self.answerer.tokenizer.backend_tokenizer.to_str())
        copy.no_truncation()
        copy.no_padding()
        return copy


def load(folders: list[Path], teacher: Path | None, teacher_tokenizer: Path | None) -> list[Served]:
    """The students in folders, and the teacher in another, with its tokenizer's folder.

    The teacher reads windows as the first student does, and says that there is no answer if that is its best one and
    the first student may say so. Its confidence is not calibrated.

    Raises:
        InputError: a folder is named twice, or has no student or no question-answering model.
    """
    paths = [*folders, *([teacher] if teacher else [])]
    names = short_names(paths)
    students = [Served(name, Answerer.from_pretrained(folder)) for name, folder in zip(names, folders, strict=False)]
    if teacher is None or teacher_tokenizer is None:
        return students
    settings = students[0].answerer.settings
    threshold = None if settings.null_threshold is None else 0.0
    answerer = Answerer(
        load_qa_model(teacher),
        tokenization.load(teacher_tokenizer),
        replace(settings, null_threshold=threshold, confidence_temperature=1.0),
    )
    return [*students, Served(names[-1], answerer, is_teacher=True)]


def short_names(folders: list[Path]) -> list[str]:
    """The last parts of the folders' paths, as many as tell all of them apart: `student`, or `a/student`, `b/student`.

    Raises:
        InputError: a folder is named twice.
    """
    parts = [folder.resolve().parts for folder in folders]
    for count in range(1, max(map(len, parts)) + 1):
        names = ["/".join(each[-count:]) for each in parts]
        if len(set(names)) == len(names):
            return names
    twice = next(folder for i, folder in enumerate(folders) if parts[i] in parts[:i])
    raise InputError(f"the folder {twice} is named twice")

"""What the service knows of a student or teacher: its name, its answers, and how much it has to read for them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import ceil
from pathlib import Path
from typing import Any

from tokenizers import Encoding, Tokenizer

from pipeline.about import About, read_about
from pipeline.answering.answerer import Answerer
from pipeline.checksums import intact
from pipeline.errors import InputError
from pipeline.models.encoders import load_qa_model
from pipeline.questions import tokenization
from pipeline.questions.long_texts import Tokens, is_long, tokenize
from pipeline.web.facts import facts

Pair = tuple[str, str]  # question and context
Texts = dict[str, Tokens]  # of long texts


# Of a token; the words of no language have more. What a window takes has fewer, so that a longer question need not be
# tokenized.
MOST_CHARACTERS = 100


class TooLong(ValueError):
    """A question leaves its context no room in a window."""


@dataclass(frozen=True)
class Served:
    """A student, or a teacher, by the name that clients use.

    Attributes:
        facts: what the page says of its head and encoder.
        about: what it was trained on, and examples.
    """

    name: str
    answerer: Answerer
    is_teacher: bool = False
    facts: tuple[str, ...] = ()
    about: About = field(default_factory=About)

    @property
    def question_characters(self) -> int:
        """How many a question may have, whatever its tokens."""
        return MOST_CHARACTERS * self.answerer.question_tokens

    def read(self, pairs: Sequence[Pair], check: Callable[[], Any] = lambda: None) -> tuple[list[int], Texts]:
        """The number of windows of each question, and the tokens of long contexts.

        Safe beside another thread's `answers`, and does not keep other threads waiting.

        Args:
            check: called before each text and after each piece of a long one; may raise, to stop the work.

        Raises:
            TooLong: a question has too many characters or tokens.
        """
        for i, (question, _) in enumerate(pairs):
            self._check("characters", len(question.strip()), self.question_characters, i, len(pairs))
        counts, texts = {}, {}
        for text in dict.fromkeys(text for question, context in pairs for text in (question.strip(), context)):
            check()
            if is_long(text):
                texts[text] = tokenize(text, self._encode, lambda characters: check())
                counts[text] = len(texts[text].ids)
            else:
                counts[text] = len(self._encode([text])[0])
        for i, (question, _) in enumerate(pairs):
            self._check("tokens", counts[question.strip()], self.answerer.question_tokens, i, len(pairs))
        return [self._windows(counts[question.strip()], counts[context]) for question, context in pairs], texts

    def _check(self, unit: str, count: int, most: int, index: int, questions: int) -> None:
        if count > most:
            name = "the question" if questions == 1 else f"questions[{index}]"
            raise TooLong(f"{name} is too long for {self.name}: it has {count:,} {unit}; at most {most:,} are allowed")

    def _windows(self, question: int, context: int) -> int:
        """How many there are, given how many tokens question and context have."""
        stride = self.answerer.settings.stride
        step = 1 + self.answerer.question_tokens - question
        return 1 + max(0, ceil((context - stride - step) / step))

    def _encode(self, texts: list[str]) -> list[Encoding]:
        # a batch even of one text, since `encode` keeps other threads waiting
        return self._tokens.encode_batch(texts, add_special_tokens=False)

    @cached_property
    def _tokens(self) -> Tokenizer:
        """A copy of the tokenizer, since truncation, padding and post-processor are set for each call."""
        copy: Any = Tokenizer.from_str(self.answerer.tokenizer.backend_tokenizer.to_str())
        copy.post_processor = None
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
    students = [_student(name, folder) for name, folder in zip(names, folders, strict=False)]
    if teacher is None or teacher_tokenizer is None:
        return students
    settings = students[0].answerer.settings
    threshold = None if settings.null_threshold is None else 0.0
    answerer = Answerer(
        load_qa_model(intact(teacher)),
        tokenization.load(teacher_tokenizer),
        replace(settings, null_threshold=threshold, confidence_temperature=1.0),
    )
    return [*students, Served(names[-1], answerer, True, tuple(facts(answerer.model.config)))]


def _student(name: str, folder: Path) -> Served:
    answerer = Answerer.from_pretrained(folder)
    return Served(name, answerer, False, tuple(facts(answerer.model.config)), read_about(folder))


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

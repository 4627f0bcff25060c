"""Read a teacher's answers from a file: the answers of any system, with offsets or without.

The format is recognized by the content:

- JSON Lines with `id` and `answers`, a list of objects with `text` and optionally `start`, `probability`, `confidence`
  and `score`: what `span-distill answers` and `ask --batch` write.
- transformers' nbest_predictions.json: a list of such objects by id.
- SQuAD's predictions.json: a text by id.

"" or null says that the context has no answer. JSON Lines are read line by line, the other two whole.
"""

import json
import math
import reprlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline.errors import InputError
from pipeline.questions.offsets import trimmed
from pipeline.questions.places import find_all
from pipeline.questions.question import Question
from pipeline.questions.squad import json_object

NO_ANSWER = (0, 0)  # its place
NUMBERS = ("probability", "confidence", "score")  # the first that an answer has counts
LARGEST = 1e30  # score; also refuses infinity and NaN
ROUNDING = 1e-3  # by which probabilities may sum to more than 1
EXAMPLES = 3
SHORT = reprlib.Repr()
SHORT.maxstring = 80  # of examples
FORMATS = (
    'the formats are JSON Lines with {"id": ..., "answers": [{"text": ...}, ...]}, and a JSON object with such '
    "answers, or one text, for each id"
)


class Example(NamedTuple):
    """An answer whose text is nowhere in its context, and the id of its question."""

    id: str
    text: str


@dataclass
class Counts:
    """What was read.

    Attributes:
        answers: in the file.
        unfound: of them, those whose text is nowhere in its context.
        examples: the first `EXAMPLES` of those.
        several: questions with an answer in several places.
    """

    answers: int = 0
    unfound: int = 0
    examples: list[Example] = field(default_factory=list)
    several: int = 0

    @property
    def description(self) -> str:
        examples = "; ".join(f"question {identifier}: {SHORT.repr(text)}" for identifier, text in self.examples)
        return (
            f"{self.unfound:,} of {self.answers:,} answers ({100 * self.unfound / self.answers:.2f} %) are nowhere in "
            f"their context and are dropped{f' ({examples})' if examples else ''}; {self.several:,} questions have an "
            "answer in several places, which share its probability"
        )


@dataclass(frozen=True)
class Answers:
    """The answers to N questions, at K places in total.

    Attributes:
        first: (N,) int64, index of the question's first place; -1 where the file does not have the question.
        count: (N,) int32, number of the question's places; 0 where none of its answers was found.
        places: (K, 2) int32, first and past-the-last character in the context; `NO_ANSWER` for no answer.
        probabilities: (K,) float32; those of a question sum to at most 1. An answer in several places has an equal part
            in each.
        counts: what was read.
    """

    first: np.ndarray
    count: np.ndarray
    places: np.ndarray
    probabilities: np.ndarray
    counts: Counts

    def of(self, question: int) -> slice:
        """The places of a question."""
        return slice(self.first[question], self.first[question] + self.count[question])


def read_answers(path: Path, where: str, splits: Mapping[str, list[Question]]) -> Answers:
    """Read the answers of a file, and find their places in the contexts.

    Args:
        where: the file's name for errors.
        splits: N questions in all, by split.

    Raises:
        InputError: the file is empty or of another format; it has an unknown id, an id twice, an answer that is not at
            its `start`, answers without numbers, or probabilities that are not from 0 to 1 in sum; names the line and
            the id.
    """
    records = [record for questions in splits.values() for record in questions]
    questions = _Questions(records)
    first, count = np.full(len(records), -1, dtype=np.int64), np.zeros(len(records), dtype=np.int32)
    places, probabilities, counts = array("i"), array("f"), Counts()
    for at, identifier, entries in _entries(path, where):
        numbers = questions.numbers(identifier)
        if not numbers:
            raise InputError(f"{at} is not in the data set, of {len(records):,} questions; remove it from the file")
        if len(numbers) > 1:
            raise InputError(f"{at} is in several of {', '.join(splits)}; give these questions different ids")
        (number,) = numbers
        if first[number] >= 0:
            raise InputError(f"{at} is there twice; put all of its answers into one list")
        first[number] = len(probabilities)
        found = _found(entries, records[number], at, counts)
        for place, probability in found:
            places.extend(place)
            probabilities.append(probability)
        count[number] = len(found)
    if not counts.answers:
        raise InputError(f"{where} has no answers; {FORMATS}")
    pairs = np.frombuffer(places, np.int32).reshape(-1, 2)
    return Answers(first, count, pairs, np.frombuffer(probabilities, np.float32), counts)


class _Questions:
    """The numbers of questions by id, in 12 bytes a question; a dictionary takes 70."""

    def __init__(self, records: list[Question]):
        hashes = np.fromiter((hash(record["id"]) for record in records), np.int64, len(records))
        self._records, self._order = records, np.argsort(hashes, kind="stable").astype(np.int32)
        self._hashes = array("q", hashes[self._order].tobytes())

    def numbers(self, identifier: str) -> list[int]:
        """The indices of the records with an id."""
        found = slice(bisect_left(self._hashes, hash(identifier)), bisect_right(self._hashes, hash(identifier)))
        return [number for number in self._order[found].tolist() if self._records[number]["id"] == identifier]


def _found(entries: Any, record: Question, at: str, counts: Counts) -> list[tuple[tuple[int, int], float]]:
    """The places of a question's answers and their probabilities."""
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(f"{at}: the answers are not a list of objects with `text`; {FORMATS}")
    found: list[tuple[tuple[int, int], float]] = []
    several = False
    for entry, probability in zip(entries, _probabilities(entries, at), strict=True):
        places = _places(entry, record["context"], at)
        counts.answers += 1
        several = several or len(places) > 1
        if not places:
            counts.unfound += 1
            if len(counts.examples) < EXAMPLES:
                counts.examples.append(Example(record["id"], entry["text"]))
        found += [(place, probability / len(places)) for place in places]
    counts.several += several
    return found


def _places(entry: dict[str, Any], context: str, at: str) -> list[tuple[int, int]]:
    """The places of an answer: the one at its `start`, or all where its text is found."""
    text, start = entry.get("text"), entry.get("start")
    if "text" not in entry or not (text is None or isinstance(text, str)):
        raise InputError(f"{at}: `text` is missing, or neither a text nor null")
    if not text or not trimmed(text):
        return [NO_ANSWER]
    if start is None:
        return find_all(context, text)
    is_there = isinstance(start, int) and not isinstance(start, bool) and start >= 0 and context.startswith(text, start)
    if not is_there:
        there = context[start : start + len(text)] if isinstance(start, int) and start >= 0 else ""
        raise InputError(
            f"{at}: {text!r} is not at character {start!r} of its context, where {there!r} is; correct `start`, or "
            "leave it out to look for the text"
        )
    return [(start, start + len(text))]


def _probabilities(entries: list[dict[str, Any]], at: str) -> list[float]:
    """The probability of each answer to a question."""
    name = next((name for name in NUMBERS if any(entry.get(name) is not None for entry in entries)), None)
    if name is None:
        if len(entries) > 1:
            raise InputError(f"{at}: of several answers each needs a number, one of {', '.join(NUMBERS)}")
        return [1.0] * len(entries)
    values: list[Any] = [entry.get(name) for entry in entries]
    for value in values:
        if not isinstance(value, int | float) or isinstance(value, bool) or not -LARGEST < value < LARGEST:
            raise InputError(f"{at}: the {name} of an answer is {value!r}; each answer needs a number")
    if name == "score":
        weights = [math.exp(value - max(values)) for value in values]
        return [weight / sum(weights) for weight in weights]
    if min(values) < 0 or sum(values) > 1 + ROUNDING:
        problem = f"{name} is {min(values)}" if min(values) < 0 else f"{name} sums to {sum(values):g}"
        raise InputError(f"{at}: {problem}; the probabilities of a question are not negative and sum to at most 1")
    return values


def _entries(path: Path, where: str) -> Iterator[tuple[str, str, Any]]:
    """Yield for each question of the file where it is, its id, and its list of answers.

    Raises:
        InputError: the file is not in UTF-8, or of another format.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            if _is_json_lines(file):
                file.seek(0)
                for line, text in enumerate(file, 1):
                    if text.strip():
                        yield _of_line(_parsed(text, f"{where}, line {line}"), f"{where}, line {line}")
            else:
                file.seek(0)
                yield from _of_document(_parsed(file.read(), where), where)
    except UnicodeDecodeError as error:
        raise InputError(f"{where} is not UTF-8 text: {error}") from None


def _is_json_lines(lines: Iterator[str]) -> bool:
    """Whether the first line with text is an object with an id."""
    try:
        first = json.loads(next(filter(str.strip, lines), ""))
    except (ValueError, RecursionError):
        return False
    return isinstance(first, dict) and "id" in first


def _of_line(row: Any, where: str) -> tuple[str, str, Any]:
    if not isinstance(row, dict) or "id" not in row or "answers" not in row:
        raise InputError(f"{where} has no `id` or no `answers`; {FORMATS}")
    return f"{where}: question {row['id']}", str(row["id"]), row["answers"]


def _of_document(document: Any, where: str) -> Iterator[tuple[str, str, Any]]:
    if not isinstance(document, dict):
        raise InputError(f"{where} is neither JSON Lines nor a JSON object; {FORMATS}")
    for identifier, answers in document.items():
        is_text = answers is None or isinstance(answers, str)
        yield f"{where}: question {identifier}", identifier, [{"text": answers}] if is_text else answers


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=json_object)
    except (ValueError, RecursionError) as error:
        problem = f"is not JSON: {error}" if text.strip() else "is empty"
        raise InputError(f"{where} {problem}; {FORMATS}") from None

"""Check question records, and leave out or repair those that are invalid."""

import hashlib
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, cast

from pipeline.errors import InputError
from pipeline.questions.faults import Fault, listing
from pipeline.questions.offsets import trimmed
from pipeline.questions.places import Place, find
from pipeline.questions.question import Question
from pipeline.questions.squad import SURROGATE, Record


@dataclass
class Checked:
    """The valid questions of a split, and what was done to get them.

    Attributes:
        records: valid, in the order in which they were read; they are read and checked one by one as they are used, and
            the other attributes are complete after the last.
        faults: the questions that were left out or repaired.
        ambiguous: number of answers without `answer_start` whose text occurs several times; they got the first place.
    """

    records: Iterator[Question] = field(default_factory=lambda: iter(()))
    faults: list[Fault] = field(default_factory=list)
    ambiguous: int = 0


def checked(records: Iterable[Record], where: str, size: int | None = None, faulty: str = "error") -> Checked:
    """Check records. Answers without `answer_start` get the place where their text occurs in the context.

    Of the records that were read, hashes of their ids are kept, to find duplicates: about 100 bytes each.

    Args:
        records: from `squad` or `tables`; their key `location`, a line of the file, is removed.
        where: the name of the records, for errors.
        size: number of records: to read with `error`, to keep with `drop` and `repair`; None for all.
        faulty: what to do with an invalid record. `drop` leaves it out. `repair` moves each answer that is not at its
            `answer_start` to the nearest place of its text (`places.find`), and leaves the record out if there is none.

    Raises:
        InputError: while the records are read: there are no valid records, or with `error` some are invalid. The
            message has the number of invalid records, and for the first 20 `where`, the id and the problem.
    """
    found = Checked()
    found.records = _valid(records, where, size, faulty, found)
    return found


def _valid(records: Iterable[Record], where: str, size: int | None, faulty: str, result: Checked) -> Iterator[Question]:
    """Yield the valid records, and add what was done to `result`; `checked` describes the other arguments."""
    faults, kept, total = result.faults, 0, 0
    seen: set[bytes] = set()
    for total, found in enumerate(islice(records, size) if faulty == "error" else records, 1):
        location = found.pop("location", None)
        record, several = _with_starts(found)
        problem = _problem(record, seen)
        if problem:
            repaired = None if faulty == "drop" else _repaired(record, seen)
            name = str(record["id"] or f"number {total - 1} (no id)")
            reason = f"{location}: {problem}" if location else problem
            faults.append(Fault(name, reason, "repaired" if repaired else "left out"))
            record = repaired
        if record:
            seen.add(_digest(record["id"]))
            kept += 1
            result.ambiguous += several
            if not faults or faulty != "error":  # else nothing will be done with it
                yield cast(Question, record)
        if kept == size:
            break
    if faults and (faulty == "error" or not kept):
        raise InputError(_message(faults, where, total))
    if not kept:
        raise InputError(f"{where} has no usable questions")


def _digest(identifier: str) -> bytes:
    return hashlib.blake2b(identifier.encode(), digest_size=16).digest()


def _message(faults: list[Fault], where: str, total: int) -> str:
    repairable = sum(fault.action == "repaired" for fault in faults)
    return (
        f"{len(faults)} of {total} questions are invalid; `dataset.faulty: drop` leaves them out, and `repair` can "
        f"correct {repairable} of them{listing(faults, f'{where}: ')}"
    )


def _with_starts(record: Record) -> tuple[Record, int]:
    """The record with the places of its answers if it has their texts alone, and how many of these are ambiguous.

    It is unchanged if the context does not contain all of them.
    """
    answers, context = record["answers"], record["context"]
    if not isinstance(answers, dict) or set(answers) != {"text"} or not isinstance(context, str):
        return record, 0
    texts = answers["text"] if isinstance(answers["text"], list) else [None]
    places = [find(context, text) if isinstance(text, str) else None for text in texts]
    found = [place for place in places if place]
    if len(found) < len(places):
        return record, 0
    return _with_places(record, found), sum(place.count > 1 for place in found)


def _with_places(record: Record, places: list[Place]) -> Record:
    texts = [record["context"][place.start : place.end] for place in places]
    return {**record, "answers": {"text": texts, "answer_start": [place.start for place in places]}}


def _problem(record: Record, seen: set[bytes]) -> str | None:
    """What is wrong with a record, or None if it is valid.

    Args:
        seen: the digests of the ids of other records.
    """
    return _content_problem(record, seen) or _place_problem(record["answers"], record["context"])


def _content_problem(record: Record, seen: set[bytes]) -> str | None:
    """What is wrong beside the places of the answers."""
    for key in ("id", "context", "question"):
        if not isinstance(record[key], str):
            return f"{key} is missing or not a string"
        if not record[key].strip():
            return f"{key} is empty"
        unpaired = SURROGATE.search(record[key])
        if unpaired:
            before = record[key][max(0, unpaired.start() - 20) : unpaired.end()]
            return f"{key} has an unpaired surrogate, which UTF-8 cannot encode: {before!a}"
    if _digest(record["id"]) in seen:
        return "duplicate id"
    answers = record["answers"]
    if not isinstance(answers, dict) or "text" not in answers:
        return "answers are missing, or not a list of objects with text and answer_start"
    texts, starts = answers["text"], answers.get("answer_start", answers["text"])
    if not isinstance(texts, list) or not isinstance(starts, list) or len(texts) != len(starts):
        return "answers: text and answer_start are not lists of the same length"
    if not all(isinstance(text, str) and trimmed(text) for text in texts):
        return "an answer's text is missing, empty or invisible"
    return None


def _place_problem(answers: dict[str, list], context: str) -> str | None:
    """What is wrong with the places of answers."""
    if "answer_start" not in answers:
        absent = [text for text in answers["text"] if not find(context, text)]
        return f"the context does not contain the answer {absent[0]!r}"
    for text, start in zip(answers["text"], answers["answer_start"], strict=True):
        if not isinstance(start, int) or isinstance(start, bool):
            return f"answer_start of {text!r} is missing or not an integer"
        found = context[start : start + len(text)] if start >= 0 else ""
        if found != text:
            return f"answer_start {start} points to {found!r}, but the answer is {text!r}{_difference(found, text)}"
    return None


def _difference(found: str, text: str) -> str:
    """The first characters that differ, by name: two that are not ASCII may look the same."""
    for i, (a, b) in enumerate(zip(found, text, strict=False)):
        if a != b and not (a + b).isascii():
            return f"; character {i} is {_name(a)} in the context and {_name(b)} in the answer"
    return ""


def _name(character: str) -> str:
    return f"U+{ord(character):04X} {unicodedata.name(character, '')}".rstrip()


def _repaired(record: Record, seen: set[bytes]) -> Record | None:
    """The record with each answer at the nearest place of its text; None if one has none, or more is wrong."""
    answers = record["answers"]
    if _content_problem(record, seen) or "answer_start" not in answers:
        return None
    pairs = zip(answers["text"], answers["answer_start"], strict=True)
    places = [_nearest(record["context"], text, start) for text, start in pairs]
    found = [place for place in places if place]
    return _with_places(record, found) if len(found) == len(places) else None


def _nearest(context: str, text: str, start: Any) -> Place | None:
    """The place of an answer: `start` if its text is there, else the nearest."""
    if not isinstance(start, int) or isinstance(start, bool):
        return find(context, text)
    if start >= 0 and context[start : start + len(text)] == text:
        return Place(start, start + len(text), 1)
    return find(context, text, near=start)

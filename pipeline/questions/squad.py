"""Read SQuAD questions from JSON files or a hub, and check them.

A record is {"id", "title", "context", "question", "answers": {"text": [str], "answer_start": [int]}}, as in the
hub's `squad` data set; `answer_start` is a character offset in the context. A question without an answer has empty
lists: it can train a student, and cannot be scored.
"""

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from pipeline.errors import InputError

MAX_LISTED = 20
Record = dict[str, Any]
NO_ANSWERS: Record = {"text": [], "answer_start": []}


def read_json(path: Path) -> tuple[list[Record], int]:
    """Read a SQuAD 1.1 or 2.0 file.

    Returns the records, unchecked, and the number of unanswerable questions (`is_impossible`), which are left out.

    Raises:
        InputError: the file is missing, is not JSON, or does not have the structure data > paragraphs > qas.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{path} is missing; put it there and run `dvc add {path}` (experiments see only what git or DVC tracks)"
        ) from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; it must be a SQuAD JSON file") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path} is not JSON: {error}") from None
    questions = list(_questions(document, path))
    records = [_record(*question) for question in questions if not question[2].get("is_impossible")]
    return records, len(questions) - len(records)


def _questions(document: Any, path: Path) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Yield (title, context, question) for every question, in the file's order."""
    for a, article in enumerate(_list(document, "data", f"{path}: the file")):
        for p, paragraph in enumerate(_list(article, "paragraphs", f"{path}: data[{a}]")):
            where = f"{path}: data[{a}].paragraphs[{p}]"
            for q, question in enumerate(_list(paragraph, "qas", where)):
                if not isinstance(question, dict):
                    raise InputError(f"{where}.qas[{q}] is not an object")
                yield article.get("title", ""), paragraph.get("context"), question


def _list(value: Any, key: str, where: str) -> list[Any]:
    if not isinstance(value, dict) or not isinstance(value.get(key), list):
        raise InputError(f"{where} has no list '{key}'; the structure of SQuAD JSON is data > paragraphs > qas")
    return value[key]


def _record(title: str, context: Any, question: dict[str, Any]) -> Record:
    answers = question.get("answers")
    if answers is None:
        answers = []
    if isinstance(answers, list) and all(isinstance(answer, dict) for answer in answers):
        answers = {key: [answer.get(key) for answer in answers] for key in ("text", "answer_start")}
    return {
        "id": question.get("id"),
        "title": title,
        "context": context,
        "question": question.get("question"),
        "answers": answers,
    }


def read_hub(source: str, revision: str, split: str, size: int | None) -> tuple[list[Record], int]:
    """Read the first `size` answerable questions (all if None) of a split of a hub data set at a commit.

    Returns the records, unchecked, and the number of unanswerable questions, which are left out.

    Raises:
        InputError: the hub cannot be reached, or does not have this data set, commit or split.
    """
    import datasets

    try:
        rows: Iterable[Record] = datasets.load_dataset(source, revision=revision, split=split)
    except Exception as error:  # the library and the hub raise many types of exceptions
        raise InputError(f"hub data set {source}, revision {revision}, split {split}: {error}") from None
    records: list[Record] = []
    unanswerable = 0
    for row in rows:
        if size is not None and len(records) == size:
            break
        if row.get("answers") == NO_ANSWERS:
            unanswerable += 1
            continue
        record = {key: row.get(key) for key in ("id", "title", "context", "question", "answers")}
        records.append(record if record["answers"] is not None else {**record, "answers": NO_ANSWERS})
    return records, unanswerable


def labelled(records: Iterable[Record]) -> list[Record]:
    """The records that have an answer."""
    return [record for record in records if record["answers"] != NO_ANSWERS]


def checked(records: Iterable[Record], where: str, size: int | None = None) -> list[Record]:
    """Check the first `size` records (all if None) and return them.

    Raises:
        InputError: there are no records, or some are invalid. The message has the number of invalid records, and for
            the first 20 `where`, the id and the problem.
    """
    selected = list(islice(records, size))
    if not selected:
        raise InputError(f"{where} has no usable questions")
    seen: set[str] = set()
    problems = []
    for index, record in enumerate(selected):
        problem = _problem(record, seen)
        if problem:
            problems.append(f"{where}: question {record['id'] or f'number {index} (no id)'}: {problem}")
    if problems:
        raise InputError(
            f"{len(problems)} of {len(selected)} questions are invalid"
            + (f", the first {MAX_LISTED}:" if len(problems) > MAX_LISTED else ":")
            + "".join(f"\n  {problem}" for problem in problems[:MAX_LISTED])
        )
    return selected


def _problem(record: Record, seen: set[str]) -> str | None:
    """What is wrong with a record, or None if it is valid; adds its id to `seen`."""
    for key in ("id", "context", "question"):
        if not _is_string(record[key]):
            return f"{key} is missing or not a string"
        if not record[key].strip():
            return f"{key} is empty"
    if not (record["title"] is None or _is_string(record["title"])):
        return "title is not a string"
    if record["id"] in seen:
        return "duplicate id"
    seen.add(record["id"])
    answers = record["answers"]
    if not isinstance(answers, dict) or set(answers) != {"text", "answer_start"}:
        return "answers are missing, or not a list of objects with text and answer_start"
    if not all(isinstance(value, list) for value in answers.values()) or len(answers["text"]) != len(
        answers["answer_start"]
    ):
        return "answers: text and answer_start are not lists of the same length"
    for text, start in zip(answers["text"], answers["answer_start"], strict=True):
        if not _is_string(text) or not text.strip():
            return "an answer's text is missing or empty"
        if not isinstance(start, int) or isinstance(start, bool):
            return f"answer_start of '{text}' is missing or not an integer"
        found = record["context"][start : start + len(text)] if start >= 0 else ""
        if found != text:
            return f"answer_start {start} points to '{found}', but the answer is '{text}'"
    return None


def _is_string(value: Any) -> bool:
    """Whether a value is a string that UTF-8 can encode; JSON can contain unpaired surrogates, UTF-8 cannot."""
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)

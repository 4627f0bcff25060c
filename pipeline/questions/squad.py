"""SQuAD-shaped questions from JSON files or a hub: reading and checking.

A record is {"id", "title", "context", "question", "answers": {"text": [str], "answer_start": [int]}}, as in the
hub's `squad` data set; `answer_start` counts characters of the context, from 0. A question that nobody has answered yet
has empty lists there: it may train a student, and cannot be scored.
"""

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from pipeline.errors import InputError

SHOWN_PROBLEMS = 20
NO_ANSWERS = {"text": [], "answer_start": []}
Record = dict[str, Any]


def read_json(path: Path) -> tuple[list[Record], int]:
    """Read a SQuAD 1.1 or 2.0 file.

    Returns the records, unchecked, and how many unanswerable questions (`is_impossible`) were left out.

    Raises:
        InputError: the file is missing, not JSON, or not laid out as data > paragraphs > qas.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{path} is missing; put it there and run `dvc add {path}` (experiments see only what git or DVC tracks)"
        ) from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; name the SQuAD JSON file in it") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path} is not JSON: {error}") from None
    questions = list(_questions(document, path))
    records = [_record(*question) for question in questions if not question[2].get("is_impossible")]
    return records, len(questions) - len(records)


def _questions(document: Any, path: Path) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """(title, context, question) of every question, in the file's order."""
    for a, article in enumerate(_list(document, "data", f"{path}: the file")):
        for p, paragraph in enumerate(_list(article, "paragraphs", f"{path}: data[{a}]")):
            where = f"{path}: data[{a}].paragraphs[{p}]"
            for q, question in enumerate(_list(paragraph, "qas", where)):
                if not isinstance(question, dict):
                    raise InputError(f"{where}.qas[{q}] is not an object")
                yield article.get("title", ""), paragraph.get("context"), question


def _list(value: Any, key: str, where: str) -> list[Any]:
    if not isinstance(value, dict) or not isinstance(value.get(key), list):
        raise InputError(f"{where} has no list '{key}'; SQuAD JSON is data > paragraphs > qas")
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
    """Read `split` of a hub data set at a commit; returns as `read_json` does.

    Raises:
        InputError: the hub cannot be reached, or has no such data set, commit or split.
    """
    import datasets

    try:
        rows = datasets.load_dataset(source, revision=revision, split=split)
    except Exception as error:  # the library and the hub raise many kinds, and all of them mean that there is no data
        raise InputError(f"hub data set {source}, revision {revision}, split {split}: {error}") from None
    records, unanswerable = [], 0
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
    """Those with an answer."""
    return [record for record in records if record["answers"] != NO_ANSWERS]


def checked(records: Iterable[Record], where: str, size: int | None = None) -> list[Record]:
    """The first `size` records (all for None), or an error that lists what is wrong in them.

    Raises:
        InputError: names `where`, the ids and the faults of the first 20 bad records, and how many there are; or
            there are no records.
    """
    kept = list(islice(records, size))
    if not kept:
        raise InputError(f"{where} has no question that can be used")
    seen: set[str] = set()
    problems = []
    for index, record in enumerate(kept):
        problem = _problem(record, seen)
        if problem:
            problems.append(f"{where}: question {record['id'] or f'number {index} (no id)'}: {problem}")
    if problems:
        raise InputError(
            f"{len(problems)} bad of {len(kept)} questions"
            + (f", the first {SHOWN_PROBLEMS}:" if len(problems) > SHOWN_PROBLEMS else ":")
            + "".join(f"\n  {problem}" for problem in problems[:SHOWN_PROBLEMS])
        )
    return kept


def _problem(record: Record, seen: set[str]) -> str | None:
    """What is wrong with a record, or None; adds its id to `seen`."""
    for key in ("id", "context", "question"):
        if not _is_text(record[key]):
            return f"{key} is missing or not text"
        if not record[key].strip():
            return f"{key} is empty"
    if not (record["title"] is None or _is_text(record["title"])):
        return "title is not text"
    if record["id"] in seen:
        return "the id occurs twice"
    seen.add(record["id"])
    answers = record["answers"]
    if not isinstance(answers, dict) or set(answers) != {"text", "answer_start"}:
        return "answers are missing, or not a list of text and answer_start"
    if not all(isinstance(value, list) for value in answers.values()) or len(answers["text"]) != len(
        answers["answer_start"]
    ):
        return "answers' text and answer_start are not lists of one length"
    for text, start in zip(answers["text"], answers["answer_start"], strict=True):
        if not _is_text(text) or not text.strip():
            return "an answer's text is missing or empty"
        if not isinstance(start, int) or isinstance(start, bool):
            return f"answer_start of '{text}' is missing or not a whole number"
        found = record["context"][start : start + len(text)] if start >= 0 else ""
        if found != text:
            return f"answer_start {start} points at '{found}', the answer is '{text}'"
    return None


def _is_text(value: Any) -> bool:
    """Whether a value is a string that can be written; JSON may hold half of a surrogate pair, UTF-8 cannot."""
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)

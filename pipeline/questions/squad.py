"""Read questions from JSON files or a hub, and check them.

A record is {"id", "title", "context", "question", "answers": {"text": [str], "answer_start": [int]}} as in the hub's
`squad` data set, and "is_impossible"; `answer_start` is a character offset in the context. A question without an
answer has empty lists. If it is impossible, its context does not answer it, as in SQuAD 2.0, and a model should say so.
Else it is unlabelled: it can train a student, and cannot be scored.
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from pipeline.errors import InputError

MAX_LISTED = 20
Record = dict[str, Any]
NO_ANSWERS: Record = {"text": [], "answer_start": []}
SURROGATE = re.compile("[\ud800-\udfff]")
BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
LAYOUTS = (
    "the layouts are SQuAD JSON (data > paragraphs > qas), and a list of questions, as JSON or JSON Lines, with id, "
    "context, question and answers (text, answer_start)"
)


def read_json(path: Path) -> list[Record]:
    """The records, unchecked, of a SQuAD 1.1 or 2.0 file, or of a list as JSON or JSON Lines.

    Other keys are ignored, such as `plausible_answers`, which are not answers.

    Raises:
        InputError: the file is missing, is not JSON, or has another layout; a key is misspelt; `is_impossible` is
            unclear.
    """
    try:
        content = path.read_bytes()
        document = _parse(content.decode(json.detect_encoding(content)))
    except FileNotFoundError:
        raise InputError(
            f"{path} is missing; put it there and run `dvc add {path}` (experiments see only what git or DVC tracks)"
        ) from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; it must be a SQuAD JSON file") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {error}") from None
    return [_record(*question, path) for question in _questions(document, path)]


def _parse(text: str) -> Any:
    """The value of a JSON file, or the list of the values of a JSON Lines file.

    Raises:
        ValueError: the text is neither.
    """
    try:
        return json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        if error.msg != "Extra data":
            raise
        not_json = error
    values = []
    for number, line in enumerate(text.split("\n"), 1):
        try:
            if line.strip():
                values.append(json.loads(line, object_pairs_hook=_object))
        except ValueError as error:
            raise (ValueError(f"line {number}: {error}") if values else not_json) from None
    return values


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object.

    Raises:
        ValueError: a key has two values.
    """
    found = dict(pairs)
    for key, value in pairs if len(found) < len(pairs) else []:
        if value != found[key]:
            raise ValueError(f"an object has the key '{key}' twice; its id is {found.get('id')}")
    return found


def _questions(document: Any, path: Path) -> Iterator[tuple[Any, Any, dict[str, Any]]]:
    """Yield (title, context, question) for every question, in the file's order."""
    if isinstance(document, dict) and "question" in document:  # JSON Lines with one line
        document = [document]
    is_list = isinstance(document, list)
    for a, article in enumerate(document if is_list else _list(document, "data", f"{path}: the file")):
        where = f"{path}: {'' if is_list else 'data'}[{a}]"
        if isinstance(article, dict) and "question" in article:
            yield article.get("title", ""), article.get("context"), article
            continue
        if isinstance(article, dict) and "paragraphs" not in article and article.keys() & {"header", "qas"}:
            raise InputError(
                f"{where} is in the layout of MRQA, which is not read; {LAYOUTS}; answer_start of a detected "
                "answer is char_spans[0][0]"
            )
        for p, paragraph in enumerate(_list(article, "paragraphs", where)):
            for q, question in enumerate(_list(paragraph, "qas", f"{where}.paragraphs[{p}]")):
                if not isinstance(question, dict):
                    raise InputError(f"{where}.paragraphs[{p}].qas[{q}] is not an object")
                yield article.get("title", ""), paragraph.get("context"), question


def _list(value: Any, key: str, where: str) -> list[Any]:
    if not isinstance(value, dict) or not isinstance(value.get(key), list):
        raise InputError(f"{where} has no list '{key}'; {LAYOUTS}")
    return value[key]


def is_impossible(question: dict[str, Any], where: str | Path) -> bool:
    """Whether a question is unanswerable: `is_impossible`, or without that key empty lists in `answers`, as on the hub.

    Raises:
        InputError: `is_impossible` is not a boolean or contradicts `answers`, or one of these keys is misspelt.
    """
    where = f"{where}: question {question.get('id')}"
    for key in ("answers", "is_impossible"):
        similar = _similar(key, tuple(question))
        if similar:
            raise InputError(f"{where} has the key '{similar}' and no '{key}'; rename it, or add '{key}'")
    answers, value = question.get("answers"), question.get("is_impossible")
    if value is None:
        return isinstance(answers, dict) and answers.get("text") == []
    if str(value).lower() not in BOOLEANS:
        raise InputError(f"{where}: is_impossible is {value!r}; it must be true or false")
    impossible = BOOLEANS[str(value).lower()]
    if impossible and (answers.get("text") if isinstance(answers, dict) else answers):
        raise InputError(f"{where}: is_impossible is {value!r}, but the question has answers")
    return impossible


@cache  # most questions of a file have the same keys
def _similar(key: str, keys: tuple[str, ...]) -> str | None:
    """The key that is most similar to a missing key; None if it is not missing or none is similar."""
    by_lower_case = {other.lower(): other for other in keys}
    similar = [] if key in keys else get_close_matches(key, by_lower_case)
    return by_lower_case[similar[0]] if similar else None


def _record(title: Any, context: Any, question: dict[str, Any], where: str | Path) -> Record:
    answers = question.get("answers")
    if answers is None:
        answers = []
    if isinstance(answers, list) and all(isinstance(answer, dict) for answer in answers):
        answers = {key: [answer.get(key) for answer in answers] for key in NO_ANSWERS}
    elif isinstance(answers, dict):
        answers = {key: answers[key] for key in NO_ANSWERS if key in answers}
    return {
        "id": _as_text(question.get("id")),
        "title": _title(title),
        "context": context,
        "question": question.get("question"),
        "answers": answers,
        "is_impossible": is_impossible(question, where),
    }


def _as_text(value: Any) -> Any:
    """An integer as a string; any other value unchanged."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _title(value: Any) -> str | None:
    """A title, or None if it is neither text nor an integer: no stage needs it."""
    title = _as_text(value)
    return title if isinstance(title, str) and not SURROGATE.search(title) else None


def read_hub(source: str, revision: str, split: str) -> Iterator[Record]:
    """The records, unchecked, of a split of a hub data set at a commit, one at a time.

    Raises:
        InputError: the hub cannot be reached, or does not have this data set, commit or split; a key is misspelt;
            `is_impossible` is unclear.
    """
    import datasets

    try:
        rows: Any = datasets.load_dataset(source, revision=revision, split=split, trust_remote_code=False)
    except Exception as error:  # the library and the hub raise many types of exceptions
        raise InputError(f"hub data set {source}, revision {revision}, split {split}: {error}") from None
    where = f"hub data set {source}, split {split}"
    return (_record(row.get("title"), row.get("context"), row, where) for row in rows)


def is_labelled(record: Record) -> bool:
    """Whether a record has an answer, or is unanswerable."""
    return record["is_impossible"] or record["answers"] != NO_ANSWERS


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
        if not isinstance(record[key], str):
            return f"{key} is missing or not a string"
        if not record[key].strip():
            return f"{key} is empty"
        unpaired = SURROGATE.search(record[key])
        if unpaired:
            before = record[key][max(0, unpaired.start() - 20) : unpaired.end()]
            return f"{key} has an unpaired surrogate, which UTF-8 cannot encode: {before!a}"
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
        if not isinstance(text, str) or not text.strip():
            return "an answer's text is missing or empty"
        if not isinstance(start, int) or isinstance(start, bool):
            return f"answer_start of {text!r} is missing or not an integer"
        found = record["context"][start : start + len(text)] if start >= 0 else ""
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

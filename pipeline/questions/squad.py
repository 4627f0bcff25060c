"""Read questions from JSON files. `checks.checked` then checks them.

A record is {"id", "title", "context", "question", "answers": {"text": [str], "answer_start": [int]}} as in the hub's
`squad` data set, and "is_impossible"; `answer_start` is a character offset in the context. A question without an
answer has empty lists. If it is impossible, its context does not answer it, as in SQuAD 2.0, and a model should say so.
Else it is unlabelled: it can train a student, and cannot be scored. Where a layout has no `answer_start`, neither have
the answers of a record that is not checked yet.
"""

import io
import json
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from pipeline.errors import InputError

Record = dict[str, Any]
NO_ANSWERS: Record = {"text": [], "answer_start": []}
SURROGATE = re.compile("[\ud800-\udfff]")
BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
LAYOUTS = (
    "the layouts are SQuAD JSON (data > paragraphs > qas), a list of paragraphs (context, qas), and a list of "
    "questions (id, context, question, answers), as JSON or JSON Lines; answers have text and answer_start, or are "
    "texts"
)
# CMRC 2018's names in its own layout, a list of paragraphs
CMRC = {"context_text": "context", "query_id": "id", "query_text": "question"}


def read_json(path: Path) -> Iterator[Record]:
    """Yield the records, unchecked, of a SQuAD file, or of a list of questions or paragraphs as JSON or JSON Lines.

    JSON Lines are read line by line. Other keys are ignored, such as `plausible_answers`, which are not answers.

    Raises:
        InputError: the file is missing, is not JSON, or has another layout; a key is misspelt; `is_impossible` is
            unclear.
    """
    with open_file(path) as content:
        encoding = json.detect_encoding(content.read(4))
        content.seek(0)
        text = io.TextIOWrapper(content, encoding, newline="\n")
        try:
            for question in _questions(_document(text), path):
                yield record(*question, path)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path} is not JSON: {error}") from None


def open_file(path: Path) -> BinaryIO:
    """Open a file of questions.

    Raises:
        InputError: it is missing, or a folder.
    """
    try:
        return open(path, "rb")
    except FileNotFoundError:
        raise InputError(
            f"{path} is missing; put it there and run `dvc add {path}` (experiments see only what git or DVC tracks)"
        ) from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; it must be a file of questions") from None


def _document(text: TextIO) -> Any:
    """The value of a JSON file, or an iterator over the values of JSON Lines: a value in the first line and more text.

    Raises:
        ValueError: the text is neither.
    """
    head = _through_text(text)
    try:
        first = _parse(head)
    except (ValueError, RecursionError):
        return _parse(head + text.read())
    more = _through_text(text)
    return _lines(first, head.count("\n"), more, text) if more.strip() else first


def _through_text(text: TextIO) -> str:
    """The next lines, up to the first that is not blank."""
    lines = ""
    for line in text:
        lines += line
        if line.strip():
            break
    return lines


def _lines(first: Any, done: int, more: str, text: TextIO) -> Iterator[Any]:
    """Yield the values of JSON Lines.

    Args:
        first: the value of the first `done` lines.
        more: the next lines.

    Raises:
        ValueError: a line is not JSON; the error has its number.
    """
    yield first
    try:
        for line in chain(more.removesuffix("\n").split("\n"), text):
            done += 1
            if line.strip():
                yield _parse(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"line {done}: {error}") from None


def _parse(text: str) -> Any:
    return json.loads(text, object_pairs_hook=json_object)


def json_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
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
    is_list = isinstance(document, (list, Iterator))
    for a, article in enumerate(document if is_list else _list(document, "data", f"{path}: the file")):
        where = f"{path}: {'' if is_list else 'data'}[{a}]"
        if isinstance(article, dict):
            _check_layout(article, where)
            if "question" in article:
                yield article.get("title", ""), article.get("context"), article
                continue
            if "qas" in article and "paragraphs" not in article:
                for question in _of_paragraph(article, where):
                    yield article.get("title", ""), _renamed(article).get("context"), question
                continue
        for p, paragraph in enumerate(_list(article, "paragraphs", where)):
            for question in _of_paragraph(paragraph, f"{where}.paragraphs[{p}]"):
                yield article.get("title", ""), _renamed(paragraph).get("context"), question


def _check_layout(article: dict[str, Any], where: str) -> None:
    """Raise an InputError if the layout is known and not read."""
    questions = article.get("qas")
    first = questions[0] if isinstance(questions, list) and questions else None
    is_header = "header" in article and not article.keys() & {"question", "paragraphs"}
    if is_header or (isinstance(first, dict) and "detected_answers" in first):
        raise InputError(
            f"{where} is in the layout of MRQA, which is not read; {LAYOUTS}; answer_start of a detected answer is "
            "char_spans[0][0]"
        )
    if isinstance(article.get("context"), list) and isinstance(article.get("question"), list):
        raise InputError(
            f"{where} is in the layout of MultiSpanQA, lists of words with a label each, which is not read; {LAYOUTS}"
        )


def _of_paragraph(paragraph: Any, where: str) -> Iterator[dict[str, Any]]:
    for q, question in enumerate(_list(paragraph, "qas", where)):
        if not isinstance(question, dict):
            raise InputError(f"{where}.qas[{q}] is not an object")
        yield _renamed(question)


def _renamed(values: dict[str, Any]) -> dict[str, Any]:
    """An object with the names of SQuAD in place of CMRC's; other keys win over those."""
    return {CMRC[key]: value for key, value in values.items() if key in CMRC} | values


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
    """The key that is probably meant by a missing key; None if it is not missing or none is similar.

    One that contains it in the singular is similar, such as `expected_answer` and `answers`.
    """
    by_lower_case = {other.lower(): other for other in keys if other != "plausible_answers"}
    if key in keys:
        return None
    similar = get_close_matches(key, by_lower_case) + [other for other in by_lower_case if key[:-1] in other]
    return by_lower_case[similar[0]] if similar else None


def record(title: Any, context: Any, question: dict[str, Any], where: str | Path) -> Record:
    """The record, unchecked, of a question and its context.

    Args:
        question: has `id`, `question`, and maybe `answers` and `is_impossible`; other keys are ignored.
        where: the file or data set, for errors.

    Raises:
        InputError: a key is misspelt; `is_impossible` is unclear.
    """
    answers = question.get("answers")
    if answers is None:
        answers = []
    if isinstance(answers, list) and all(isinstance(answer, dict) for answer in answers):
        answers = {key: [answer.get(key) for answer in answers] for key in NO_ANSWERS}
    elif isinstance(answers, list) and all(isinstance(answer, str) for answer in answers):
        answers = {"text": answers}
    elif isinstance(answers, dict):
        answers = {key: answers[key] for key in NO_ANSWERS if answers.get(key) is not None}
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


def is_labelled(record: Mapping[str, Any]) -> bool:
    """Whether a record has an answer, or is unanswerable."""
    return record["is_impossible"] or record["answers"] != NO_ANSWERS

"""ask: answer questions about a text with a trained student.

    span-distill ask "Who wrote it?" "When?" --context FILE
    cat FILE | span-distill ask "Who wrote it?"
    span-distill ask --batch questions.jsonl --out answers.jsonl

Prints each answer with its confidence, its characters in the text and the sentence around it. A text of any length is
read in windows. With --batch, each line is a JSON object with `question`, `context` and, if you like, `id`; so is each
line of the result, in the same order.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TextIO

from pipeline import cli, paths
from pipeline.answering.answerer import Answerer, Reply, sentence
from pipeline.errors import InputError
from pipeline.files import atomic_write
from pipeline.progress import Progress
from pipeline.questions.long_texts import is_long
from pipeline.questions.squad import SURROGATE
from pipeline.scores.confidence import CANDIDATES

STDIN = Path("-")
QUESTIONS_PER_BATCH = 64
LONG = 100_000  # characters whose reading is worth a progress bar


def main(
    questions: list[str],
    context: Path | None,
    batch: Path | None,
    out: Path | None,
    student: str,
    n_best: int,
    json: bool,
) -> None:
    if (batch is not None) == bool(questions):
        raise InputError("give questions, or --batch with a file that has them")
    if batch is not None and context is not None:
        raise InputError("--context is for questions on the command line; each line of --batch has its own `context`")
    if not 1 <= n_best <= CANDIDATES:
        raise InputError(f"--n-best is {n_best}; it must be from 1 to {CANDIDATES}")
    cli.refuse_input(out, None if batch == STDIN else batch, None if context == STDIN else context)
    with loaded(student) as answerer, opened(out) as file:
        if batch is not None:
            answer_batch(answerer, batch, file, n_best)
        else:
            answer(answerer, questions, read_text(context or STDIN), file, n_best, json)


@contextmanager
def loaded(student: str) -> Iterator[Answerer]:
    """The student in a folder, or the student of a revision or an experiment.

    Raises:
        InputError: there is none.
    """
    if Path(student).is_dir():
        yield Answerer.from_pretrained(student)
        return
    if student == str(paths.STUDENT) or Path(student).is_absolute():
        raise InputError(f"{student} is missing; `dvc repro` trains a student into {paths.STUDENT}")
    from pipeline.experiments.run import fetch, read_run  # DVC takes seconds to import

    with TemporaryDirectory() as folder:
        yield Answerer.from_pretrained(fetch(read_run(student), paths.STUDENT, Path(folder)))


@contextmanager
def opened(path: Path | None) -> Iterator[TextIO]:
    """A file to write to, which is there when all is written; without a path standard output."""
    if path is None:
        yield sys.stdout
        return
    with atomic_write(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        yield file


def answer(answerer: Answerer, questions: list[str], context: str, file: TextIO, n_best: int, as_json: bool) -> None:
    """Answer questions about one text."""
    pairs = [(check_question(question, "a question"), context) for question in questions]
    total = len(context) * len(questions)
    with (
        Progress("tokenizing", "character", len(context), shown=is_long(context)) as tokenizing,
        Progress("reading", "character", total, shown=total >= LONG) as reading,
    ):
        found = answerer.answers(pairs, n_best, reading.update, tokenizing.update)
    for question, replies in zip(questions, found, strict=True):
        row = {"question": question, "answers": as_rows(replies, context)}
        file.write(json.dumps(row, ensure_ascii=False) + "\n" if as_json else as_text(row))


def answer_batch(answerer: Answerer, batch: Path, file: TextIO, n_best: int) -> None:
    """Answer the questions of a JSON Lines file, a group at a time."""
    total = 0
    if batch != STDIN:
        with open_text(batch) as lines:
            total = sum(1 for line in lines if line.strip())
    with open_text(batch) as lines, Progress("answering", "question", total, shown=batch != STDIN) as progress:
        rows = read_questions(lines, batch)
        while group := list(islice(rows, QUESTIONS_PER_BATCH)):
            found = answerer.answers([(row["question"], row["context"]) for row in group], n_best)
            for row, replies in zip(group, found, strict=True):
                named = {"id": row["id"]} if "id" in row else {}
                result = {**named, "question": row["question"], "answers": as_rows(replies, row["context"])}
                file.write(json.dumps(result, ensure_ascii=False) + "\n")
            progress.update(len(group))


def read_questions(lines: TextIO, path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON Lines file of questions.

    Raises:
        InputError: a line is not a JSON object, or lacks `question` or `context`.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{where} is not JSON: {error}") from None
        if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in ("question", "context")):
            raise InputError(f"{where}: each line must be an object with the texts `question` and `context`")
        check_question(row["question"], where)
        check_text(json.dumps(row, ensure_ascii=False), where)
        yield row


def check_question(question: str, where: str) -> str:
    if not question.strip():
        raise InputError(f"{where}: the question is empty")
    return check_text(question, where)


def check_text(text: str, where: str) -> str:
    """The text. JSON, and an argument that is not UTF-8, can have half of a surrogate pair, which is not a character."""
    if unpaired := SURROGATE.search(text):
        raise InputError(f"{where}: {unpaired[0]!a} is half of a surrogate pair, not a character")
    return text


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """A text file or standard input, its line ends as they are, without a byte-order mark.

    Raises:
        InputError: it is missing, or what is read in the block is not UTF-8 text.
    """
    if path != STDIN and not path.is_file():
        raise InputError(f"{path} is no file" if path.exists() else f"{path} is missing")
    source = sys.stdin.fileno() if path == STDIN else path
    try:
        with open(source, encoding="utf-8-sig", newline="", closefd=path != STDIN) as file:
            yield file
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text in UTF-8: {error}") from None


def read_text(path: Path) -> str:
    """The content of a text file or of standard input.

    Raises:
        InputError: it is missing, empty, or no text.
    """
    if path == STDIN and sys.stdin.isatty():
        raise InputError("there is no text to read; give --context FILE, or the text on standard input")
    with open_text(path) as file:
        text = file.read()
    if not text.strip():
        raise InputError(f"{'standard input' if path == STDIN else path} has no text")
    return text


def as_rows(replies: list[Reply], context: str) -> list[dict[str, Any]]:
    """Replies as JSON objects, with the sentence around each."""
    return [
        {**vars(reply), "sentence": context[slice(*sentence(context, reply.start, reply.end))] if reply.text else ""}
        for reply in replies
    ]


def as_text(row: dict[str, Any]) -> str:
    """The answers to one question for people."""
    lines = [row["question"]]
    for answer in row["answers"] or [{"text": "", "confidence": 1.0}]:
        share = f"{100 * answer['confidence']:3.0f} %"
        if answer["text"]:
            words = " ".join(answer["sentence"].split())
            lines.append(f"  {share}  {answer['text']}  (characters {answer['start']} to {answer['end']}: {words})")
        else:
            lines.append(f"  {share}  no answer in this text")
    return "\n".join(lines) + "\n"

"""ask: answer questions about a text with a trained student.

    span-distill ask "Who wrote it?" "When?" --context FILE
    cat FILE | span-distill ask "Who wrote it?"
    span-distill ask --batch questions.jsonl --out answers.jsonl
    span-distill ask --example

Prints each answer with its confidence, its characters in the text and the sentence around it. A text of any length is
read in windows. With --batch, each line is a JSON object with `question`, `context` and optionally `id`; so is each
line of the result, in the same order. --example asks three of the student's own validation questions.
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
from pipeline.about import Example, read_about
from pipeline.answering.answerer import Answerer, Reply, sentence
from pipeline.errors import InputError
from pipeline.files import opened
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
    example: bool = False,
) -> None:
    if [bool(questions), batch is not None, example].count(True) != 1:
        raise InputError("give questions, --batch with a file of questions, or --example")
    if context is not None and not questions:
        raise InputError("--context is for questions on the command line; the others have their own contexts")
    if not 1 <= n_best <= CANDIDATES:
        raise InputError(f"--n-best is {n_best}; it must be from 1 to {CANDIDATES}")
    cli.refuse_input(out, None if batch == STDIN else batch, None if context == STDIN else context)
    with found(student) as folder, opened(out) as file:
        answerer = Answerer.from_pretrained(folder)
        if batch is not None:
            answer_batch(answerer, batch, file, n_best)
        elif example:
            answer_examples(answerer, examples_of(folder), file, n_best, json)
        else:
            answer(answerer, questions, read_text(context or STDIN), file, n_best, json)


@contextmanager
def found(student: str) -> Iterator[Path]:
    """The folder of a student: the folder itself, or a copy of data/student of a revision or an experiment.

    Raises:
        InputError: there is none.
    """
    if Path(student).is_dir():
        yield Path(student)
        return
    if student == str(paths.STUDENT) or Path(student).is_absolute():
        raise InputError(f"{student} is missing; `dvc repro` trains a student into {paths.STUDENT}")
    from pipeline.experiments.run import fetch, read_run  # DVC takes seconds to import

    with TemporaryDirectory() as folder:
        yield fetch(read_run(student), paths.STUDENT, Path(folder))


def answer(answerer: Answerer, questions: list[str], context: str, file: TextIO, n_best: int, as_json: bool) -> None:
    """Answer questions about one text."""
    pairs = [(check_question(question, answerer, f"question {i}"), context) for i, question in enumerate(questions, 1)]
    total = len(context) * len(questions)
    with (
        Progress("tokenizing", "character", len(context), shown=is_long(context)) as tokenizing,
        Progress("reading", "character", total, shown=total >= LONG) as reading,
    ):
        found = answerer.answers(pairs, n_best, reading.update, tokenizing.update)
    for question, replies in zip(questions, found, strict=True):
        row = {"question": question, "answers": as_rows(replies, context)}
        file.write(json.dumps(row, ensure_ascii=False) + "\n" if as_json else as_text(row))


def examples_of(folder: Path) -> list[Example]:
    """The examples of a student.

    Raises:
        InputError: it has none.
    """
    examples = read_about(folder).examples
    if not examples:
        raise InputError(
            f"{folder} has no examples: the student was published without them, or trained before there were any"
        )
    return examples


def answer_examples(answerer: Answerer, examples: list[Example], file: TextIO, n_best: int, as_json: bool) -> None:
    """Answer the student's examples, and show the reference answers."""
    found = answerer.answers([(example.question, example.context) for example in examples], n_best)
    for example, replies in zip(examples, found, strict=True):
        row = {"question": example.question, "answers": as_rows(replies, example.context)}
        if as_json:
            row |= {"context": example.context, "reference": example.answer}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
        else:
            file.write(as_text(row) + f"  reference answer: {example.answer}\n")


def answer_batch(answerer: Answerer, batch: Path, file: TextIO, n_best: int) -> None:
    """Answer the questions of a JSON Lines file, a group at a time.

    Raises:
        InputError: the file has no question, or a line is not one.
    """
    total, done = 0, 0
    if batch != STDIN:
        with open_text(batch) as lines:
            total = sum(1 for line in lines if line.strip())
    with open_text(batch) as lines, Progress("answering", "question", total, shown=batch != STDIN) as progress:
        rows = read_questions(lines, batch, answerer)
        while group := list(islice(rows, QUESTIONS_PER_BATCH)):
            found = answerer.answers([(row["question"], row["context"]) for row in group], n_best)
            for row, replies in zip(group, found, strict=True):
                named = {"id": row["id"]} if "id" in row else {}
                result = {**named, "question": row["question"], "answers": as_rows(replies, row["context"])}
                file.write(json.dumps(result, ensure_ascii=False) + "\n")
            progress.update(len(group))
            done += len(group)
    if not done:
        raise InputError(f"{batch} has no questions")


def read_questions(lines: TextIO, path: Path, answerer: Answerer) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON Lines file of questions.

    Raises:
        InputError: a line is not such an object, or its question or its context cannot be read.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            row = json.loads(line)
            text = json.dumps(row, ensure_ascii=False, allow_nan=False)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{where} is not JSON: {error}") from None
        if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in ("question", "context")):
            raise InputError(f"{where}: each line must be an object with the texts `question` and `context`")
        check_text(text, where)
        check_question(row["question"], answerer, where)
        if not row["context"].strip():
            raise InputError(f"{where}: the context is empty")
        yield row


def check_question(question: str, answerer: Answerer, where: str) -> str:
    """The question.

    Raises:
        InputError: it is empty, or too long for the student.
    """
    if not question.strip():
        raise InputError(f"{where}: the question is empty")
    count, most = answerer.count_tokens(check_text(question, where)), answerer.question_tokens
    if count > most:
        raise InputError(f"{where}: the question has {count:,} tokens; the student reads at most {most:,}")
    return question


def check_text(text: str, where: str) -> str:
    """The text. JSON, and an argument that is not UTF-8, can have half of a surrogate pair, which is not a character.

    Raises:
        InputError: it has one.
    """
    if unpaired := SURROGATE.search(text):
        raise InputError(f"{where}: {unpaired[0]!a} is half of a surrogate pair, which is not a character")
    return text


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """A text file or standard input, its line ends as they are, without a byte-order mark.

    Raises:
        InputError: it is missing, or what is read in the block is not UTF-8 text.
    """
    if path != STDIN and not path.is_file():
        raise InputError(f"{path} is not a file" if path.exists() else f"{path} is missing")
    source = sys.stdin.fileno() if path == STDIN else path
    try:
        with open(source, encoding="utf-8-sig", newline="", closefd=path != STDIN) as file:
            yield file
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text: {error}") from None


def read_text(path: Path) -> str:
    """The content of a text file or of standard input.

    Raises:
        InputError: it is missing, empty, or not text.
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

"""What the folder of a student says of it beside its weights: what it was trained on, and examples of its questions.

The examples are validation questions, whose texts may be private: they are published only if the user says so.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pipeline import pretrained
from pipeline.errors import InputError

ABOUT = "about.json"


@dataclass(frozen=True)
class Example:
    """A validation question.

    Attributes:
        answer: the first reference answer, a span of the context.
    """

    question: str
    context: str
    answer: str


@dataclass(frozen=True)
class About:
    """What is known of a student; nothing of one that was trained before this file existed.

    Attributes:
        trained_on: a phrase, such as "2,000 questions of train.json".
        shrunk: what the stage `shrink` removed, a phrase; empty if nothing.
    """

    trained_on: str = ""
    examples: list[Example] = field(default_factory=list)
    shrunk: str = ""

    def published(self, with_examples: bool) -> "About":
        """What others may know of the student."""
        return self if with_examples else About(self.trained_on, shrunk=self.shrunk)


def read_about(folder: Path) -> About:
    """What is known of the student in a folder.

    Raises:
        InputError: the file is damaged.
    """
    path = folder / ABOUT
    if not path.exists():
        return About()
    values = pretrained.read_json(path)
    try:
        examples = [Example(**example) for example in values["examples"]]
        about = About(values["trained_on"], examples, values.get("shrunk", ""))
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged: {pretrained.one_line(error)}") from None
    texts = [about.trained_on, about.shrunk, *(text for example in about.examples for text in vars(example).values())]
    if not all(isinstance(text, str) for text in texts):
        raise InputError(f"{path} is damaged: a value is not a text")
    return about


def write_about(about: About, folder: Path) -> None:
    text = json.dumps(asdict(about), indent=1, ensure_ascii=False) + "\n"
    (folder / ABOUT).write_text(text, encoding="utf-8")

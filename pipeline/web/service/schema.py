"""The JSON of the service. The OpenAPI document is made of these classes."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from pipeline.questions.squad import SURROGATE

MOST_ANSWERS = 20  # confidence is a share among the 20 best spans


def whole(text: str) -> str:
    """The text. JSON can contain half of a surrogate pair, which is not a character, and which tokenizers refuse."""
    if SURROGATE.search(text):
        raise ValueError("half of a surrogate pair is not a character")
    return text


Text = Annotated[str, AfterValidator(whole)]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Question(Body):
    question: Text
    context: int = Field(0, ge=0, strict=True, description="index of its context in `contexts`")


class Ask(Body):
    """Questions about texts."""

    student: str | None = Field(None, description="a name that /health lists; by default the first")
    contexts: list[Text] = Field(min_length=1)
    questions: list[Question] = Field(min_length=1)
    n_best: int = Field(1, ge=1, le=MOST_ANSWERS, strict=True, description="at most this many answers to each question")
    request: str | None = Field(None, max_length=100, description="a name of your choice, for /progress/{request}")

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "contexts": ["The mill by the river was built in 1820."],
                    "questions": [{"question": "When was the mill built?"}],
                }
            ]
        }
    )


class Answer(Body):
    text: str = Field(description='of the context; "" if it does not answer the question')
    start: int = Field(description="first character in the context, counted in Unicode code points")
    end: int = Field(description="past the last character")
    score: float = Field(description="start logit plus end logit")
    confidence: float = Field(description="0 to 1")


class Answered(Body):
    """The answers of a student."""

    student: str
    milliseconds: float = Field(description="in the model, with the requests that were batched with this one")
    answers: list[list[Answer]] = Field(description="of each question, in their order; the best answer first")


class Progress(Body):
    """How far an answer is."""

    read: int = Field(description="characters of the request's contexts that the student has read")
    characters: int = Field(description="of the contexts, in all")


class Example(Body):
    question: str
    context: str
    answer: str = Field(description="the reference answer")


class Examples(Body):
    """Questions that the first student was validated on."""

    examples: list[Example]


class About(Body):
    name: str
    teacher: bool
    facts: str = Field(description="head and encoder")
    trained_on: str = Field(description='"" if that is not known')
    question_characters: int = Field(description="how many a question may have")


class Health(Body):
    status: str = Field(description="ok")
    students: list[About]
    in_progress: int = Field(description="requests that are computed or waiting")
    limits: dict[str, float]


class Error(Body):
    error: str = Field(description="one sentence")

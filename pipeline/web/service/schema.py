"""The JSON of the service. The OpenAPI document is made of these classes."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from pipeline.questions.squad import SURROGATE

MOST_ANSWERS = 20  # confidence is a share among the 20 best spans


def whole(text: str) -> str:
    """A text as it is. JSON can write half of a surrogate pair, which is no character and no tokenizer reads."""
    if SURROGATE.search(text):
        raise ValueError("half of a surrogate pair is no character")
    return text


Text = Annotated[str, AfterValidator(whole)]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Question(Body):
    question: Text
    context: int = Field(0, ge=0, description="index of its context in `contexts`")


class Ask(Body):
    """Questions about texts."""

    student: str | None = Field(None, description="a name that /health lists; by default the first")
    contexts: list[Text] = Field(min_length=1)
    questions: list[Question] = Field(min_length=1)
    n_best: int = Field(1, ge=1, le=MOST_ANSWERS, description="most answers to each question")

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


class About(Body):
    name: str
    teacher: bool


class Health(Body):
    status: str = Field(description="ok")
    students: list[About]
    in_progress: int = Field(description="requests that wait or are computed")
    limits: dict[str, float]


class Error(Body):
    error: str = Field(description="one sentence")

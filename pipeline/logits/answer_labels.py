"""How well a teacher's file of answers agrees with the labels."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from pipeline.questions.answer_files import Answers
from pipeline.questions.question import Question
from pipeline.questions.squad import is_labelled
from pipeline.scores.confidence import Calibration, calibrate
from pipeline.scores.metrics import score_each
from pipeline.scores.spans import Answer

QUESTIONS = 10_000  # evenly spaced among all; their answers are held as objects


@dataclass(frozen=True)
class Agreement:
    """Scores of the best answers to labeled questions, at most `QUESTIONS` of those that a file answers.

    Attributes:
        questions: how many they are.
        exact_match, f1: 0-100.
        calibration: of the answers' probabilities; 1 is the temperature at which they are as in the file, divided by
            their sum.
    """

    questions: int
    exact_match: float
    f1: float
    calibration: Calibration

    @property
    def description(self) -> str:
        fit = self.calibration
        return (
            f"best answers to {self.questions:,} labeled questions: exact match {self.exact_match:.2f}, F1 "
            f"{self.f1:.2f}; expected calibration error of the probabilities {fit.error_before:.2f}, {fit.error:.2f} "
            f"at the best temperature, {fit.temperature:.2f}"
        )


def agreement(answers: Answers, records: list[Question], metric: str) -> Agreement | None:
    """The agreement with the labels of the records; None if the file answers none that has a label.

    Args:
        metric: the name of exact match and F1 in `metrics.METRICS`.
    """
    labeled = [i for i, record in enumerate(records) if answers.count[i] and is_labelled(record)]
    some = [labeled[i] for i in np.linspace(0, len(labeled) - 1, min(len(labeled), QUESTIONS)).astype(int)]
    ranked = [(records[i], ranked_texts(answers, i, records[i]["context"])) for i in some]
    if not any(best for _, best in ranked):
        return None
    asked, found = zip(*((record, best) for record, best in ranked if best), strict=True)
    predictions = {record["id"]: best[0].text for record, best in zip(asked, found, strict=True)}
    means = {name: 100 * float(np.mean(each)) for name, each in score_each(predictions, asked, metric).items()}
    return Agreement(len(asked), means["exact_match"], means["f1"], calibrate(asked, found, metric, None))


def ranked_texts(answers: Answers, question: int, context: str) -> list[Answer]:
    """The different texts of a question's answers, most probable first; the score is the log of the probability."""
    share: dict[str, float] = defaultdict(float)
    places = answers.of(question)
    for (start, end), probability in zip(
        answers.places[places].tolist(), answers.probabilities[places].tolist(), strict=True
    ):
        share[context[start:end]] += probability
    ranked = sorted(((text, p) for text, p in share.items() if p > 0), key=lambda pair: -pair[1])
    return [Answer(text, 0, len(text), float(np.log(p))) for text, p in ranked]

"""The score of a constant answer: a model that scores no more is useless, or was trained wrongly."""

from collections.abc import Sequence

from pipeline.log import log
from pipeline.questions.question import Question
from pipeline.scores import squad_metric
from pipeline.scores.metrics import METRICS
from pipeline.scores.mlqa_metric import CHINESE

# A random span has a higher F1 the longer it is. On SQuAD and on the synthetic corpus the first 25 words reach about 7,
# which is more than random spans of any length, and more than the whole context.
WORDS = 25


def constant_f1(records: Sequence[Question], metric: str) -> float:
    """F1, 0-100, of the better of two constant answers: the first `WORDS` words of each context, or no answer.

    No answer is right where a question is unanswerable.

    Args:
        metric: the name of exact match and F1 in `metrics.METRICS`.
    """
    answerable = [record for record in records if record["answers"]["text"]]
    constant = {record["id"]: first_words(record["context"]) for record in answerable}
    found = sum(squad_metric.score_each(METRICS[metric].f1, constant, answerable))
    return 100 * max(found, len(records) - len(answerable)) / len(records)


def first_words(text: str) -> str:
    """The first `WORDS` words, with spaces between them; a Chinese character is a word."""
    return " ".join(CHINESE.sub(r" \1 ", text).split()[:WORDS])


def warn_if_constant(name: str, f1: float, records: Sequence[Question], metric: str) -> None:
    """Warn of a model that a constant answer would equal with one more question right, or exceeds."""
    baseline = constant_f1(records, metric)
    if f1 <= baseline + 100 / len(records) + 1e-9:
        log.warning(
            "%s has F1 %.2f and is no better than a constant answer, which has %.2f: the first %d words of each "
            "context, or no answer",
            name,
            f1,
            baseline,
            WORDS,
        )

"""Exact match and F1 for seven languages, as in the evaluation script of MLQA (Lewis et al. 2020).

They differ from SQuAD's in what is removed: all punctuation of Unicode, and the articles of the language. Chinese
characters are words of their own.
"""

import re
import string
import unicodedata

from pipeline.scores.squad_metric import Metric, bag_f1

ARTICLES = {
    "ar": "ال",  # everywhere, as the script does
    "de": r"\b(ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b",
    "en": r"\b(a|an|the)\b",
    "es": r"\b(un|una|unos|unas|el|la|los|las)\b",
    "hi": None,
    "vi": r"\b(của|là|cái|chiếc|những)\b",
    "zh": None,
}
CHINESE = re.compile("([\u4e00-\u9fa5])")


def normalize_answer(text: str, language: str) -> str:
    """Lowercase, remove punctuation and articles, separate Chinese characters if it is Chinese, collapse whitespace."""
    text = "".join(character for character in text.lower() if not _is_punctuation(character))
    if articles := ARTICLES[language]:
        text = re.sub(articles, " ", text)
    if language == "zh":
        text = CHINESE.sub(r" \1 ", text)
    return " ".join(text.split())


def _is_punctuation(character: str) -> bool:
    return character in string.punctuation or unicodedata.category(character).startswith("P")


def metric(language: str) -> Metric:
    """Exact match, and F1 over the bags of words, 0 without a common word; of a language in `ARTICLES`."""

    def exact_match(prediction: str, reference: str) -> float:
        return float(normalize_answer(prediction, language) == normalize_answer(reference, language))

    def f1(prediction: str, reference: str) -> float:
        return bag_f1(*(normalize_answer(text, language).split() for text in (prediction, reference)))

    return Metric(exact_match, f1)

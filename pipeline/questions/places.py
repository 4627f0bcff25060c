"""Find the text of an answer in its context where the two differ in Unicode form or white space. Pure: no files.

Texts are compared in NFKD, in which the same texts are equal as in NFKC. White space of any kind and length is one
space, and invisible characters (`offsets.INVISIBLE`) are left out.
"""

import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from pipeline.questions.offsets import INVISIBLE, trimmed

DROPPED = set(map(chr, INVISIBLE))
# the forms of quotation marks, which `find_all` does not tell apart
QUOTATION_MARKS: dict[str, str] = {
    mark: form
    for form, marks in {
        '"': "\u00ab\u00bb\u201c\u201d\u201e\u201f\u2033\u300c\u300d\u300e\u300f\uff02",
        "'": "`\u00b4\u02bc\u2018\u2019\u201a\u201b\u2032\u2039\u203a\uff07",
    }.items()
    for mark in marks
}


class Place(NamedTuple):
    """Where a text occurs.

    Attributes:
        start, end: first and past-the-last character in the context.
        count: number of places that were candidates.
    """

    start: int
    end: int
    count: int


def find(context: str, text: str, near: int | None = None) -> Place | None:
    """The place of a text in a context: the nearest to character `near`, or without it the first.

    Without `near`, places that begin or end inside a word count only if there are no others.
    """
    found = list(_occurrences(context, text))
    if near is None:
        found = _whole(context, found) or found
    if not found:
        return None
    start, end = min(found, key=lambda place: abs(place[0] - (near or 0)))
    return Place(start, end, len(found))


def find_all(context: str, text: str) -> list[tuple[int, int]]:
    """First and past-the-last character of each place of a text that may be no exact quotation, in order.

    Where the text does not occur as it is, case and the forms of quotation marks make no difference either. Places that
    begin or end inside a word count only if there are no others.
    """
    text = trimmed(text)
    exact = list(_exact(context, text))
    if whole := _whole(context, exact):
        return whole
    folded = list(_occurrences(context, text, folded=True))
    return _whole(context, folded) or exact or folded


def _whole(context: str, places: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    return [place for place in places if not _cuts_a_word(context, *place)]


def _exact(context: str, text: str) -> Iterator[tuple[int, int]]:
    """Yield first and past-the-last character of each place of the text as it is, in order."""
    at = context.find(text) if text else -1
    while at >= 0:
        yield at, at + len(text)
        at = context.find(text, at + 1)


def _occurrences(context: str, text: str, folded: bool = False) -> Iterator[tuple[int, int]]:
    """Yield first and past-the-last character of each place of the text, in order; `folded` as in `_normal`."""
    (normal, origins), wanted = _normal(context, folded), _normal(text, folded)[0].strip()
    at = normal.find(wanted) if wanted else -1
    while at >= 0:
        places = origins[at : at + len(wanted)]
        start, end = min(places), max(places) + 1
        # part of a character, such as the e of an é, is not its place
        mark_follows = end < len(context) and unicodedata.category(context[end])[0] == "M"
        if not mark_follows and _normal(context[start:end], folded)[0] == wanted:
            yield start, end
        at = normal.find(wanted, at + 1)


@lru_cache(maxsize=64)  # the questions about one context follow each other
def _normal(text: str, folded: bool = False) -> tuple[str, list[int]]:
    """The normal form of a text, and for each of its characters the index of the character it is from.

    Args:
        folded: without case, and with one form of quotation marks.
    """
    pairs: list[tuple[str, int]] = []
    for i, character in enumerate(text):
        if character in DROPPED:
            continue
        character = QUOTATION_MARKS.get(character, character) if folded else character
        form = " " if character.isspace() else unicodedata.normalize("NFKD", character)
        form = form.casefold() if folded else form
        pairs += [(part, i) for part in form if part != " " or not pairs or pairs[-1][0] != " "]
    pairs = _reordered(pairs)
    return "".join(part for part, _ in pairs), [i for _, i in pairs]


def _reordered(pairs: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """Characters in canonical order: each run of combining marks is sorted by combining class."""
    ordered, marks = [], []
    for pair in pairs:
        if unicodedata.combining(pair[0]):
            marks.append(pair)
            continue
        ordered += sorted(marks, key=lambda mark: unicodedata.combining(mark[0]))
        marks = []
        ordered.append(pair)
    return ordered + sorted(marks, key=lambda mark: unicodedata.combining(mark[0]))


def _cuts_a_word(context: str, start: int, end: int) -> bool:
    """Whether letters, or digits, stand on both sides of the begin or the end."""
    return any(0 < at < len(context) and _kind(context[at - 1]) == _kind(context[at]) != "" for at in (start, end))


def _kind(character: str) -> str:
    return "digit" if character.isdigit() else "letter" if character.isalpha() else ""

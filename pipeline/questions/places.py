"""Find the text of an answer in its context where the two differ in Unicode form or white space. Pure: no files.

Texts are compared in NFKD, in which the same texts are equal as in NFKC. White space of any kind and length is one
space, and invisible characters (`offsets.INVISIBLE`) are left out.
"""

import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from pipeline.questions.offsets import INVISIBLE

DROPPED = set(map(chr, INVISIBLE))


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
        found = [place for place in found if not _cuts_a_word(context, *place)] or found
    if not found:
        return None
    start, end = min(found, key=lambda place: abs(place[0] - (near or 0)))
    return Place(start, end, len(found))


def _occurrences(context: str, text: str) -> Iterator[tuple[int, int]]:
    """Yield first and past-the-last character of each place of the text, in order."""
    (normal, origins), wanted = _normal(context), _normal(text)[0].strip()
    at = normal.find(wanted) if wanted else -1
    while at >= 0:
        places = origins[at : at + len(wanted)]
        start, end = min(places), max(places) + 1
        # part of a character, such as the e of an é, is not its place
        mark_follows = end < len(context) and unicodedata.category(context[end])[0] == "M"
        if not mark_follows and _normal(context[start:end])[0] == wanted:
            yield start, end
        at = normal.find(wanted, at + 1)


@lru_cache(maxsize=64)  # the questions about one context follow each other
def _normal(text: str) -> tuple[str, list[int]]:
    """The normal form of a text, and for each of its characters the index of the character it is from."""
    pairs: list[tuple[str, int]] = []
    for i, character in enumerate(text):
        if character in DROPPED:
            continue
        form = " " if character.isspace() else unicodedata.normalize("NFKD", character)
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

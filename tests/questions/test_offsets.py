import numpy as np
import pytest

from pipeline.questions.offsets import NO_CHARACTER, all_tokens, complete, nearest_covered, trimmed


def completed(context, *tokens):
    return [tuple(pair) for pair in complete(np.array(tokens, dtype=np.int32).reshape(-1, 2), context).tolist()]


@pytest.mark.parametrize(
    "context, tokens, expected",
    [
        ("Zoe\u0308 ran", [(0, 3), (5, 8)], [(0, 4), (5, 8)]),  # the token before
        ("Zo\u0308\u200de", [(0, 2), (4, 5)], [(0, 4), (4, 5)]),
        ("\u200dTea is \u0301hot", [(1, 4), (5, 7), (9, 12)], [(0, 4), (5, 7), (8, 12)]),  # first in the word
        ("tea \u200d hot", [(0, 3), (6, 9)], [(0, 3), (6, 9)]),  # a word without tokens
        ("tea hot", [(0, 3), (3, 7)], [(0, 3), (4, 7)]),  # a token with its space
        ("tea\u00a0\u200dhot\n", [(0, 4), (3, 9)], [(0, 3), (4, 8)]),
        ("tea\u200d\u3000hot", [(0, 3), (4, 5), (5, 8)], [(0, 4), (5, 4), (5, 8)]),  # a token of white space
        ("  ", [(0, 1), (1, 2)], [(2, 0), (2, 0)]),
        ("é\u0323", [(0, 1), (0, 1)], [(0, 2), (0, 2)]),  # two bytes of one character
        ("New York\u200d", [(0, 8)], [(0, 9)]),
        # characters that show nothing: beside a word that a tokenizer dropped or kept, alone, and within a word
        ("\ufeffTea\u200f (hot\u200e)", [(1, 4), (6, 7), (7, 10), (11, 12)], [(1, 4), (6, 7), (7, 10), (11, 12)]),
        ("Tea\u200f (hot\u200e)", [(0, 4), (5, 6), (6, 9), (9, 11)], [(0, 3), (5, 6), (6, 9), (10, 11)]),
        ("tea \u200b hot", [(0, 3), (4, 5), (6, 9)], [(0, 3), (6, 3), (6, 9)]),
        ("co\u00adop", [(0, 2), (3, 5)], [(0, 2), (3, 5)]),
        ("\u0645\u06cc\u200c\u0631\u0648\u062f", [(0, 2), (3, 6)], [(0, 3), (3, 6)]),  # a non-joiner is of its word
        ("😀\ufe0f 😀", [(0, 1), (3, 4)], [(0, 2), (3, 4)]),
        ("tea", [], []),
    ],
)
def test_every_character_of_a_word_belongs_to_a_token_and_white_space_to_none(context, tokens, expected):
    assert completed(context, *tokens) == expected


def test_complete_offsets_stay_complete():
    context = "\u200dTea\u0301 \u200b is\n\nhot\u200d"
    once = completed(context, (1, 4), (5, 6), (8, 10), (10, 15))
    assert completed(context, *once) == once


def test_spans_shrink_to_the_characters_of_tokens():
    # a word, a space alone, a word, of which the last is in two windows
    tokens = all_tokens([np.array([(1, 4), (5, 4), (5, 8)]), np.array([(5, 8), (10, 12)])])
    spans = np.array([(0, 4), (4, 5), (3, 9), (8, 13), (4, 8), (12, 14), (0, 1)])
    assert nearest_covered(spans, tokens).tolist() == [
        [1, 4], [5, 4], [3, 8], [10, 12], [5, 8], [NO_CHARACTER, 12], [1, NO_CHARACTER],
    ]  # fmt: skip


def test_the_edges_that_no_token_has_are_trimmed():
    assert trimmed("\ufeff \u200f\u05e9\u200f\u05dc\u00ad\n\u3000") == "\u05e9\u200f\u05dc"
    assert trimmed("\u200dTea\u0301") == "\u200dTea\u0301"  # a joiner and a mark belong to their word

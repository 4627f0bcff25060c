import unicodedata

import pytest

from pipeline.questions.places import find, find_all


def at(context, text, near=None):
    """The text of the place in the context, and where it begins."""
    place = find(context, text, near)
    return place and (context[place.start : place.end], place.start)


@pytest.mark.parametrize(
    ("context", "text", "expected"),
    [
        ("a cafe\u0301 here", "caf\xe9", "cafe\u0301"),
        ("a caf\xe9 here", "cafe\u0301", "caf\xe9"),
        ("of \uff11\uff18\uff12\uff10\u5e74", "1820", "\uff11\uff18\uff12\uff10"),  # full-width digits
        ("the \ufb01ne", "fine", "\ufb01ne"),  # a ligature
        ("\ud55c\uad6d", "\u1112\u1161\u11ab\u1100\u116e\u11a8", "\ud55c\uad6d"),  # Hangul, composed or not
        ("q\u0307\u0323 x", "q\u0323\u0307", "q\u0307\u0323"),  # marks in another order
        ("two\xa0 \nhens.", " two hens\n", "two\xa0 \nhens"),
        ("\u200fthe\u200b inn\u200f.", "the inn\u200e", "the\u200b inn"),
        ("co\xadop", "coop", "co\xadop"),
    ],
)
def test_the_place_has_the_text_in_its_own_unicode_form_and_white_space(context, text, expected):
    assert at(context, text) == (expected, context.index(expected))
    assert at(context, expected) == (expected, context.index(expected))


@pytest.mark.parametrize(
    ("context", "text"),
    [
        ("cafe\u0301", "cafe"),  # the base of a letter alone
        ("caf\xe9", "cafe"),
        ("o\ufb03ce", "f"),  # a part of a ligature
        ("\u0915\u093f", "\u0915"),  # a Devanagari letter without its vowel
        ("Bees", "bees"),
        ("bees", "hens"),
        ("bees", " \u200b"),
        ("", "bees"),
    ],
)
def test_other_texts_have_no_place(context, text):
    assert find(context, text) is None


@pytest.mark.parametrize(("near", "start"), [(0, 0), (3, 0), (6, 10), (5, 0), (99, 20), (-7, 0)])
def test_the_nearest_place_is_taken_and_the_first_of_two(near, start):
    assert find("bees, and bees, and bees", "bees", near) == (start, start + 4, 3)


def test_without_a_place_to_be_near_whole_words_come_first():
    context = "a category of cat, or a cat; 18 of 1820"
    assert find(context, "cat") == (14, 17, 2)
    assert find(context, "18") == (29, 31, 1)
    assert find(context, "gory") == (6, 10, 1)
    assert find("2018年", "2018") == (0, 4, 1)
    assert find(context, "cat", near=0) == (2, 5, 3)  # where there is, the nearest


def test_forms_of_random_texts_are_found_where_they_are():
    text = "Zoë Grün ate 한국 ﬁne q̣̇ café में"
    words = text.split()
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        for word in words:
            place = find(text, unicodedata.normalize(form, word))
            assert text[place.start : place.end] == word


@pytest.mark.parametrize(
    ("context", "text", "expected"),
    [
        ("a cat, a Cat and a category", "cat", ["cat"]),  # as it is and a whole word
        ("a Cat and a CAT", "cat", ["Cat", "CAT"]),
        ("a party with Art", "art", ["Art"]),  # a whole word before one as it is
        ("a party", "art", ["art"]),
        ("a PARTY", "art", ["ART"]),
        ("He said \u201cno\u201d twice", '"no"', ["\u201cno\u201d"]),
        ("the town\u2019s mill", "the town's mill", ["the town\u2019s mill"]),
        ("the \u00ablong\u00bb road", "\u201clong\u201d  road", ["\u00ablong\u00bb road"]),
        ("Two\n  Hens", "two hens", ["Two\n  Hens"]),
        ("CAFE\u0301 and cafe\u0301", "caf\xe9", ["CAFE\u0301", "cafe\u0301"]),
        ("Stra\xdfe", "STRASSE", ["Stra\xdfe"]),
        ("the \ufb01ne", " Fine ", ["\ufb01ne"]),
        ("bees, bees", "bees\u200b", ["bees", "bees"]),
        ("cafe\u0301", "CAFE", []),
        ("bees", "hens", []),
        ("bees", " ", []),
    ],
)
def test_all_places_of_a_text_that_may_be_no_exact_quotation(context, text, expected):
    places = find_all(context, text)
    assert [context[start:end] for start, end in places] == expected
    assert places == sorted(set(places))

import unicodedata

import pytest

from tests.conftest import MILL, TEA

# what a tokenizer with offsets can get wrong
TRICKY = [
    "",
    " \n\t ",
    "plain words, with punctuation: 12-inch (or 3.5 %)!",
    unicodedata.normalize("NFC", "Zoë Grün naïve ÅNGSTRÖM Ế"),
    unicodedata.normalize("NFD", "Zoë Grün naïve ÅNGSTRÖM Ế"),
    "a\u0323\u0307b \u0301x o\u0307\u0323",  # marks alone, first in a word, in another order
    "İstanbul ISTANBUL ıi ẞß ﬁ ΣΑΣ Kelvin Ω",  # lower case of several letters, or of another block
    "emoji 😀👩‍👩‍👧 flags 🇩🇪 skin 👍🏽 keycap 1️⃣",
    "𝔘𝔫𝔦 𐐀𐐨 𠀀𠀁 surrogate pairs 𒀀𒀁",
    "漢字かな交じり文、中文。 한국어 조선 豈更",  # with compatibility ideographs, which decompose
    "zero\u200bwidth \ufeffmark soft\u00adhyphen joi\u200dner \u2060",
    "no\u00a0break\u2003em\u3000ideographic\u1680ogham\u2028line\u2029paragraph\u202fnarrow",
    "control\x00\x01\x1c\x1f\x7f\x85 tab\tline\r\nend \ufffd",
    "private \ue000\U000f0000 unassigned \u0378\U0003fffe \U000e0041tag",
    "हिन्दी में العَرَبِيَّة עִבְרִית ไทย",
    "[SEP] in the text, [CLS][MASK] [sep] [UNK]x[PAD] [SE P] [[SEP]]",
    "w" * 100 + " " + "w" * 101 + " " + "é" * 101,
    "x\u0301" * 120,
    "“quotes” ‘’ «» – — … · ¡¿ § $ + < = > ^ ` | ~ € £ ° © №",
    f"  {TEA}\n\n{MILL}  ",
]


@pytest.fixture(scope="session")
def tricky():
    return TRICKY

# ruff: noqa: RUF001
"""Questions in many scripts, and tokenizers of seven architectures with vocabularies assembled from them.

Each tokenizer has the normalizer, pre-tokenizer, decoder and template of its architecture. In the texts, characters
that cannot be seen are escaped.
"""

import base64
import random
import unicodedata
import zlib

from tokenizers import pre_tokenizers
from transformers import (
    AlbertTokenizer,
    BertTokenizer,
    DebertaV2Tokenizer,
    MPNetTokenizer,
    RobertaTokenizer,
    XLMRobertaTokenizer,
)


def decomposed(text):
    return unicodedata.normalize("NFD", text)


# (context, answers)
QUESTIONS = [
    # Hindi
    ("यह घर में", ["यह", "में"]),
    ("दिल्ली भारत की राजधानी है और यमुना नदी के किनारे बसी है।", ["दिल्ली", "यमुना नदी", "बसी है"]),
    # Thai
    ("กรุงเทพมหานครเป็นเมืองหลวงของประเทศไทยตั้งแต่ปี ๒๓๒๕", ["กรุงเทพมหานคร", "ประเทศไทย", "๒๓๒๕"]),
    ("ที่นี่คือบ้านของสมชัย และบ้านนี้", ["ที่นี่", "สมชัย", "บ้านนี้"]),
    # Arabic with vowel marks, Persian with zero-width non-joiners
    ("تقع القاهِرةُ على نهر النيل، وهي عاصمة مِصْرُ", ["القاهِرةُ", "نهر النيل", "مِصْرُ"]),
    ("او می\u200cخواهد به خانه\u200c برود", ["می\u200cخواهد", "خانه\u200c", "برود"]),
    # Hebrew with points
    ("בְּרֵאשִׁית בָּרָא אֱלֹהִים אֵת הַשָּׁמַיִם, שָׁלוֹם לְךָ", ["בְּרֵאשִׁית", "אֱלֹהִים", "לְךָ"]),
    # Vietnamese
    ("Hà Nội là thủ đô của nước Việt Nam, theo lời bà Lê", ["Hà Nội", "Việt Nam", "Lê"]),
    (
        decomposed("Hà Nội là thủ đô của nước Việt Nam, theo lời bà Lê"),
        [decomposed(a) for a in ("Hà Nội", "Việt Nam", "Lê")],
    ),
    # Korean
    ("서울은 대한민국의 수도이고 한강이 흐르는 도시", ["서울", "대한민국", "한강", "도시"]),
    (
        decomposed("서울은 대한민국의 수도이고 한강이 흐르는 도시"),
        [decomposed(a) for a in ("서울", "대한민국", "한강", "도시")],
    ),
    # Chinese and Japanese
    ("北京是中华人民共和国的首都，位于华北平原", ["北京", "中华人民共和国", "华北平原"]),
    ("東京の首都高は一九六二年に開通し、ガイドが案内する「ぱんだ」", ["東京", "一九六二年", "ガイド", "ぱんだ"]),
    (decomposed("ガイドは東京で「ぱんだ」を見たガ"), [decomposed(a) for a in ("ガイド", "東京", "ぱんだ", "見たガ")]),
    # emoji with joiners, variation selectors and skin tones
    ("The crew 👩\u200d🚀 waved 👋🏽 at the flag 🏳\ufe0f\u200d🌈", ["👩\u200d🚀", "👋🏽", "🏳\ufe0f\u200d🌈"]),
    ("✔\ufe0f It costs 10 €\ufe0f", ["✔\ufe0f", "10 €\ufe0f"]),
    # Turkish
    ("Irmak İzmir'de ılık bir gün DIŞARI çıktı, dedi Şİ", ["Irmak", "İzmir", "ılık", "DIŞARI", "Şİ"]),
    # German
    ("Die Große Straße in München heißt Prälat-Höß-Weg", ["Große Straße", "München", "Prälat-Höß-Weg"]),
    # combining Latin, ligatures
    ("She lived in Zoe\u0308", ["She", "Zoe\u0308"]),
    ("A\u0308pfel und o\u0301 im oﬃziellen Cafe\u0301", ["A\u0308pfel", "o\u0301", "oﬃziellen", "Cafe\u0301"]),
    # zero-width space and byte-order mark before an answer, soft hyphens in it, direction marks after it
    ("\u200bCafé ist zu", ["Café", "zu"]),
    ("\ufeffThe mill sta\u00adnds by the river\u200e", ["The mill", "sta\u00adnds", "river"]),
    # line breaks, no-break and double spaces
    (
        "Name:\nZoe\r\nCity:\tBonn\n\nIl dit «\u00a0oui\u00a0» à 8\u00a0h  et  non\u3000",
        ["Zoe", "Bonn", "oui", "8\u00a0h", "non"],
    ),
]

LETTERS = [*"abcdeZoxyz12", "é", "я", "ש", "か", "한"]
ODD = [
    *("\u0308", "\u0301", "\u0323\u0302", "\u0301\u0301", "e\u0301", "a\u0308", "\u20e3", "\u034f", "\u3099"),
    *("\u094d", "\u0947\u0902", "\u0e31", "\u0e49", "\u064e", "\u05b4", "\u0f7c", "\u1112\u1161\u11ab"),
    *("\u200b", "\u200c", "\u200d", "\u200e", "\u200f", "\u202a", "\u2060", "\u2066", "\u2069", "\ufeff", "\u00ad"),
    *("\u180e", "\ufe0f", "\u0000", "\ufffd", "\ue000", "\u0378", "\U000e0001", "\U0001f3fd", "👩\u200d🚀", "🇩🇪"),
    *("\u0085", "\u001f", "\u00a0", "\u3000", "\u2009", "\u2028", "\t", "\n", "\r\n", "  "),
    *("ﬁ", "½", "…", "™", "ǅ", "İ", "ı", "ß", "ẞ", "Å", "Ⅷ", "ﾊﾞ", "ﷺ", "中", "国", "ด", "ี", "ö", "क्ष"),
    *("`", "''", "``", '"', "'", "(", ")", ".", ",", "-", "—", "€"),
]

# A part of `nmt_nfkc`, the normalization in the SentencePiece models of XLM-R and ALBERT: 25 of its rules, compiled by
# sentencepiece 0.2.3. They compose accents and drop some of them, expand ligatures, and make spaces of U+200B, U+200C,
# U+200E, U+200F, U+FEFF and line breaks.
NMT_NFKC = zlib.decompress(
    base64.b64decode(
        "eNol03tMzWEcx/HP73cyZWxsbMwiW5s/WJsWYmYz/hByTe7MXcz9znA6nXKi5E4uSaEouUSKXI/7yjX3ax2GDbmE3L0f/fHa5/v7Ps9v"
        "e8739xz5SQqSAgKkOrUkS3LScZY0tJUQ5lBJuK1Y+sGmF2zLEyg1NrWfLRf9lqauS92JvWIv601Nz5+6g9Q8UmpmnsNstSBrw9NEcpAZ"
        "vF+PzHQ7lJ5Ike1QFu/Xp3Sy3z3JVnySLed+Kde/5hyNWCsodKiS/umjUtpC6RRnaUX/5AUplMO3RRjaox1OemyFk6fLbHU0z9ulTuSJ"
        "YludyS5IDLDUlVxpWUoKtNSNelUjSykNLEVQd0dP9AA/Sb3QB73RD30xAP0xEFEYhGgMwWAMw1CMwHCMwkhkJ1uKqbI1lnoMxmMcJmJ6"
        "ta0YcrTT1hRyMqaaPbm29pRamkY9EzMwG7MwF3MwH/PAiLQAi7EIS8yedFvLyKWIVc1Hj4ML8XBjORLMbOAxs8EKJCMJKWZGWIPVWIe1"
        "2ID12ISNSMVmbMUWMH5tww6kYSfSkYkM7MYuZGEP9poZIQf7wHVQLg4gD4dwEPk4DK6FjuAYClCEQvO9cdx8fxSb+4BTOIsz8OIcuEY6"
        "j0u4iCu4bNZaW7pKlqIE13ENN3EDt3ELd1CGe7iLB7iPR3iIJ3iMZ3iKcjyHDxV4iRd4hUqPpTfka7MWZMkXbukd9Vuzhvf4iA/4jE/4"
        "gip8w1d8RzV+4gd+4xf+4o/+//9DQkLUpiLWHaqoSEVHRERoQoy8OfLmyZsvb7HOx6n8eJF8rhyfK1X/AKRCwZ0="
    )
)


def invented_contexts(number, seed=0):
    """Contexts of one to nine words of letters and odd characters."""
    rng = random.Random(seed)

    def word():
        return "".join(rng.choice(ODD if rng.random() < 0.45 else LETTERS) for _ in range(rng.randint(1, 5)))

    spaces = (" ", " ", " ", "  ", "\u00a0", "\n")
    contexts = ("".join(word() + rng.choice(spaces) for _ in range(rng.randint(1, 9))) for _ in range(number))
    return [context for context in contexts if not context.isspace()]


def tokenizers():
    """The seven tokenizers, by name."""
    return {
        "BERT uncased": _wordpiece(BertTokenizer, ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], do_lower_case=True),
        "BERT cased": _wordpiece(BertTokenizer, ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], do_lower_case=False),
        "RoBERTa": _byte_level(),
        "XLM-R": _unigram(
            XLMRobertaTokenizer, ["<s>", "<pad>", "</s>", "<unk>", "<mask>"], _spm_precompiled_charsmap=NMT_NFKC
        ),
        "MPNet": _wordpiece(MPNetTokenizer, ["<s>", "<pad>", "</s>", "[UNK]", "<mask>"]),
        "DeBERTa-v3": _unigram(DebertaV2Tokenizer, ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]),
        "ALBERT": _unigram(
            AlbertTokenizer, ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"], _spm_precompiled_charsmap=NMT_NFKC
        ),
    }


def _alphabet(tokenizer):
    """Characters that the normalizer leaves, less every 17th of the odd ones, which stay unknown; words of answers."""
    normalizer, splitter = tokenizer.backend_tokenizer.normalizer, tokenizer.backend_tokenizer.pre_tokenizer

    def words(text):
        normal = normalizer.normalize_str(text) if normalizer else text
        return [word.removeprefix("▁") for word, _ in splitter.pre_tokenize_str(normal)]

    usual = {character for context, _ in QUESTIONS for word in words(context) for character in word}
    odd = sorted({character for text in ODD + LETTERS for word in words(text) for character in word} - usual)
    whole = {word for _, answers in QUESTIONS for answer in answers for word in words(answer) if len(word) > 1}
    return sorted(usual) + [character for i, character in enumerate(odd) if i % 17], sorted(whole)


def _wordpiece(kind, special, **settings):
    characters, words = _alphabet(kind(vocab={"[UNK]": 0}, **settings))
    pieces = [*special, *characters, *(f"##{character}" for character in characters), *words]
    return kind(vocab={piece: i for i, piece in enumerate(dict.fromkeys(pieces))}, **settings)


def _unigram(kind, special, **settings):
    vocab = [(piece, 0.0) for piece in special]
    characters, words = _alphabet(kind(vocab=[*vocab, ("▁", -1.0)], **settings))
    scores = {"▁": -2.0, **{character: -3.0 for character in characters}}
    scores |= {f"▁{character}": -4.0 for character in characters[::2]} | {f"▁{word}": -4.0 for word in words}
    return kind(vocab=vocab + [piece for piece in scores.items() if piece[0] not in special], **settings)


def _byte_level():
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("Ġ", letter) for letter in letters if letter.isascii()]
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *letters, *("".join(merge) for merge in merges)]
    return RobertaTokenizer(vocab={piece: i for i, piece in enumerate(pieces)}, merges=merges)

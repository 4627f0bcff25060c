"""Which characters of a context belong to which token. Pure: no tokenizer, no model.

Some tokenizers drop or compose characters: BERT drops combining marks and zero-width characters, NFC composes two
characters into one. Others put the space before a word into its token. `complete` makes them alike: every character of
a word belongs to one of the word's tokens, and white space to none. Windows have these offsets, so labels, answers and
the alignment of tokenizers follow one rule.

Invisible characters, such as bidirectional control marks and soft hyphens, count as white space, since whoever marks an
answer cannot see whether one is at its edge. Joiners, variation selectors and combining marks belong to their word.
"""

import numpy as np

NO_CHARACTER = -1
# soft hyphen, zero-width space, word joiner, byte-order mark, and bidirectional control marks
INVISIBLE = [0xAD, 0x61C, 0x200B, 0x200E, 0x200F, *range(0x202A, 0x202F), 0x2060, *range(0x2066, 0x206A), 0xFEFF]
# whether a character is white space or counts as such, by code point; none beyond these is
IS_BLANK = np.array([chr(code).isspace() for code in range(0xFF01)])
IS_BLANK[INVISIBLE] = True
BLANK = "".join(map(chr, np.flatnonzero(IS_BLANK)))


def complete(
    offsets: np.ndarray, context: str, first: int | np.ndarray = 0, past: int | np.ndarray | None = None
) -> np.ndarray:
    """Offsets of a context's tokens such that every character of a word belongs to a token, and white space to none.

    A word is a run of characters without white space. A character that no token holds belongs to the token before it
    in its word, at the beginning of a word to the token after it. A word without tokens belongs to none. A token of
    white space alone begins where the text after it begins and ends where the text before it ends: begin > end.

    Example: a tokenizer drops the combining marks of "Zoe\u0308 is \u0301hot" (a diaeresis and an accent), and its last
    token begins with a space. The offsets of its three tokens change so:

        Zoe  (0, 3)   -> (0, 4)    the diaeresis follows in the same word
        is   (5, 7)   -> (5, 7)
         hot (7, 12)  -> (8, 12)   without the space; the accent is in the token
        hot  (9, 12)  -> (8, 12)   from a tokenizer that drops the accent: it begins the word

    Args:
        offsets: (m, 2) first and past-the-last character of all tokens of the context, in any order, repeats allowed.
        context: a text, or several texts joined by white space.
        first, past: of several texts, for each token the first and past-the-last character of its text, each (m,).

    Returns:
        (m, 2), in the same order. The offsets of tokens in the order of the text do not decrease.
    """
    length = len(context)
    if not len(offsets):
        return offsets
    codes = np.frombuffer(context.encode("utf-32-le"), dtype=np.uint32)
    blank = IS_BLANK[np.minimum(codes, len(IS_BLANK) - 1)]
    tokens_begun, tokens_ended = (np.bincount(column, minlength=length + 1)[:length].cumsum() for column in offsets.T)
    dropped = ~blank & (tokens_begun == tokens_ended)  # characters of words that are in no token
    # the token without white space at its edges
    begin = np.minimum(_next(~blank)[offsets[:, 0]], length if past is None else past)
    end = np.maximum(_previous(~blank)[offsets[:, 1]], first)
    # with the dropped characters on both sides: those after it are its own, those before it at the start of a word
    extended_begin = _previous(~dropped)[begin]
    extended_end = _next(~dropped)[end]
    starts_word = (extended_begin == first) | blank[extended_begin - 1]
    return np.stack([np.where(starts_word, extended_begin, begin), extended_end], axis=1).astype(offsets.dtype)


def trimmed(text: str) -> str:
    """A text without the white space and the invisible characters at its edges, which no token's offsets include."""
    return text.strip(BLANK)


def _next(stop: np.ndarray) -> np.ndarray:
    """(n + 1,) for each place 0 to n the first place from it on whose character is a stop; n if there is none."""
    places = np.append(np.where(stop, np.arange(len(stop)), len(stop)), len(stop))
    return np.minimum.accumulate(places[::-1])[::-1]


def _previous(stop: np.ndarray) -> np.ndarray:
    """(n + 1,) for each place 0 to n the last place up to it that follows a stop; 0 if there is none."""
    return np.maximum.accumulate(np.append(0, np.where(stop, np.arange(1, len(stop) + 1), 0)))


def all_tokens(windows: list[np.ndarray]) -> np.ndarray:
    """(m, 2) sorted offsets of the context tokens of all windows of a record; tokens in several windows repeat."""
    # neither begins nor ends decrease from token to token, so sorting each column keeps the pairs
    return np.sort(np.concatenate(windows), axis=0)


def nearest_covered(spans: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """(n, 2) spans with begins moved right and ends moved left to a covered character; `NO_CHARACTER` without one.

    Args:
        spans: (n, 2) first and past-the-last characters.
        tokens: (m, 2) as from `all_tokens`.
    """
    after = np.searchsorted(tokens[:, 1], spans[:, 0], side="right")
    before = np.searchsorted(tokens[:, 0], spans[:, 1], side="left")
    begins = np.maximum(spans[:, 0], np.append(tokens[:, 0], NO_CHARACTER)[after])
    begins[after == len(tokens)] = NO_CHARACTER
    ends = np.minimum(spans[:, 1], np.append(NO_CHARACTER, tokens[:, 1])[before])
    return np.stack([begins, ends], axis=1)

"""A teacher's distributions over its own tokens, carried to a student's tokens by characters. Pure: no files, no model.

Teacher and student cut one context into different tokens and windows, and characters are what they have in common.
`source` is what the teacher reads, `target` what the student reads.

1. A source window's logits become probabilities over its answer positions, [CLS] and context. The mass of a context
   token stands at a character: its first one for starts, its last one for ends. The mass of [CLS] says that the
   window does not hold the answer.
2. The mass of a character goes to the target token that holds it. A character that no token of the record holds, such
   as white space, gives its mass to the next token for starts and to the token before for ends, as in
   `windows.label`. Where the context has no such token, the mass is not placed: it is left out and counted.
3. A character outside the target window gives its mass to the target's [CLS], again as in `windows.label`. The two
   ends are carried apart, so a window that holds one end of an answer gets that end's mass, though its label is
   (0, 0).
4. A target window is told by the source window of its record that shares most characters with it; the first, if
   several do. If that window does not reach over the whole target window, its [CLS] mass, and no more, is handed on:
   the source window with the next largest share divides it as it divides its own, and so on, but for windows that
   reach over nothing that one before them does not. So an answer that the first window does not hold whole is still
   found, and the sum stays 1. What is left in the end goes to the target's [CLS].
5. A source window with the very offsets of the target window tells it alone, position by position: several tokens may
   lie in one character (the bytes of an accented letter), and characters cannot tell them apart.

Probabilities are carried as they are at temperature 1. A temperature in the loss then acts on the target's tokens.
"""

import numpy as np

from pipeline.questions.features import Features

# The logit of a token without mass, as of one that the losses mask. A small probability would not do: at temperature
# 4, 1e-6 has 0.03 of the weight of 1, and 180 such tokens outweigh the answer.
NO_MASS = -1e30
NOWHERE = -1

Pair = tuple[np.ndarray, np.ndarray]


def transport(source: Features, logits: Pair, target: Features) -> tuple[Pair, float]:
    """Start and end logits of the target's tokens that say what the source's logits say of the same characters.

    Args:
        source: all windows of each record, S tokens.
        logits: start and end, each (S,), laid end to end as the source's tokens are.
        target: all windows of each record, T tokens; `record` counts the list that the source's counts.

    Returns:
        Start and end, each (T,) float32, laid end to end as the target's tokens are: natural logarithms of
        probabilities that sum to 1 over a window's answer positions; `NO_MASS` at tokens without mass and at all
        other positions. Then the share of mass that was not placed, from 0 to 1, mean over target windows and over
        start and end. What was placed is scaled to sum to 1; if nothing was, [CLS] gets 1.

    Raises:
        ValueError: there is not one logit for each token of the source; a record of the target is not in the source.
    """
    if any(one.shape != source.input_ids.shape for one in logits):
        raise ValueError(f"logits of shape {[one.shape for one in logits]} for {len(source.input_ids)} tokens")
    carried = np.full((2, len(target.input_ids)), NO_MASS, dtype=np.float32)
    unplaced = np.zeros(len(target))
    sources = _by_record(source)
    for record, windows in _by_record(target).items():
        if record not in sources:
            raise ValueError(f"record {record} has windows in the target and none in the source")
        spans = [_context_offsets(source, i) for i in sources[record]]
        probabilities = [_probabilities(source, logits, i) for i in sources[record]]
        wanted = [_context_offsets(target, i) for i in windows]
        held_by_source, held_by_target = _held(spans), _held(wanted)
        characters = [_nearest_held(offsets, held_by_target) for offsets in spans]
        for i, offsets in zip(windows, wanted, strict=True):
            order = _readers(offsets, spans, held_by_source)
            mass = np.zeros((2, len(offsets) + 2))  # [CLS], the context's tokens, nowhere
            left = np.ones((2, 1))
            for j in order:
                mass += left * _placed(_places(offsets, spans[j], characters[j]), probabilities[j], len(offsets))
                left *= probabilities[j][:, :1]
            mass[:, :1] += left
            unplaced[i] = mass[:, -1].mean()
            carried[:, _answer_positions(target, i)] = _log(mass[:, :-1])
    return (carried[0], carried[1]), float(unplaced.mean())


def _by_record(features: Features) -> dict[int, list[int]]:
    windows: dict[int, list[int]] = {}
    for i, record in enumerate(features.record.tolist()):
        windows.setdefault(record, []).append(i)
    return windows


def _context_offsets(features: Features, i: int) -> np.ndarray:
    """(n, 2) first and past-the-last character of each context token of window i."""
    first, past = features.context[i]
    return features.offset_mapping[features.tokens(i)][first:past]


def _answer_positions(features: Features, i: int) -> np.ndarray:
    """(1 + n,) where [CLS] and the context tokens of window i lie in the flat arrays."""
    first, past = features.context[i]
    return features.starts[i] + np.concatenate([[0], np.arange(first, past)])


def _probabilities(features: Features, logits: Pair, i: int) -> np.ndarray:
    """(2, 1 + n) start's and end's probabilities of [CLS] and of each context token of window i."""
    positions = _answer_positions(features, i)
    scores = np.stack([one[positions] for one in logits]).astype(np.float64)
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def _held(windows: list[np.ndarray]) -> np.ndarray:
    """(m, 2) offsets of a record's tokens, in order; tokens of several windows are there several times."""
    # first characters never fall from token to token, nor last ones, so that sorting each keeps the pairs
    return np.sort(np.concatenate(windows), axis=0)


def _nearest_held(offsets: np.ndarray, held: np.ndarray) -> np.ndarray:
    """(n, 2) `offsets`, narrowed where no token holds the characters at their ends; `NOWHERE` if none is that way."""
    after = np.searchsorted(held[:, 1], offsets[:, 0], side="right")
    before = np.searchsorted(held[:, 0], offsets[:, 1], side="left")
    begins = np.maximum(offsets[:, 0], np.append(held[:, 0], NOWHERE)[after])
    begins[after == len(held)] = NOWHERE
    ends = np.minimum(offsets[:, 1], np.append(NOWHERE, held[:, 1])[before])
    return np.stack([begins, ends], axis=1)


def _readers(offsets: np.ndarray, spans: list[np.ndarray], held: np.ndarray) -> list[int]:
    """Which source windows tell a target window, in order.

    Args:
        offsets: (n, 2) of the target window's context.
        spans: the offsets of each source window's context.
        held: offsets of all of them.
    """
    if len(spans) == 1 or not len(offsets):
        return [0]
    same = [j for j, span in enumerate(spans) if np.array_equal(span, offsets)]
    if same:
        return same[:1]
    # white space at the target's ends is nothing to read
    begin, end = _nearest_held(np.array([[offsets[0, 0], offsets[-1, 1]]]), held)[0].tolist()
    reach = [(max(begin, int(span[0, 0])), min(end, int(span[-1, 1]))) if len(span) else (0, 0) for span in spans]
    order: list[int] = []
    for j in sorted(range(len(spans)), key=lambda j: reach[j][0] - reach[j][1]):
        first, past = reach[j]
        repeats = any(reach[k][0] <= first and past <= reach[k][1] for k in order)
        if not order or (first < past and not repeats):
            order.append(j)
    return order


def _places(offsets: np.ndarray, span: np.ndarray, characters: np.ndarray) -> np.ndarray:
    """(2, k) where the start and end mass of a source window's k context tokens goes in a target window.

    0 is [CLS], 1 to n are the target's context tokens, n + 1 is nowhere.

    Args:
        offsets: (n, 2) of the target window's context.
        span: (k, 2) offsets of the source window's context.
        characters: (k, 2) the same, narrowed to what the target's tokens hold.
    """
    if np.array_equal(offsets, span):
        return np.tile(np.arange(1, len(span) + 1), (2, 1))
    first, last = characters.T
    places = np.zeros((2, len(span)), dtype=np.int64)
    if len(offsets):
        begin, end = offsets[0, 0], offsets[-1, 1]
        starts = np.searchsorted(offsets[:, 1], first, side="right") + 1
        ends = np.searchsorted(offsets[:, 0], last, side="left")
        places[0] = np.where((first >= begin) & (first < end), starts, 0)
        places[1] = np.where((last > begin) & (last <= end), ends, 0)
    places[characters.T == NOWHERE] = len(offsets) + 1
    return places


def _placed(places: np.ndarray, probabilities: np.ndarray, n: int) -> np.ndarray:
    """(2, n + 2) sums of the context tokens' probabilities by place."""
    rows = zip(places, probabilities[:, 1:], strict=True)
    return np.stack([np.bincount(place, probability, minlength=n + 2) for place, probability in rows])


def _log(mass: np.ndarray) -> np.ndarray:
    """(2, 1 + n) logarithms of the rows, scaled to sum to 1; `NO_MASS` for 0."""
    mass = mass.copy()
    mass[mass.sum(axis=1) == 0, 0] = 1
    scaled = mass / mass.sum(axis=1, keepdims=True)
    return np.log(scaled, out=np.full_like(scaled, NO_MASS), where=scaled > 0)

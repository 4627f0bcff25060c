"""Aligns a teacher's distributions with a student's tokens, by character offsets. Pure: no files, no model.

Teacher and student may split a context into different tokens and windows; what they share is its characters. `source`
is the teacher's side, `target` the student's.

1. The logits of a source window become probabilities over its answer positions: [CLS] and the context. The mass of a
   context token is assigned to one character, its first for starts and its last for ends. The mass of [CLS] is the
   probability that the window does not contain the answer.
2. The mass of a character goes to the target token that covers it. If no token of the record covers it, as with white
   space, the mass goes to the next token for starts and to the previous token for ends, as in `windows.label`. If the
   context has no such token, the mass is unaligned: it is dropped and counted.
3. The mass of a character outside the target window goes to the target's [CLS], as in `windows.label`. Starts and ends
   are aligned separately. A window that contains one end of an answer gets the mass of that end, although its label is
   (0, 0).
4. A target window is aligned with the source window of its record that overlaps it by the most characters; ties go to
   the first. If that window does not cover the whole target window, its [CLS] mass alone is passed on: the source
   window with the next largest overlap distributes that mass by its own probabilities, and so on. A window whose
   overlap is contained in an earlier window's is skipped. So an answer that the first window does not contain whole
   is still found, and the sum stays 1. The mass that remains at the end goes to the target's [CLS].
5. If a source window has exactly the offsets of the target window, it alone is used, position by position. Several
   tokens may cover one character (the bytes of an accented letter), and characters cannot tell such tokens apart.

Probabilities are those at temperature 1. A temperature in the loss is applied to the aligned logits.
"""

import numpy as np

from pipeline.questions.features import Features, SpanLogits
from pipeline.questions.offsets import NO_CHARACTER, all_tokens, nearest_covered

# The logit of a token without mass; the losses use the same value for masked tokens. A small probability is not
# enough: at temperature 4, 1e-6 gets 0.03 times the weight of 1, and 180 such tokens outweigh the answer.
NO_MASS = -1e30


def align(source: Features, logits: SpanLogits[np.ndarray], target: Features) -> tuple[SpanLogits[np.ndarray], float]:
    """Start and end logits over the target's tokens, from the source's logits over its own tokens.

    Args:
        source: all windows of each record, S tokens.
        logits: start and end, each (S,), in the order of the source's tokens.
        target: all windows of each record, T tokens; `record` has the same indices as in the source.

    Returns:
        Start and end, each (T,) float32, in the order of the target's tokens: natural logarithms of probabilities that
        sum to 1 over a window's answer positions; `NO_MASS` at tokens without mass and at all other positions. Then
        the fraction of mass that is unaligned, from 0 to 1, mean over target windows and over start and end. The
        aligned mass is scaled to sum to 1; if there is none, [CLS] gets 1.

    Raises:
        ValueError: the logits do not have the shape of the source's tokens, or a record of the target is not in the
            source.
    """
    if any(one.shape != source.input_ids.shape for one in logits):
        raise ValueError(f"logits of shape {[one.shape for one in logits]} for {len(source.input_ids)} tokens")
    aligned = np.full((2, len(target.input_ids)), NO_MASS, dtype=np.float32)
    unaligned = np.zeros(len(target))
    sources = _by_record(source)
    for record, windows in _by_record(target).items():
        if record not in sources:
            raise ValueError(f"record {record} has windows in the target and none in the source")
        source_offsets = [context_offsets(source, i) for i in sources[record]]
        probabilities = [_probabilities(source, logits, i) for i in sources[record]]
        target_offsets = [context_offsets(target, i) for i in windows]
        source_tokens, target_tokens = all_tokens(source_offsets), all_tokens(target_offsets)
        characters = [nearest_covered(offsets, target_tokens) for offsets in source_offsets]
        for i, offsets in zip(windows, target_offsets, strict=True):
            mass = np.zeros((2, len(offsets) + 2))  # [CLS], the context's tokens, unaligned
            remaining = np.ones((2, 1))
            for j in _source_order(offsets, source_offsets, source_tokens):
                positions = target_positions(offsets, source_offsets[j], characters[j])
                mass += remaining * _sum_by_position(positions, probabilities[j], len(offsets))
                remaining *= probabilities[j][:, :1]
            mass[:, :1] += remaining
            unaligned[i] = mass[:, -1].mean()
            aligned[:, _answer_positions(target, i)] = _log(mass[:, :-1])
    return SpanLogits(aligned[0], aligned[1]), float(unaligned.mean())


def _by_record(features: Features) -> dict[int, list[int]]:
    windows: dict[int, list[int]] = {}
    for i, record in enumerate(features.record.tolist()):
        windows.setdefault(record, []).append(i)
    return windows


def context_offsets(features: Features, i: int) -> np.ndarray:
    """(n, 2) character offsets, begin and exclusive end, of each context token of window i."""
    first, end = features.context[i]
    return features.offset_mapping[features.tokens(i)][first:end]


def _answer_positions(features: Features, i: int) -> np.ndarray:
    """(1 + n,) indices of [CLS] and of the context tokens of window i in the flat arrays."""
    first, end = features.context[i]
    return features.starts[i] + np.concatenate([[0], np.arange(first, end)])


def _probabilities(features: Features, logits: SpanLogits[np.ndarray], i: int) -> np.ndarray:
    """(2, 1 + n) start and end probabilities of [CLS] and of each context token of window i."""
    positions = _answer_positions(features, i)
    scores = np.stack([one[positions] for one in logits]).astype(np.float64)
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def _source_order(offsets: np.ndarray, sources: list[np.ndarray], tokens: np.ndarray) -> list[int]:
    """The source windows that a target window is aligned with, largest overlap first.

    Args:
        offsets: (n, 2) of the target window's context.
        sources: offsets of each source window's context.
        tokens: `all_tokens` of the sources.
    """
    if len(sources) == 1 or not len(offsets):
        return [0]
    same = [j for j, source in enumerate(sources) if np.array_equal(source, offsets)]
    if same:
        return same[:1]
    # white space at the edges of the target window does not count as overlap
    begin, end = nearest_covered(np.array([[offsets[0, 0], offsets[-1, 1]]]), tokens)[0].tolist()
    overlaps = [
        (max(begin, int(source[0, 0])), min(end, int(source[-1, 1]))) if len(source) else (0, 0) for source in sources
    ]
    order: list[int] = []
    for j in sorted(range(len(sources)), key=lambda j: overlaps[j][0] - overlaps[j][1]):
        start, stop = overlaps[j]
        contained = any(overlaps[k][0] <= start and stop <= overlaps[k][1] for k in order)
        if not order or (start < stop and not contained):
            order.append(j)
    return order


def target_positions(offsets: np.ndarray, source: np.ndarray, characters: np.ndarray) -> np.ndarray:
    """(2, k) positions in a target window for the start and end mass of a source window's k context tokens.

    0 is [CLS], 1 to n are the target's context tokens, n + 1 is unaligned.

    Args:
        offsets: (n, 2) of the target window's context.
        source: (k, 2) offsets of the source window's context.
        characters: (k, 2) `nearest_covered` of the source's offsets, by the target's tokens.
    """
    if np.array_equal(offsets, source):
        return np.tile(np.arange(1, len(source) + 1), (2, 1))
    first, last = characters.T
    positions = np.zeros((2, len(source)), dtype=np.int64)
    if len(offsets):
        begin, end = offsets[0, 0], offsets[-1, 1]
        starts = np.searchsorted(offsets[:, 1], first, side="right") + 1
        ends = np.searchsorted(offsets[:, 0], last, side="left")
        positions[0] = np.where((first >= begin) & (first < end), starts, 0)
        positions[1] = np.where((last > begin) & (last <= end), ends, 0)
    positions[characters.T == NO_CHARACTER] = len(offsets) + 1
    return positions


def _sum_by_position(positions: np.ndarray, probabilities: np.ndarray, n: int) -> np.ndarray:
    """(2, n + 2) sums of the context tokens' probabilities at each position."""
    pairs = zip(positions, probabilities[:, 1:], strict=True)
    return np.stack([np.bincount(position, probability, minlength=n + 2) for position, probability in pairs])


def _log(mass: np.ndarray) -> np.ndarray:
    """(2, 1 + n) logarithms of both rows, each scaled to sum to 1; `NO_MASS` where the mass is 0."""
    mass = mass.copy()
    mass[mass.sum(axis=1) == 0, 0] = 1
    scaled = mass / mass.sum(axis=1, keepdims=True)
    return np.log(scaled, out=np.full_like(scaled, NO_MASS), where=scaled > 0)

"""The targets of a teacher that is a file of answers: rows over the student's own windows.

1. The probability of an answer goes to the tokens with its first and its last character, each end by itself, as in
   `alignment`: to [CLS] in a window that does not contain that end. No answer is [CLS] in every window.
2. What the probabilities of a question lack of 1 is distributed by `rest`.
3. Windows with equal tokens have one row, the mean of their targets.

A row holds natural logarithms of probabilities, not below `FLOOR`.
"""

import hashlib
import json
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np

from pipeline.checksums import sha256
from pipeline.logits.alignment import context_offsets, target_positions
from pipeline.logits.shards import Rows
from pipeline.questions.answer_files import Answers
from pipeline.questions.features import Features, key_list
from pipeline.questions.offsets import NO_CHARACTER, all_tokens, nearest_covered
from pipeline.questions.question import Question

VERSION = 1  # of the rules above and of those of `answer_files` and `places`
FLOOR = -6e4  # the logarithm of 0; float16 holds no less than -65504
# `renormalize`: probabilities are divided by their sum; `even`: every answer position of a window gets the same part
Rest = Literal["renormalize", "even"]


class AnswerTargets:
    """The rows of all windows that have a target.

    A question has no target if the file does not have it, or none of its answers has a place in the context, a token
    and a probability above 0.

    Attributes:
        keys: by split, the keys of the windows that have a target, in order, without repeats.
        without: the keys of all other windows, sorted.
        questions: by split, how many questions have a target.
        no_token: number of answers' places without a token.
        shared: number of windows whose tokens an earlier window has too.
    """

    def __init__(
        self,
        answers: Answers,
        splits: dict[str, Features],
        records: dict[str, list[Question]],
        dtype: str,
        rest: Rest = "renormalize",
    ):
        """
        Args:
            answers: to the records of all splits, in this order.
            splits: all windows of each split.
            dtype: of the rows.
        """
        self._answers, self._splits, self._dtype, self._rest = answers, splits, dtype, rest
        self._is_null = answers.places[:, 1] == 0
        self._characters = np.full(answers.places.shape, NO_CHARACTER, dtype=np.int32)
        self._first_question = dict(zip(records, np.cumsum([0, *map(len, records.values())]).tolist(), strict=False))
        self._windows: dict[bytes, list[tuple[str, int]]] = {}
        self.keys: dict[str, list[bytes]] = {}
        self.questions: dict[str, int] = {}
        self.no_token = 0
        for split, features in splits.items():
            found = np.flatnonzero(self._find_tokens(split)).tolist()
            keys = key_list(features.keys)
            for i in found:
                self._windows.setdefault(keys[i], []).append((split, i))
            self.keys[split] = list(dict.fromkeys(keys[i] for i in found))
            self.questions[split] = len(np.unique(features.record[found]))
        every = {key for features in splits.values() for key in key_list(features.keys)}
        self.without = sorted(every - self._windows.keys())
        self.shared = sum(map(len, self._windows.values())) - len(self._windows)

    def _places(self, split: str, i: int) -> slice:
        """The places of the answers to the question of window i."""
        return self._answers.of(self._first_question[split] + int(self._splits[split].record[i]))

    def _find_tokens(self, split: str) -> np.ndarray:
        """Move the ends of all answers to characters with a token; (N,) whether each window has a target."""
        features = self._splits[split]
        has_target = np.zeros(len(features), dtype=bool)
        breaks = (np.flatnonzero(np.diff(features.record)) + 1).tolist()
        for begin, end in pairwise([0, *breaks, len(features)]):
            places = self._places(split, begin)
            tokens = all_tokens([context_offsets(features, i) for i in range(begin, end)])
            characters = nearest_covered(self._answers.places[places], tokens)
            no_token = (characters == NO_CHARACTER).any(axis=1) | (characters[:, 0] >= characters[:, 1])
            is_null = self._is_null[places]
            characters[no_token | is_null] = NO_CHARACTER
            self._characters[places] = characters
            self.no_token += int((no_token & ~is_null).sum())
            has_target[begin:end] = self._answers.probabilities[places][is_null | ~no_token].sum() > 0
        return has_target

    def rows(self, keys: list[bytes]) -> Rows:
        """The rows of keys, in that order.

        Raises:
            KeyError: no window with a target has a key.
        """
        each = [self._row(self._windows[key]) for key in keys]
        start_logits, end_logits = np.concatenate(each, axis=1).astype(self._dtype)
        starts = np.concatenate([[0], np.cumsum([row.shape[1] for row in each])]).astype(np.int64)
        return Rows(
            np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(len(keys), -1), starts, start_logits, end_logits, ()
        )

    def _row(self, windows: list[tuple[str, int]]) -> np.ndarray:
        """(2, n) start and end logits of a window's tokens: the mean over windows that have the same tokens."""
        split, first = windows[0]
        features = self._splits[split]
        begin, past = features.context[first]
        mass = np.mean([self._mass(*window) for window in windows], axis=0)
        log = np.log(mass, out=np.full_like(mass, FLOOR), where=mass > 0)
        row = np.full((2, features.lengths[first]), FLOOR)
        row[:, 0], row[:, begin:past] = log[:, 0], log[:, 1:]
        return row

    def _mass(self, split: str, i: int) -> np.ndarray:
        """(2, 1 + n) start and end probabilities of [CLS] and of the context's tokens of window i."""
        places = self._places(split, i)
        probabilities, characters = self._answers.probabilities[places].astype(np.float64), self._characters[places]
        has_token = characters[:, 0] != NO_CHARACTER
        offsets = context_offsets(self._splits[split], i)
        positions = target_positions(offsets, characters[has_token], characters[has_token])
        mass = np.stack([np.bincount(end, probabilities[has_token], minlength=len(offsets) + 1) for end in positions])
        mass[:, 0] += probabilities[self._is_null[places]].sum()
        if self._rest == "even":
            mass += max(0.0, 1 - mass[0].sum()) / mass.shape[1]
        return mass / mass.sum(axis=1, keepdims=True)


def fingerprint(
    file: Path, splits: dict[str, Features], records: dict[str, list[Question]], rest: Rest = "renormalize"
) -> str:
    """Hexadecimal SHA-256 of all that determines the rows of a file of answers, but tokenizer and dtype."""
    digest = hashlib.sha256(json.dumps([VERSION, sha256(file), rest]).encode())
    for split, questions in records.items():
        for question in questions:
            digest.update(json.dumps([question["id"], question["context"]]).encode())
        digest.update(splits[split].keys.tobytes() + splits[split].record.tobytes())
    return digest.hexdigest()

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
from pipeline.logits.index import NO_ROW, Index
from pipeline.logits.shards import Rows
from pipeline.questions.answer_files import Answers
from pipeline.questions.features import Features
from pipeline.questions.offsets import NO_CHARACTER, all_tokens, nearest_covered
from pipeline.questions.question import Question

VERSION = 1  # of these rules and the rules of `answer_files` and `places`
FLOOR = -6e4  # the logarithm of 0; float16 holds no less than -65504
# `renormalize`: probabilities are divided by their sum; `even`: every answer position of a window gets the same part
Rest = Literal["renormalize", "even"]
REST: Rest = "renormalize"


class AnswerTargets:
    """The rows of all windows that have a target.

    A question has no target if the file does not have it, or none of its answers has a place in the context, a token
    and a probability above 0.

    Attributes:
        kept: by split, the indices of the windows with a target that hold a key first, ascending.
        without: (n, 16) the keys of windows without a target.
        questions: by split, how many questions have a target.
        description: these numbers in words.
        no_token: number of answers' places without a token.
        shared: number of windows whose tokens an earlier window has too.
    """

    def __init__(
        self,
        answers: Answers,
        splits: dict[str, Features],
        records: dict[str, list[Question]],
        dtype: str,
        folder: Path,
        rest: Rest = REST,
    ):
        """
        Args:
            answers: to the records of all splits, in this order.
            splits: all windows of each split.
            dtype: of the rows.
            folder: for a temporary file.
        """
        self._answers, self._splits, self._dtype, self._rest = answers, splits, dtype, rest
        self._is_null = answers.places[:, 1] == 0
        self._characters = np.full(answers.places.shape, NO_CHARACTER, dtype=np.int32)
        self._first_question = dict(zip(records, np.cumsum([0, *map(len, records.values())]).tolist(), strict=False))
        self.no_token = 0
        # windows with a target are numbered across the splits
        found = {split: np.flatnonzero(self._find_tokens(split)) for split in splits}
        self._found, self._ends = found, np.cumsum([*map(len, found.values())])
        self.questions = {split: len(np.unique(splits[split].record[found[split]])) for split in splits}
        self._index = Index((splits[split].keys[found[split]] for split in splits), folder)
        rows = np.concatenate([self._index.find(splits[split].keys[found[split]]) for split in splits])
        self._order = np.argsort(rows, kind="stable")
        self._rows = rows[self._order]
        first = np.split(self._index.is_first(), self._ends[:-1])
        self.kept = {split: found[split][is_first] for split, is_first in zip(splits, first, strict=True)}
        self.without = np.concatenate(
            [features.keys[self._index.find(features.keys) == NO_ROW] for features in splits.values()]
        )
        self.shared = len(rows) - sum(map(len, self.kept.values()))
        counts = ", ".join(f"{self.questions[split]:,} of {len(each):,} {split}" for split, each in records.items())
        no_token = f"; {self.no_token:,} answers have no token and are dropped" if self.no_token else ""
        shared = f"; {self.shared:,} windows have the tokens of another, and the mean of both" if self.shared else ""
        self.description = f"{counts} questions have a target{no_token}{shared}"

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

    def rows(self, keys: np.ndarray) -> Rows:
        """The rows of (n, 16) keys, in that order.

        Raises:
            KeyError: no window with a target has a key.
        """
        found = self._index.find(keys)
        if (found == NO_ROW).any():
            raise KeyError(keys[found == NO_ROW][0].tobytes().hex())
        begins, ends = (np.searchsorted(self._rows, found, side=side).tolist() for side in ("left", "right"))
        groups = (self._order[begin:end].tolist() for begin, end in zip(begins, ends, strict=True))
        each = [self._row([self._window(number) for number in group]) for group in groups]
        start_logits, end_logits = np.concatenate(each, axis=1).astype(self._dtype)
        starts = np.concatenate([[0], np.cumsum([row.shape[1] for row in each])]).astype(np.int64)
        return Rows(np.ascontiguousarray(keys), starts, start_logits, end_logits, precision=())

    def _window(self, number: int) -> tuple[str, int]:
        """The split of a window with a target, and its index there."""
        place = int(np.searchsorted(self._ends, number, side="right"))
        split, windows = list(self._found.items())[place]
        return split, int(windows[number - self._ends[place] + len(windows)])

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


def fingerprint(file: Path, splits: dict[str, Features], records: dict[str, list[Question]], rest: Rest = REST) -> str:
    """Hexadecimal SHA-256 of all that determines the rows of a file of answers, but tokenizer and dtype."""
    digest = hashlib.sha256(json.dumps([VERSION, sha256(file), rest]).encode())
    for split, questions in records.items():
        for question in questions:
            digest.update(json.dumps([question["id"], question["context"]]).encode())
        digest.update(splits[split].keys.tobytes() + splits[split].record.tobytes())
    return digest.hexdigest()

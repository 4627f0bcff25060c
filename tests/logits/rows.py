"""Small windows, rows and keys for the tests of the logits, each named by a letter."""

import hashlib

import numpy as np

from pipeline.logits.shards import Identity, Rows
from pipeline.questions.features import Features

PEAK = 1000.0  # next to this logit, logits of 0 have no mass in float64
IDENTITY = Identity(teacher="t" * 64, tokenizer="k" * 64, dtype="float16")


def features(names):
    """One window per letter; the letter determines its key and length."""
    lengths = [5 + ord(name) % 4 for name in names]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    n, t = len(names), int(starts[-1])
    digests = [hashlib.blake2b(name.encode(), digest_size=16).digest() for name in names]
    keys = np.array([np.frombuffer(digest, np.uint8) for digest in digests])
    zeros = np.zeros
    return Features(
        starts, zeros(t, np.int32), zeros(t, np.uint8), zeros((t, 2), np.int32),
        zeros((n, 2), np.int32), zeros((n, 2), np.int32), np.arange(n, dtype=np.int32), keys,
    )  # fmt: skip


def rows(names, precision=("float32",)):
    """One row per letter: start logits are the letter's code, then 1, 2, 3, ...; end logits are their negatives."""
    windows = features(names)
    starts = np.concatenate([[ord(n), *range(1, length)] for n, length in zip(names, windows.lengths, strict=True)])
    return Rows(windows.keys, windows.starts, starts.astype(np.float16), -starts.astype(np.float16), precision)


def one_hot(windows):
    """Start and end logits that put all mass at the labels."""
    logits = np.zeros((2, len(windows.input_ids)), dtype=np.float32)
    for row, labels in zip(logits, windows.labels.T, strict=True):
        row[windows.starts[:-1] + labels] = PEAK
    return logits[0], logits[1]


def keys(names):
    return features(names).keys


def content(folder):
    """The bytes of each file, by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}

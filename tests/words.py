"""Checks of messages by their key words (ids, names, numbers, commands), so that a better sentence breaks no test."""

import re
from contextlib import contextmanager

import pytest

from pipeline.errors import InputError


def mentions(text, *words):
    """Assert that `text` has each of the words, in any order and not as a part of a longer word or number."""
    missing = [word for word in map(str, words) if not re.search(rf"(?!\B\w){re.escape(word)}(?<!\w\B)", text)]
    assert not missing, f"{missing} not in: {text}"


@contextmanager
def refused(*words, error=InputError, one_line=True):
    """Assert that the block raises `error`, with each of the words in its message, which is one line."""
    with pytest.raises(error) as raised:
        yield raised
    mentions(str(raised.value), *words)
    assert not one_line or "\n" not in str(raised.value), raised.value

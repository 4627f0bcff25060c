"""Labels, answers and aligned probabilities are right in every script and with every kind of tokenizer."""

import functools
import itertools

import numpy as np
import pytest

from pipeline.logits.alignment import align
from pipeline.questions.offsets import IS_BLANK
from pipeline.questions.windows import pack, windows
from pipeline.scores.spans import answers
from pipeline.scores.squad_metric import METRIC, normalize_answer, score_each
from tests import scripts
from tests.logits.rows import one_hot

TOKENIZERS = scripts.tokenizers()
NAMES = list(TOKENIZERS)


def record(context, start, end):
    text = context[start:end]
    return {
        "id": f"{start}-{end}",
        "question": "?",
        "context": context,
        "answers": {"text": [text], "answer_start": [start]},
    }


def records():
    """Every answer in its context, and in the middle of five copies of it."""
    for context, texts in scripts.QUESTIONS:
        for text in texts:
            start = context.rindex(text)
            yield record(context, start, start + len(text))
            start += 2 * (len(context) + 1)
            yield record("\n".join([context] * 5), start, start + len(text))


RECORDS = [{**one, "id": str(i)} for i, one in enumerate(records())]


def features_of(records, name, max_length=80, stride=48):
    return pack(windows(records, TOKENIZERS[name], max_length, stride))


def predicted(features, records):
    """The best answer to each question from logits that say the label."""
    contexts = [record["context"] for record in records]
    return [best[0] for best in answers(features, contexts, *one_hot(features), n_best=3, max_answer_length=96)]


def check(features, records):
    """Every question is labelled, and its label gives its text, offsets, exact match 100, and F1 100 with words."""
    assert set(features.record[features.labels[:, 1] > 0]) == set(range(len(records)))
    found = predicted(features, records)
    for one, answer in zip(records, found, strict=True):
        assert (answer.text, answer.start) == (one["answers"]["text"][0], one["answers"]["answer_start"][0])
        assert answer.text == one["context"][answer.start : answer.end]
    predictions = {one["id"]: answer.text for one, answer in zip(records, found, strict=True)}
    exact, overlaps = (score_each(metric, predictions, records) for metric in METRIC)
    assert exact == [1] * len(found)
    assert overlaps == [bool(normalize_answer(answer.text)) for answer in found]


@pytest.mark.parametrize("name", NAMES)
def test_a_label_turned_into_text_is_the_answer(name):
    features = features_of_all(name)
    assert len(features) > len(RECORDS)
    check(features, RECORDS)


@functools.cache
def features_of_all(name):
    return features_of(RECORDS, name)


@pytest.mark.slow
@pytest.mark.parametrize("teacher", NAMES)
def test_a_label_is_aligned_with_the_label_of_every_other_tokenizer(teacher):
    source = features_of_all(teacher)
    for target in (features_of_all(name) for name in NAMES if name != teacher):
        aligned, unaligned = align(source, one_hot(source), target)
        assert unaligned == 0
        for i in np.flatnonzero(target.labels[:, 1] > 0):
            assert [end[target.tokens(i)].argmax() for end in aligned] == target.labels[i].tolist()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_words_of_odd_characters_are_answers(name):
    """4,000 invented contexts; each answer is some of its words, a first or last one more often."""
    rng = np.random.default_rng(NAMES.index(name))
    check_records = []
    for context in scripts.invented_contexts(4000 // len(NAMES), seed=NAMES.index(name)):
        words = list(whole_words(context, TOKENIZERS[name]))
        if not words:
            continue
        first = rng.choice([0, rng.integers(len(words)), len(words) - 1])
        last = min(first + rng.integers(3), len(words) - 1)
        one = record(context, words[first][0], words[last][1])
        check_records.append({**one, "id": str(len(check_records))})
    assert len(check_records) > 450
    check(features_of(check_records, name, max_length=160, stride=16), check_records)


def whole_words(context, tokenizer):
    """Yield the start and end of each word of a context that has a token, and no token that it shares with another."""
    offsets = tokenizer(context, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    blank = [ord(character) < len(IS_BLANK) and bool(IS_BLANK[ord(character)]) for character in context]
    held = [{i for i in range(*pair) if not blank[i]} for pair in offsets]
    for space, group in itertools.groupby(range(len(context)), key=lambda i: blank[i]):
        word = set(group)
        touching = [token for token in held if token & word]
        if not space and touching and all(token <= word for token in touching):
            yield min(word), max(word) + 1

import itertools
from dataclasses import replace

import numpy as np
import pytest

from pipeline.scores.spans import answers, best_spans, inside_words, null_scores, window_accuracy

RNG = np.random.default_rng(0)


def brute_force(start_logits, end_logits, n, max_length):
    spans = [
        (np.float32(start_logits[i]) + np.float32(end_logits[j]), i, j)
        for i, j in itertools.product(range(len(start_logits)), repeat=2)
        if i <= j < i + max_length
    ]
    return [(float(s), i, j) for s, i, j in sorted(spans, key=lambda span: (-span[0], span[1], span[2]))[:n]]


@pytest.mark.parametrize("tokens", [1, 2, 7, 40])
@pytest.mark.parametrize("n, max_length", [(1, 1), (5, 3), (20, 30), (2000, 100)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_best_spans_match_brute_force(tokens, n, max_length, dtype):
    start_logits, end_logits = RNG.normal(size=(2, tokens)).astype(dtype)
    assert best_spans(start_logits, end_logits, n, max_length) == brute_force(start_logits, end_logits, n, max_length)


def test_a_window_without_context_has_no_span():
    assert best_spans(np.empty(0, np.float32), np.empty(0, np.float32), 3, 30) == []


def test_ties_are_broken_in_favor_of_the_earlier_span():
    assert best_spans(np.zeros(3), np.zeros(3), 4, 2) == [(0, 0, 0), (0, 0, 1), (0, 1, 1), (0, 1, 2)]


def test_max_length_is_inclusive():
    start_logits, end_logits = np.array([9.0, 0, 0, 0]), np.array([0, 0, 5.0, 9.0])
    assert best_spans(start_logits, end_logits, 1, 4) == [(18, 0, 3)]
    assert best_spans(start_logits, end_logits, 1, 3) == [(14, 0, 2)]


def span_logits(features, window, span, height):
    """Logits that are zero except for one span of one window; positions are relative to the context."""
    logits = np.zeros((2, len(features.input_ids)), dtype=np.float32)
    first = features.starts[window] + features.context[window, 0]
    logits[0, first + span[0]] = logits[1, first + span[1]] = height
    return logits


def text(features, contexts, window, span):
    first = features.starts[window] + features.context[window, 0]
    begin, end = features.offset_mapping[first + span[0], 0], features.offset_mapping[first + span[1], 1]
    return contexts[features.record[window]][begin:end]


def test_answers_are_pooled_over_a_questions_windows(features, records):
    contexts = [record["context"] for record in records]
    mine = np.flatnonzero(features.record == 1)
    assert len(mine) == 2
    logits = span_logits(features, mine[0], (0, 1), 3.0) + span_logits(features, mine[1], (2, 3), 5.0)
    found = answers(features, contexts, *logits, n_best=4, max_answer_length=2)
    assert [answer.score for answer in found[1][:2]] == [10, 6]
    assert found[1][0].text == text(features, contexts, mine[1], (2, 3))
    assert found[1][1].text == text(features, contexts, mine[0], (0, 1))
    for answer in itertools.chain(*found):
        assert answer.text == contexts[found.index(next(f for f in found if answer in f))][answer.start : answer.end]


def test_a_span_in_two_windows_counts_once_with_the_higher_score(features, records):
    contexts = [record["context"] for record in records]
    first, second = np.flatnonzero(features.record == 0)[:2]
    overlap = int(features.offset_mapping[features.starts[second] + features.context[second, 0], 0])
    begin = features.starts[first] + features.context[first, 0]
    place = int(np.flatnonzero(features.offset_mapping[features.tokens(first), 0] == overlap)[0])
    place -= features.context[first, 0]
    logits = span_logits(features, first, (place, place), 2.0) + span_logits(features, second, (0, 0), 4.0)
    assert begin + place < features.starts[second]
    found = answers(features, contexts, *logits, n_best=50, max_answer_length=1)[0]
    assert [answer.score for answer in found if answer.start == overlap] == [8]


def test_a_token_of_white_space_is_no_part_of_an_answer(features, records):
    contexts = [record["context"] for record in records]
    first = features.starts[0] + features.context[0, 0]
    offsets = features.offset_mapping.copy()
    gap = offsets[first + 1, 0], offsets[first, 1]  # such a token begins after the space and ends before it
    offsets[first + 1] = gap
    logits = span_logits(features, 0, (1, 1), 9.0) + span_logits(features, 0, (2, 2), 3.0)
    found = answers(replace(features, offset_mapping=offsets), contexts, *logits, n_best=20, max_answer_length=3)[0]
    assert found[0].text == text(features, contexts, 0, (2, 2))
    assert found[0].score == 6
    assert all(answer.text and answer.text == answer.text.strip() for answer in found)


def test_tokens_that_share_a_character_do_not_take_the_places_of_other_answers(features, records):
    contexts = [record["context"] for record in records]
    first = features.starts[0] + features.context[0, 0]
    offsets = features.offset_mapping.copy()
    offsets[first : first + 4] = offsets[first]  # four tokens of one character: ten spans of one text
    logits = span_logits(features, 0, (0, 3), 9.0)
    logits[:, first : first + 4] = 9.0
    found = answers(replace(features, offset_mapping=offsets), contexts, *logits, n_best=5, max_answer_length=4)[0]
    assert len({(answer.start, answer.end) for answer in found}) == 5
    assert [answer.score for answer in found] == [18, 9, 9, 9, 0]


@pytest.mark.parametrize(
    ("context", "tokens", "starts", "ends"),
    [
        ("a perchlorate", "a per chlor ate", "0011", "0110"),
        ("in 1820s, 12-inch", "in 1820 s , 12 - inch", "0010000", "0100000"),
        ("caf\u00e9s e\u0301te\u0301", "caf \u00e9 s e\u0301 te\u0301", "01101", "11010"),
        ("в Киев", "в Ки ев", "001", "010"),
        ("茶楼 서울에서 הבית", "茶 楼 서울 에서 ה בית", "000000", "000000"),
    ],
    ids=["English", "digits", "marks", "Russian", "Chinese, Korean, Hebrew"],
)
def test_answers_inside_words_are_known_for_scripts_that_have_such_words(context, tokens, starts, ends):
    offsets, end = [], 0
    for token in tokens.split():
        begin = context.index(token, end)
        end = begin + len(token)
        offsets.append((begin, end))
    for first in range(len(offsets)):  # a window may begin with any token
        found = inside_words(context, np.array(offsets[first:]))
        assert ["".join(map(str, side.astype(int))) for side in found] == [starts[first:], ends[first:]]


def test_no_answer_begins_or_ends_inside_a_word_unless_there_is_no_other(features, records):
    contexts = [record["context"] for record in records]
    first = features.starts[0] + features.context[0, 0]
    offsets = features.offset_mapping.copy()
    offsets[first : first + 3] = [(0, 1), (1, 2), (2, 3)]  # "The", as three tokens
    changed = replace(features, offset_mapping=offsets)
    logits = span_logits(features, 0, (0, 1), 9.0)
    (best, *_) = answers(changed, contexts, *logits, n_best=1, max_answer_length=5)[0]
    assert (best.text, best.score) == ("The", 9)
    (best, *_) = answers(changed, ["x" * len(context) for context in contexts], *logits, 1, 2)[0]
    assert (best.start, best.end, best.score) == (0, 2, 18)


def test_a_question_without_windows_has_no_answers(features, records):
    contexts = [record["context"] for record in records] + ["this context has no windows"]
    logits = np.zeros((2, len(features.input_ids)), dtype=np.float32)
    assert answers(features, contexts, *logits, n_best=3, max_answer_length=3)[-1] == []


def test_the_null_score_is_the_lowest_cls_start_plus_end_over_a_questions_windows(features, records):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, len(features.input_ids))).astype(np.float32)
    found = null_scores(features, *logits, len(records) + 1)
    for question in range(len(records)):
        firsts = features.starts[:-1][features.record == question]
        assert found[question] == min(logits[0, i] + logits[1, i] for i in firsts)
    assert found[-1] == np.inf


def test_window_accuracy_includes_cls_and_excludes_question_tokens(features):
    logits = np.zeros((2, len(features.input_ids)), dtype=np.float32)
    for i in range(len(features)):
        logits[0, features.starts[i] + features.labels[i, 0]] = 1
        logits[1, features.starts[i] + features.labels[i, 1]] = 1
        logits[:, features.starts[i] + 1] = 9  # a token of the question
    assert window_accuracy(features, *logits) == 100
    logits[1, features.starts[0] + features.context[0, 1] - 1] = 5
    assert window_accuracy(features, *logits) == pytest.approx(100 * (1 - 1 / len(features)))

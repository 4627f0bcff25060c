import copy
import itertools
import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from tokenizers import processors

from pipeline.questions import squad
from pipeline.questions.checks import checked
from pipeline.questions.tokenization import train
from pipeline.questions.windows import _cuts, _labels, feature_batches, pack, windows
from tests.tiny import byte_level
from tests.words import refused

REAL = Path(__file__).parents[3] / "shared/squad/train.json"


def texts(features, records):
    """Yield each window's record and the text of its labelled span, or None."""
    for i in range(len(features)):
        first, last = features.starts[i] + features.labels[i]
        begin, end = features.offset_mapping[first, 0], features.offset_mapping[last, 1]
        record = records[features.record[i]]
        yield record, record["context"][begin:end] if features.labels[i, 1] else None


def test_the_labelled_span_is_the_answer(features, records):
    found = [(record["id"], text) for record, text in texts(features, records) if text is not None]
    assert {identifier for identifier, _ in found} == {record["id"] for record in records}
    assert all(text == record["answers"]["text"][0] for record, text in texts(features, records) if text is not None)


def test_a_window_is_cls_question_sep_context_sep(features, records, tokenizer):
    for i in range(len(features)):
        ids = features.input_ids[features.tokens(i)]
        first, past = features.context[i]
        question = tokenizer(records[features.record[i]]["question"], add_special_tokens=False)["input_ids"]
        assert ids.tolist()[:first] == [tokenizer.cls_token_id, *question, tokenizer.sep_token_id]
        assert ids.tolist()[past:] == [tokenizer.sep_token_id]
        assert len(ids) <= 26
        segments = features.token_type_ids[features.tokens(i)]
        assert segments.tolist() == [0] * first + [1] * (len(ids) - first)
        offsets = features.offset_mapping[features.tokens(i)]
        assert (offsets[:first] == -1).all() and (offsets[past:] == -1).all() and (offsets[first:past] >= 0).all()


def test_windows_overlap_by_stride_tokens_and_cover_the_context(features, records, tokenizer):
    for r, record in enumerate(records):
        mine = np.flatnonzero(features.record == r)
        spans = [features.offset_mapping[features.tokens(i)][slice(*features.context[i])] for i in mine]
        for before, after in itertools.pairwise(spans):
            np.testing.assert_array_equal(before[-6:], after[:6])
        whole = tokenizer(record["context"], add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        assert sorted({tuple(pair) for span in spans for pair in span.tolist()}) == whole


def test_a_window_without_the_whole_answer_has_the_label_cls(features, records):
    for i, (record, text) in enumerate(texts(features, records)):
        offsets = features.offset_mapping[features.tokens(i)][slice(*features.context[i])]
        start = record["answers"]["answer_start"][0]
        whole = offsets[0, 0] <= start and offsets[-1, 1] >= start + len(record["answers"]["text"][0])
        assert (text is not None) == whole


TOKENS = np.array([[0, 3], [3, 7], [8, 12]])


@pytest.mark.parametrize(
    "start, end, expected",
    [
        (0, 3, [0, 0]),
        (0, 12, [0, 2]),
        (4, 6, [1, 1]),  # starts inside a token: that token, not the next
        (1, 4, [0, 1]),
        (7, 9, [2, 2]),  # starts with a character that is in no token
        (8, 13, [-1, -1]),  # ends after the window
    ],
)
def test_a_label_is_the_tokens_of_the_first_and_last_character(start, end, expected):
    assert _labels(TOKENS, np.array([[start, end]]), np.array([0]), np.array([3])).tolist() == [expected]


def test_a_label_is_relative_to_the_start_of_the_window():
    tokens = np.array([[0, 19], [20, 24], [25, 30], [31, 32]])
    spans = np.array([[25, 30], [19, 24], [25, 30], [25, 30]])
    found = _labels(tokens, spans, first=np.array([1, 1, 2, 3]), size=np.array([2, 2, 2, 0]))
    assert found.tolist() == [[1, 1], [-1, -1], [0, 0], [-1, -1]]


@pytest.mark.parametrize("stride", [0, 3])
def test_a_context_is_cut_as_the_tokenizers_library_does(stride):
    """It takes `room` tokens from every (room - stride)th on, until a window reaches the end."""
    for room in (stride + 1, stride + 4):
        for tokens in range(20):
            expected, begin = [], 0
            while True:
                expected.append((begin, min(room, tokens - begin)))
                if begin + room >= tokens:
                    break
                begin += room - stride
            of, begins, sizes = _cuts(np.array([tokens, tokens]), np.array([room, room]), stride)
            assert list(zip(begins.tolist(), sizes.tolist(), strict=True)) == expected * 2
            assert of.tolist() == [0] * len(expected) + [1] * len(expected)


@pytest.fixture(params=["WordPiece", "bytes", "bytes with spaces"])
def any_tokenizer(request, tokenizer, records):
    if request.param == "WordPiece":
        return tokenizer
    texts = [record["context"] for record in records]
    return byte_level(texts, 300, trim_offsets=request.param == "bytes")


@pytest.mark.parametrize(("max_length", "stride"), [(40, 6), (64, 16), (384, 128), (33, 0)])
def test_the_tokens_are_those_of_transformers_example(any_tokenizer, records, max_length, stride):
    """run_qa.py tokenizes each question with its context, and takes the windows that the tokenizer returns."""
    features = pack(windows(records, any_tokenizer, max_length, stride))
    expected = any_tokenizer(
        [record["question"] for record in records],
        [record["context"] for record in records],
        truncation="only_second",
        max_length=max_length,
        stride=stride,
        return_overflowing_tokens=True,
    )
    assert features.record.tolist() == expected["overflow_to_sample_mapping"]
    found = [features.input_ids[features.tokens(i)].tolist() for i in range(len(features))]
    assert found == expected["input_ids"]
    for i in range(len(features)):
        first, past = features.context[i]
        inside = [sequence == 1 for sequence in expected.encodings[i].sequence_ids]
        assert inside == [first <= position < past for position in range(len(inside))]


def test_a_template_may_have_any_special_tokens(records, tokenizer):
    special = [("[CLS]", tokenizer.cls_token_id), ("[SEP]", tokenizer.sep_token_id)]
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0", pair="[CLS]:0 [SEP]:1 $A:2 [SEP]:3 [SEP]:4 $B:5 [SEP]:6 [SEP]:7", special_tokens=special
    )
    features = pack(windows(records[:1], tokenizer, 64, 6))
    window = features.tokens(0)
    first, past = features.context[0]
    expected = [0, 1, *[2] * (first - 4), 3, 4, *[5] * (past - first), 6, 7]
    assert features.token_type_ids[window].tolist() == expected
    assert features.input_ids[window][past:].tolist() == [tokenizer.sep_token_id] * 2


def test_a_key_depends_only_on_the_content_of_the_window(records, tokenizer):
    def keys(records):
        return {(records[w.record]["id"], w.key) for w in windows(records, tokenizer, 26, 6)}

    assert keys(records[::-1]) == keys(records)
    duplicate = [{**records[0], "id": "again"}]
    assert {key for _, key in keys(duplicate)} == {key for _, key in keys(records[:1])}
    assert len({key for _, key in keys(records)}) == len(keys(records))


def test_a_long_question_raises_with_its_id(records, tokenizer):
    records[2]["question"] = "where " * 40
    with refused("1 questions", "too long", "16 tokens", "question mill-1", one_line=False):
        pack(windows(records, tokenizer, 26, 6))


def test_white_space_around_an_answer_is_not_labelled(tokenizer):
    context = "Tea and 12 cakes."
    record = {"id": "q", "question": "How many?", "context": context}
    record["answers"] = {"text": [" 12 "], "answer_start": [7]}
    features = pack(windows([record], tokenizer, 26, 6))
    assert [text for _, text in texts(features, [record])] == ["12"]


def test_answers_with_decomposed_accents_are_labelled(tokenizer):
    context = unicodedata.normalize("NFD", "Its owner was Zoë Grün of Oak Lane.")
    answer = unicodedata.normalize("NFD", "Zoë Grün")
    record = {"id": "q", "question": "Who?", "context": context}
    record["answers"] = {"text": [answer], "answer_start": [context.index(answer)]}
    features = pack(windows([record], tokenizer, 64, 6))
    assert [text for _, text in texts(features, [record])] == [answer]


@pytest.mark.parametrize(
    "context, answer",
    [
        ("She lived in Zoe\u0308", "Zoe\u0308"),
        ("\u200dCafé ist zu", "\u200dCafé"),
        ("यह घर में", "में"),
        ("It costs 10 €\ufe0f", "10 €\ufe0f"),
    ],
)
def test_an_answer_at_the_edge_of_a_context_is_labelled_if_the_tokenizer_drops_its_last_character(context, answer):
    tokenizer = train([context], vocab_size=100)
    record = {"id": "q", "question": "What?", "context": context}
    record["answers"] = {"text": [answer], "answer_start": [context.index(answer)]}
    features = pack(windows([record], tokenizer, 64, 6))
    assert [text for _, text in texts(features, [record])] == [answer]


@pytest.mark.parametrize("answer", ["\ufffd", "\x7f", "\u200b", "\u00ad", "\u200d"])
@pytest.mark.parametrize("place", ["start", "middle", "end"])
def test_an_answer_without_a_token_has_no_label(tokenizer, answer, place):
    """It is not [CLS], which says that the context has no answer."""
    context = {"start": f"{answer} tea and", "middle": f"tea {answer} and", "end": f"tea and {answer}"}[place]
    record = {"id": "q", "question": "What?", "context": context}
    record["answers"] = {"text": [answer], "answer_start": [context.index(answer)]}
    assert not pack(windows([record], tokenizer, 26, 6)).labelled.any()


def test_a_window_ends_with_the_characters_that_its_last_token_holds():
    """The accent belongs to the last token of the first window, not to the second window."""
    context = "a b c d e\u0301 f g h"
    tokenizer = train([context], vocab_size=100)
    record = {"id": "q", "question": "?", "context": context}
    record["answers"] = {"text": ["e\u0301"], "answer_start": [8]}
    features = pack(windows([record], tokenizer, 9, 1))
    assert [text for _, text in texts(features, [record])] == ["e\u0301", "e\u0301"]
    assert [features.offset_mapping[features.tokens(i)][slice(*features.context[i])].tolist() for i in (0, 1)] == [
        [[0, 1], [2, 3], [4, 5], [6, 7], [8, 10]],
        [[8, 10], [11, 12], [13, 14], [15, 16]],
    ]


def test_an_unanswerable_record_is_labelled_cls_in_all_windows_and_an_unlabelled_one_in_none(records, tokenizer):
    without = {"answers": {"text": [], "answer_start": []}}
    features = pack(
        windows(
            [{**records[1], **without, "is_impossible": True}, {**records[1], **without, "is_impossible": False}],
            tokenizer,
            26,
            6,
        )
    )
    impossible = features.record == 0
    assert impossible.sum() > 1 and (~impossible).sum() > 1
    assert not features.labels[impossible].any() and features.labelled[impossible].all()
    assert (features.labels[~impossible] == -1).all() and not features.labelled[~impossible].any()


@pytest.mark.parametrize("limits", [{"RECORDS_PER_BATCH": 1}, {"RECORDS_PER_BATCH": 3}, {"CHARACTERS_PER_BATCH": 300}])
def test_the_size_of_a_batch_changes_no_window(records, tokenizer, features, monkeypatch, limits):
    for name, value in limits.items():
        monkeypatch.setattr(f"pipeline.questions.windows.{name}", value)
    assert sum(1 for _ in feature_batches(records, tokenizer, 26, 6)) > 1
    for name, value in vars(pack(windows(records, tokenizer, 26, 6))).items():
        np.testing.assert_array_equal(value, getattr(features, name), strict=True)


def test_a_context_without_tokens_has_one_window(tokenizer):
    record = {"id": "q", "question": "?", "context": "\u200d", "answers": {"text": [], "answer_start": []}}
    (window,) = windows([record], tokenizer, 26, 6)
    assert (window.context, len(window.input_ids)) == ((0, 0), 4) and (window.offset_mapping == -1).all()


def test_packing_no_windows_raises():
    with pytest.raises(ValueError, match="no windows"):
        pack([])


@pytest.mark.slow
@pytest.mark.skipif(not REAL.exists(), reason="../shared/squad is missing")
def test_labelled_spans_contain_the_answers_of_squad():
    records = list(checked(squad.read_json(REAL), REAL.name, 1000).records)
    tokenizer = train((text for record in records for text in (record["context"], record["question"])), 8000)
    features = pack(windows(records, tokenizer, 384, 128))
    answered, equal, contained = set(), 0, 0
    for record, text in texts(features, records):
        if text is not None:
            answered.add(record["id"])
            equal += text == record["answers"]["text"][0]
            contained += record["answers"]["text"][0].strip() in text
    labelled = int((features.labels[:, 1] > 0).sum())
    print(json.dumps({"windows": len(features), "labelled": labelled, "equal": equal, "contained": contained}))
    assert answered == {record["id"] for record in records}
    assert contained == labelled
    assert equal / labelled > 0.98

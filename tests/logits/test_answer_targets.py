"""Rows of files of answers: where the probability goes, windows with equal tokens, the floor."""

import json
import math
from itertools import pairwise

import numpy as np
import pytest

from pipeline.logits.answer_labels import agreement
from pipeline.logits.answer_targets import FLOOR, AnswerTargets, fingerprint
from pipeline.questions.answer_files import read_answers
from pipeline.questions.windows import pack, windows
from tests.conftest import MILL, TEA


@pytest.fixture
def read(tmp_path, records):
    """Answers of the content of a file, to `records`."""

    def read(content, questions=records):
        path = tmp_path / "answers"
        path.write_text(json.dumps(content), encoding="utf-8")
        return read_answers(path, "answers.json", {"train": questions})

    return read


@pytest.fixture
def targets(read, records, features, tmp_path):
    """The targets of the content of a file, over the windows of `records`."""

    def targets(content, rest="renormalize", dtype="float32"):
        return AnswerTargets(read(content), {"train": features}, {"train": records}, dtype, tmp_path, rest)

    return targets


def probabilities(found, features, i):
    """(2, n) start and end probabilities of the tokens of window i."""
    rows = found.rows(features.keys[[i]])
    return np.exp(np.stack([rows.start_logits, rows.end_logits]).astype(np.float64))


def of_record(features, record):
    return np.flatnonzero(features.record == record).tolist()


def token_of(features, i, character):
    """Position of the token of window i with a character of the context; 0, [CLS], if it has none."""
    offsets = features.offset_mapping[features.tokens(i)]
    found = np.flatnonzero((offsets[:, 0] <= character) & (character < offsets[:, 1]))
    return int(found[0]) if len(found) else 0


def test_the_labels_as_answers_give_the_labels_as_targets(targets, records, features):
    found = targets({record["id"]: record["answers"]["text"][0] for record in records if record["id"] != "mill-1"})
    whole = 0
    for i in range(len(features)):
        if records[features.record[i]]["id"] == "mill-1":
            continue
        start, end = probabilities(found, features, i)
        assert start.sum() == pytest.approx(1) and end.sum() == pytest.approx(1)
        if features.labels[i].any():
            whole += 1
            assert (start.argmax(), end.argmax()) == tuple(features.labels[i])
            assert start.max() == end.max() == 1
    assert whole >= 3 and len(found.without) == len(of_record(features, 2))
    assert found.questions == {"train": 3}


def test_each_end_of_each_answer_has_its_probability(targets, features):
    long = "café on Oak Lane opened in 1899. Its owner, Zoë Grün, sold tea"
    answers = [{"text": long, "probability": 0.5}, {"text": "", "probability": 0.2}]
    found = targets({"tea-1": [*answers, {"text": "1899", "probability": 0.3}]})
    split = 0
    for i in of_record(features, 0):
        start, end = probabilities(found, features, i)
        expected = np.zeros((2, len(start)))
        for share, text in ((0.5, long), (0.3, "1899")):
            first = TEA.index(text)
            ends = token_of(features, i, first), token_of(features, i, first + len(text) - 1)
            split += (ends[0] == 0) != (ends[1] == 0)
            expected[0, ends[0]] += share
            expected[1, ends[1]] += share
        expected[:, 0] += 0.2
        np.testing.assert_allclose(np.stack([start, end]), expected, atol=1e-6)
    assert split  # a window has one end of an answer alone


def test_several_places_share_the_probability(targets, features):
    found = targets({"mill-1": [{"text": "the river", "probability": 0.6}, {"text": "winter", "probability": 0.4}]})
    places = [at for at in range(len(MILL)) if MILL.startswith("the river", at)]
    assert len(places) == 2
    total = np.zeros(len(MILL))
    for i in of_record(features, 2):
        start, _ = probabilities(found, features, i)
        for at in places:
            if position := token_of(features, i, at):
                assert start[position] == pytest.approx(0.3, abs=1e-6)
                total[at] += 1
    assert all(total[places])


@pytest.mark.parametrize(("rest", "expected"), [("renormalize", 1.0), ("even", 0.6)])
def test_what_the_probabilities_lack_of_1_is_renormalized_or_spread_evenly(targets, features, rest, expected):
    found = targets({"tea-1": [{"text": "1899", "confidence": 0.6}]}, rest)
    (i,) = [i for i in of_record(features, 0) if features.labels[i].any()][:1]
    for end, label in zip(probabilities(found, features, i), features.labels[i], strict=True):
        begin, past = features.context[i]
        places = [0, *range(begin, past)]
        even = (1 - expected) / len(places)
        assert end[label] == pytest.approx(expected + even, abs=1e-6)
        assert end[places] == pytest.approx([expected + even if p == label else even for p in places], abs=1e-6)
        assert end.sum() == pytest.approx(1)


def test_windows_with_equal_tokens_have_the_mean_of_their_targets(read, records, tokenizer, tmp_path):
    twice = [records[0], {**records[0], "id": "tea-3"}, {**records[0], "id": "tea-4"}]
    features = pack(windows(twice, tokenizer, max_length=26, stride=6))
    one = len(of_record(features, 0))
    answers = read({"tea-1": "1899", "tea-3": "Oak Lane"}, twice)
    found = AnswerTargets(answers, {"train": features}, {"train": twice}, "float32", tmp_path)
    assert found.shared == one and found.kept["train"].tolist() == list(range(one))
    assert len(found.without) == 0  # tea-4 has the rows of the others
    for i in of_record(features, 2):
        start, _ = probabilities(found, features, i)
        expected = np.zeros(len(start))
        for text in ("1899", "Oak Lane"):
            expected[token_of(features, i, TEA.index(text))] += 0.5
        assert start == pytest.approx(expected, abs=1e-6)


def test_the_splits_share_rows_and_each_has_its_own_keys(read, records, tokenizer, tmp_path):
    splits = {"train": records[:1], "validation": [{**records[0], "id": "tea-3"}, records[1]]}
    features = {split: pack(windows(each, tokenizer, max_length=26, stride=6)) for split, each in splits.items()}
    answers = read({"tea-3": "1899", "tea-2": "Oak Lane"}, [*splits["train"], *splits["validation"]])
    found = AnswerTargets(answers, features, splits, "float32", tmp_path)
    assert len(found.kept["train"]) == 0 and len(found.kept["validation"]) == len(features["validation"])
    assert len(found.without) == 0 and found.questions == {"train": 0, "validation": 2}
    i = of_record(features["validation"], 1)[0]
    start, _ = probabilities(found, features["validation"], i)
    assert start.argmax() == token_of(features["validation"], i, TEA.index("Oak Lane"))


def test_the_logarithm_of_0_is_a_number_that_float16_holds(targets, features):
    rows = targets({"tea-1": "1899"}, dtype="float16").rows(features.keys[:1])
    assert rows.start_logits.dtype == np.float16 and np.isfinite(rows.start_logits).all()
    assert set(rows.start_logits.tolist()) == {0.0, FLOOR}


def test_rows_are_in_the_order_of_their_keys(targets, features):
    found = targets({"tea-1": "1899", "mill-2": "Two"})
    keys = features.keys[found.kept["train"]][::-1]
    rows = found.rows(keys)
    assert np.array_equal(rows.keys, keys)
    for i, (begin, end) in enumerate(pairwise(rows.starts)):
        assert rows.start_logits[begin:end].tolist() == found.rows(keys[[i]]).start_logits.tolist()
    with pytest.raises(KeyError):
        found.rows(found.without[:1])


@pytest.mark.parametrize(
    "content", [{"tea-1": "nowhere"}, {"tea-1": []}, {"tea-1": [{"text": "1899", "probability": 0.0}]}]
)
def test_a_question_without_an_answer_above_0_has_no_target(targets, features, content):
    found = targets({**content, "tea-2": "1899"})
    assert np.array_equal(found.without, features.keys[features.record != 1])


def test_an_answer_without_a_token_is_dropped_and_counted(read, tokenizer, records, tmp_path):
    context = f"{TEA} \ufffd"
    question = {**records[0], "context": context}
    features = pack(windows([question], tokenizer, max_length=26, stride=6))
    answers = read(
        {"tea-1": [{"text": "\ufffd", "probability": 0.9}, {"text": "1899", "probability": 0.1}]}, [question]
    )
    found = AnswerTargets(answers, {"train": features}, {"train": [question]}, "float32", tmp_path)
    assert found.no_token == 1 and found.questions == {"train": 1}
    (i,) = [i for i in range(len(features)) if features.labels[i].any()][:1]
    assert probabilities(found, features, i)[0][features.labels[i, 0]] == 1


def test_the_fingerprint_depends_on_file_records_windows_and_rest(tmp_path, records, features):
    path = tmp_path / "answers"
    path.write_text("{}")
    arguments = {"file": path, "splits": {"train": features}, "records": {"train": records}}
    first = fingerprint(**arguments)
    assert first == fingerprint(**arguments)
    others = [fingerprint(**arguments, rest="even")]
    others.append(fingerprint(path, {"train": features}, {"train": [*records[:3], {**records[3], "context": "x"}]}))
    others.append(fingerprint(path, {"train": features.select(np.arange(3))}, {"train": records}))
    path.write_text("{ }")
    others.append(fingerprint(**arguments))
    assert len({first, *others}) == 5


def test_agreement_is_that_of_the_best_answers_to_labeled_questions(read, records):
    unlabeled = {**records[3], "answers": {"text": [], "answer_start": []}}
    questions = [*records[:3], unlabeled]
    content = {
        "tea-1": [{"text": "Oak Lane", "probability": 0.3}, {"text": "1899", "probability": 0.7}],
        "mill-1": [{"text": "by the mill", "probability": 0.1}, {"text": "river", "probability": 0.9}],
        "mill-2": "Two",
    }
    found = agreement(read(content, questions), questions, "squad")
    assert (found.questions, found.exact_match) == (2, 50.0)
    # "by the mill" is nowhere; "river" and "by the river", without the article "by river", share one word of two
    assert found.f1 == pytest.approx((100 + 200 * (1 / 2) / (1 + 1 / 2)) / 2)
    # confidences 0.7, of a right answer, and 1, of a wrong one
    assert found.calibration.error_before == pytest.approx(100 * (0.3 + 1) / 2)
    assert agreement(read({"mill-2": "Two"}, questions), questions, "squad") is None


def test_scores_are_softmaxed_before_they_are_targets(targets, features):
    found = targets({"tea-1": [{"text": "1899", "score": math.log(4)}, {"text": "", "score": 0.0}]})
    (i,) = [i for i in of_record(features, 0) if features.labels[i].any()][:1]
    start, end = probabilities(found, features, i)
    assert start[[0, features.labels[i, 0]]] == pytest.approx([0.2, 0.8], abs=1e-6)
    assert end[[0, features.labels[i, 1]]] == pytest.approx([0.2, 0.8], abs=1e-6)

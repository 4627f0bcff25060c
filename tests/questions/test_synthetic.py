import re
from collections import Counter

import pytest

from pipeline.questions import synthetic
from pipeline.questions.checks import checked


@pytest.fixture(scope="module")
def records():
    return list(synthetic.corpus("train", 2000, seed=0))


def test_every_record_passes_the_checks_of_the_dataset_stage(records):
    assert list(checked(records, "synthetic").records) == records


@pytest.mark.parametrize("size", [1, 10, 999])
def test_a_larger_size_appends_questions(records, size):
    assert list(synthetic.corpus("train", size, seed=0)) == records[:size]


def test_another_split_or_seed_gives_other_questions(records):
    contexts = {record["context"] for record in records}
    for split, seed in (("validation", 0), ("train", 1)):
        others = [record["context"] for record in synthetic.corpus(split, 2000, seed)]
        assert sum(context in contexts for context in others) < 20


def test_contexts_have_a_few_sentences_and_some_exceed_a_window(records):
    words = [len(record["context"].split()) for record in records]
    assert min(words) >= 15
    assert 0.02 < sum(count > 80 for count in words) / len(words) < 0.2


def test_four_questions_share_a_context(records):
    counts = Counter(record["context"] for record in records)
    assert set(counts.values()) == {4}


def test_contexts_have_distractors_repeated_answers_accents_and_punctuation(records):
    shared = repeated = 0
    for record in records:
        answer = record["answers"]["text"][0]
        repeated += record["context"].count(answer) > 1
        subject = next(name for name in record["title"].split(" and ") if name in record["question"])
        other = record["title"].replace(subject, "").replace(" and ", "")
        template = record["question"].replace(subject, "{}")
        shared += any(
            template == rival["question"].replace(other, "{}")
            for rival in records
            if rival["context"] == record["context"] and other in rival["question"]
        )
    assert shared > 20
    assert 40 < repeated < 400
    contexts = " ".join(record["context"] for record in records)
    assert set("éñöü") <= set(contexts)
    assert set("-'\"(),.") <= set(contexts)


def test_questions_share_no_long_word_with_their_statements():
    for _, relations in synthetic.KINDS.values():
        for relation in relations:
            stated = {word for text in relation.statements for word in re.findall(r"\w{5,}", text.lower())}
            asked = {word for text in relation.questions for word in re.findall(r"\w{5,}", text.lower())}
            assert not (stated & asked) - {"subject", "answer"}, (stated & asked, relation.questions)

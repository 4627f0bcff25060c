"""The stages with unanswerable questions, as in SQuAD 2.0."""

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline import paths
from pipeline.commands import show
from pipeline.models.student import Student
from pipeline.questions import synthetic
from pipeline.questions.features import read_features
from pipeline.questions.records import read_records
from pipeline.scores.null_threshold import SHRINKAGE
from pipeline.stages import dataset, tokenize, train
from tests.scores.squad2_oracle import oracle
from tests.tiny import ALL_STAGES, content, run_all, write_params
from tests.words import mentions, refused

pytestmark = pytest.mark.slow

FILES = {
    "source": "files",
    "train_file": "data/raw/train.json",
    "validation_file": "data/raw/validation.json",
    "train_size": None,
    "validation_size": None,
}
SIZES = {"train": 24, "validation": 24}
OFFICIAL = {"exact_match": "exact", "f1": "f1"} | {
    f"{kind}_{name}": f"{kind}_{name}" for kind in ("HasAns", "NoAns") for name in ("exact", "f1")
}


def write_questions(impossible=None, titles=lambda i: f"article {i // 3}"):
    """Write SQuAD 2.0 JSON; by default every second question of both splits is unanswerable.

    Args:
        impossible: by split, whether the question with an index is unanswerable.
    """
    paths.RAW.mkdir(parents=True, exist_ok=True)
    every_second = dict.fromkeys(SIZES, lambda i: i % 2 == 1)
    for split, size in SIZES.items():
        articles = []
        for i, record in enumerate(synthetic.corpus(split, size, seed=0)):
            (text,), (start,) = record["answers"].values()
            answers = [{"text": text, "answer_start": start}]
            question = {"id": record["id"], "question": record["question"], "is_impossible": False, "answers": answers}
            if {**every_second, **(impossible or {})}[split](i):
                question |= {"is_impossible": True, "answers": [], "plausible_answers": answers}
            articles.append({"title": titles(i), "paragraphs": [{"context": record["context"], "qas": [question]}]})
        (paths.RAW / f"{split}.json").write_text(json.dumps({"data": articles}))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A workspace in which all stages have run; half of the questions are unanswerable. Tests must not change it."""
    folder = tmp_path_factory.mktemp("unanswerable")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        monkeypatch.setenv(paths.CACHE_VARIABLE, str(folder / "cache"))
        write_questions()
        write_params(dataset=FILES)
        run_all(*ALL_STAGES)
    return folder


@pytest.fixture
def stages(trained, monkeypatch):
    monkeypatch.chdir(trained)


def test_their_windows_are_labelled_cls(stages):
    for split, size in SIZES.items():
        records = read_records(paths.DATASET / f"{split}.parquet")
        assert [record["is_impossible"] for record in records] == [i % 2 == 1 for i in range(size)]
        features = read_features(paths.features(paths.STUDENT_NAME, split))
        impossible = np.array([records[i]["is_impossible"] for i in features.record])
        assert features.labelled.all()
        assert not features.labels[impossible].any()
        assert set(features.record[features.labels[:, 1] > 0]) == set(range(0, size, 2))


def official(predictions, odds=None, threshold=1.0):
    records = read_records(paths.DATASET / "validation.parquet")
    questions = {record["id"]: record["answers"]["text"] for record in records}
    return oracle(questions, predictions, odds or dict.fromkeys(questions, 0.0), threshold)


def raw_answers():
    """The best span of each question, by id."""
    lines = (paths.PREDICTIONS / "nbest.jsonl").read_text().splitlines()
    rows = {row["id"]: row["answers"] for row in map(json.loads, lines)}
    return {name: next(answer["text"] for answer in answers if answer["text"]) for name, answers in rows.items()}


def test_the_scores_are_those_of_the_official_evaluation(stages):
    scores = json.loads(paths.EVAL_METRICS.read_text())
    table = pq.read_table(paths.question_scores(paths.PREDICTIONS))
    odds = dict(zip(table["id"].to_pylist(), table["null_odds"].to_pylist(), strict=True))

    expected = official(json.loads((paths.PREDICTIONS / "predictions.json").read_text()))
    assert {ours: scores[ours] for ours in OFFICIAL} == pytest.approx(
        {ours: expected[theirs] for ours, theirs in OFFICIAL.items()}, abs=1e-4
    )
    expected = official(raw_answers(), odds, threshold=0.0)
    assert (scores["exact_at_0"], scores["f1_at_0"]) == pytest.approx((expected["exact"], expected["f1"]), abs=1e-4)
    for name in ("HasAns_f1", "NoAns_f1"):
        assert scores[f"{name}_at_0"] == pytest.approx(expected[name], abs=1e-4)
    for name in ("best_exact", "best_exact_thresh", "best_f1", "best_f1_thresh"):
        assert scores[name] == pytest.approx(expected[name], abs=1e-4)
    assert (scores["HasAns_total"], scores["NoAns_total"]) == (12, 12)
    shrunk = Student.load(paths.STUDENT).config.answering["null_threshold"]
    expected = official(raw_answers(), odds, shrunk * (24 + SHRINKAGE) / 24 + 1e-6)
    assert expected["f1"] == pytest.approx(scores["best_f1"], abs=1e-4)


def test_the_threshold_is_stored_with_the_student_and_shown(stages, capsys):
    scores = json.loads(paths.EVAL_METRICS.read_text())
    stored = Student.load(paths.STUDENT).config.answering["null_threshold"]
    assert scores["null_threshold"] == pytest.approx(stored, abs=1e-4)
    show.main()
    head, teacher_row, student_row, *_ = capsys.readouterr().out.splitlines()
    assert "F1 HasAns  F1 NoAns  % no answer" in head
    assert f"{scores['NoAns_f1']:.2f}" in student_row and len({len(head), len(teacher_row), len(student_row)}) == 1


def test_the_questions_say_what_was_answered(stages):
    scores = json.loads(paths.EVAL_METRICS.read_text())
    table = pq.read_table(paths.question_scores(paths.PREDICTIONS)).to_pylist()
    assert [row["answerable"] for row in table] == [i % 2 == 0 for i in range(24)]
    none = [row for row in table if row["prediction"] == ""]
    assert 100 * len(none) / 24 == pytest.approx(scores["no_answer_rate"], abs=1e-4)
    assert all(row["start"] is None for row in none)
    assert all((row["f1"] == 100) == (not row["answerable"]) for row in none)
    for name in ("exact_match", "f1"):
        assert np.mean([row[name] for row in table]) == pytest.approx(scores[name], abs=1e-4)


def test_a_teacher_has_the_same_figures(stages):
    student = json.loads(paths.EVAL_METRICS.read_text())
    teacher_scores = json.loads(paths.TEACHER_METRICS.read_text())["large"]
    own = {"agreement", "teacher_kl", "loss", "parameters", "nonzero_parameters", "bytes"}
    compared = {"teacher_no_answer_rate", "null_windows", "null_loss", "null_kl"}
    assert student.keys() - own - compared == teacher_scores.keys()
    assert student["teacher_no_answer_rate"] == teacher_scores["no_answer_rate"]
    assert 50 <= student["null_windows"] < 100 and 0 <= student["null_loss"] <= 100 and 0 <= student["null_kl"] <= 100
    table = pq.read_table(paths.question_scores(paths.TEACHER_PREDICTIONS / "large"))
    assert np.mean(table["f1"]) == pytest.approx(teacher_scores["f1"], abs=1e-4)


def test_dropped_they_leave_what_a_file_without_them_gives(workspace, capsys):
    write_questions()
    write_params(dataset={**FILES, "unanswerable": "drop"})
    run_all(dataset, tokenize)
    mentions(capsys.readouterr().out, "train: 12 questions", "data/raw/train.json", "12 unanswerable, left out")
    dropped = content(paths.DATASET, paths.FEATURES)
    for split in SIZES:
        path = paths.RAW / f"{split}.json"
        articles = json.loads(path.read_text())["data"]
        path.write_text(json.dumps({"data": articles[::2]}))
    write_params(dataset=FILES)
    run_all(dataset, tokenize)
    assert "unanswerable" not in capsys.readouterr().out
    assert content(paths.DATASET, paths.FEATURES) == dropped


@pytest.mark.parametrize(
    ("impossible", "expected"),
    [
        ({"validation": lambda i: True}, "all 24 validation unanswerable"),
        ({"train": lambda i: True}, "all 24 train unanswerable"),
        (
            {"validation": lambda i: False},
            "12 training no validation threshold dataset.unanswerable drop",
        ),
    ],
)
def test_a_split_that_cannot_be_scored_is_refused(workspace, impossible, expected):
    write_questions(impossible)
    write_params(dataset=FILES)
    with refused(*expected.split()):
        dataset.main()


def test_a_weight_for_windows_without_the_answer_changes_the_student_and_1_does_not(trained, workspace):
    shutil.copytree(trained, workspace, dirs_exist_ok=True)
    before = content(paths.STUDENT)
    for weight, same in ((1.0, True), (0.25, False)):
        write_params(dataset=FILES, distill={"no_answer_weight": weight})
        train.main()
        assert (content(paths.STUDENT) == before) is same

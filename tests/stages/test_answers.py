"""The stages with a teacher that is a file of answers."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline import paths
from pipeline.commands import answers, cache, show
from pipeline.errors import InputError
from pipeline.logits.targets import Targets, has_target, read_teacher
from pipeline.logits.verify import problems
from pipeline.questions.features import read_features
from pipeline.questions.records import read_records
from pipeline.stages import backbone, evaluate, logits, sources, teacher, tokenize, train
from tests.tiny import TINY, content, run_all, write_params

pytestmark = pytest.mark.slow

LARGE = TINY["teacher"]["models"]["large"]
FILE = "data/raw/answers.jsonl"
STUDENT = {"model": "data/raw/large", "revision": None}


@pytest.fixture
def with_answers(with_logits):
    """A workspace with the model `large` in data/raw, and its 20 best answers in data/raw/answers.jsonl."""
    shutil.copytree(paths.TEACHER / "large", paths.RAW / "large")
    shutil.copytree(paths.tokenizer("large"), paths.RAW / "large", dirs_exist_ok=True)
    answers.main("large", 20, paths.DATA / "raw/answers.jsonl")
    return with_logits


def use(*, alpha=1.0, max_unfound=0.05, **models):
    """Write params of teachers, of which `llm` is the file of answers by default."""
    models = models or {"llm": {"answers": FILE}}
    config = TINY["teacher"]["config"] if LARGE in models.values() else None
    write_params(
        teacher={"models": models, "config": config},
        backbone=STUDENT,
        distill={"alpha": alpha, "temperature": 1.0},
        logits={"dtype": "float16", "shard_size": 5, "max_unfound": max_unfound},
    )


def rows():
    return read(FILE)


def read(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def write(rows):
    with open(FILE, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def splits():
    return {split: read_records(paths.DATASET / f"{split}.parquet") for split in ("train", "validation")}


def test_a_teachers_20_best_answers_train_a_student(with_answers, capsys):
    written = rows()
    records = splits()
    assert [row["id"] for row in written] == [record["id"] for each in records.values() for record in each]
    contexts = {record["id"]: record["context"] for each in records.values() for record in each}
    for row in written:
        shares = [answer["probability"] for answer in row["answers"]]
        assert shares == sorted(shares, reverse=True) and sum(shares) == pytest.approx(1)
        assert all(contexts[row["id"]][each["start"] : each["end"]] == each["text"] for each in row["answers"])

    use()
    capsys.readouterr()
    run_all(sources, tokenize, teacher, logits, backbone, name="llm")
    out = capsys.readouterr().out
    assert "llm has the tokenizer of student and uses the same windows" in out
    assert "24 of 24 train, 8 of 8 validation" in out
    assert [*content(paths.FEATURES / "llm").values()] == [*content(paths.FEATURES / "student").values()]
    assert list(problems(paths.LOGITS / "llm")) == []
    scores = json.loads(paths.TEACHER_METRICS.read_text())["llm"]
    assert scores["questions"] == 8 and scores["answered"] == 100
    run_all(train, evaluate)
    scores = json.loads(paths.EVAL_METRICS.read_text())
    assert scores["questions"] == 8 and scores["teacher_kl"] > 0
    assert json.loads((paths.CURVES / "summary.json").read_text())["windows"] == 2 * len(windows())

    before = content(paths.LOGITS)
    logits.main()
    assert content(paths.LOGITS) == before
    with pytest.raises(SystemExit) as ended:
        cache.main("verify")
    assert ended.value.code == 0


def windows(split="train", model="student"):
    return read_features(paths.features(model, split))


def test_the_answers_of_a_file_of_answers_are_written_too(with_answers):
    """Probabilities become logits, and these the same answers."""
    first = [{**row, "answers": row["answers"][:1]} for row in rows()]
    write([{"id": row["id"], "answers": [{"text": row["answers"][0]["text"]}]} for row in first][3:])
    use()
    run_all(tokenize, teacher, logits, name="llm")
    answers.main("llm", 20, paths.DATA / "found.jsonl")
    found = read("data/found.jsonl")
    assert [row["id"] for row in found] == [row["id"] for row in first[3:]]
    several = 0
    for row, expected in zip(found, first[3:], strict=True):
        texts = {answer["text"] for answer in row["answers"]}
        several += len(texts) > 1
        assert expected["answers"][0]["text"] in texts
    assert several < len(found) / 2  # those with the text in several places


def test_questions_without_an_answer_are_trained_on_the_label_or_left_out(with_answers, capsys):
    write([row for row in rows() if not row["id"].startswith("validation")][:10])
    assert len(rows()) == 10
    use(alpha=0.5)
    capsys.readouterr()
    run_all(tokenize, teacher, logits, backbone, name="llm")
    assert "10 of 24 train, 0 of 8 validation" in capsys.readouterr().out
    assert json.loads(paths.TEACHER_METRICS.read_text()) == {"llm": None}
    table = pq.read_table(paths.question_scores(paths.TEACHER_PREDICTIONS / "llm"))
    assert table["prediction"].to_pylist() == [None] * 8
    found = read_teacher(*paths.teacher_paths("llm", "train"))
    output = found.features, found.logits(str)
    assert set(windows().record[has_target(*output)]) == set(range(10))

    run_all(train, evaluate)
    assert "14 questions without a teacher's answer are trained on the label alone; 0 " in capsys.readouterr().out
    assert json.loads((paths.CURVES / "summary.json").read_text())["windows"] == 2 * len(windows())
    scores = json.loads(paths.EVAL_METRICS.read_text())
    assert "agreement" not in scores and "teacher_kl" not in scores and scores["questions"] == 8
    assert pq.read_table(paths.question_scores(paths.PREDICTIONS))["agreement"].to_pylist() == [None] * 8
    show.main()
    assert "teacher llm            -       -" in capsys.readouterr().out

    # without labels, only the answered questions are trained on
    data, kept = train.read(train.load(paths.PARAMS)), windows()
    assert data.windows is None and len(data.features["train"]) == len(kept)
    kept = replace(kept, labels=np.full_like(kept.labels, -1))
    selected = train.learnable(kept, Targets(output[1], "digest"))
    assert selected.tolist() == np.flatnonzero(kept.record < 10).tolist()


def test_scores_and_agreement_are_of_the_answered_questions(with_answers):
    write([row for row in rows() if row["id"] in {record["id"] for record in splits()["validation"][2:5]}])
    use(alpha=0.5)
    run_all(tokenize, teacher, logits, backbone, train, evaluate, name="llm")
    scores = json.loads(paths.TEACHER_METRICS.read_text())["llm"]
    assert scores["questions"] == 3 and scores["answered"] == 37.5
    agreement = pq.read_table(paths.question_scores(paths.PREDICTIONS))["agreement"].to_pylist()
    assert [value is None for value in agreement] == [True] * 2 + [False] * 3 + [True] * 3
    scores = json.loads(paths.EVAL_METRICS.read_text())
    assert scores["agreement"] == pytest.approx(sum(agreement[2:5]) / 3, abs=1e-4)
    assert np.isfinite(scores["teacher_kl"]) and scores["teacher_kl"] > 0


def test_a_model_and_a_file_with_answers_to_some_questions_train_together(with_answers):
    half = splits()["train"][:12]
    write([row for row in rows() if row["id"] in {record["id"] for record in half}])
    use(large=LARGE, llm={"answers": FILE})
    run_all(tokenize, teacher, name="llm")
    run_all(logits, backbone, train, evaluate)
    scores = json.loads(paths.TEACHER_METRICS.read_text())
    assert scores["llm"] is None
    assert scores["mean"]["answered"] == 100 and scores["mean"]["questions"] == 8
    assert "answered" not in scores["large"]
    assert "agreement" in json.loads(paths.EVAL_METRICS.read_text())


def test_too_many_answers_that_are_nowhere_stop_the_stage(with_answers, capsys):
    changed = rows()
    for row in changed:
        row["answers"] = [{"text": answer["text"]} for answer in row["answers"][:1]]
    changed[4]["answers"][0]["text"] = "some words that are nowhere"
    changed[5]["answers"][0]["text"] = "other words"
    write(changed)
    use()
    run_all(tokenize, teacher, name="llm")
    with pytest.raises(InputError, match=rf"{FILE}: 2 of 32.*{changed[4]['id']}.*some words.*other words.*max_unfound"):
        logits.main()
    assert not (paths.LOGITS / "llm").exists()
    use(max_unfound=0.0625)
    capsys.readouterr()
    logits.main()
    assert "22 of 24 train, 8 of 8 validation" in capsys.readouterr().out


def test_a_question_is_not_trained_on_if_its_only_answer_is_nowhere_and_it_has_no_label(with_answers):
    changed = rows()
    changed[0]["answers"] = [{"text": "some words that are nowhere"}]
    write(changed)
    use()
    run_all(tokenize, teacher, logits, backbone, name="llm")
    found = read_teacher(*paths.teacher_paths("llm", "train"))
    output = found.features, found.logits(str)
    features = windows()
    labels = np.where(features.record[:, None] == 0, -1, features.labels)
    selected = train.learnable(replace(features, labels=labels), Targets(output[1], "digest"))
    assert set(features.record[selected]) == set(range(1, 24))


def test_a_wrong_file_is_refused_before_anything_is_written(with_answers):
    written = rows()
    write([*written, {"id": "of-others", "answers": []}])
    use()
    run_all(tokenize, teacher, name="llm")
    with pytest.raises(InputError, match=rf"{FILE}, line 33: question of-others"):
        logits.main()
    (paths.RAW / "answers.jsonl").unlink()
    with pytest.raises(InputError, match=rf"{FILE}.*teacher.models.llm.answers.*dvc add"):
        teacher.main("llm")


def test_another_file_has_another_identity_and_a_damaged_copy_is_refused(with_answers):
    use()
    run_all(tokenize, teacher, logits, name="llm")
    identity = json.loads((paths.LOGITS / "llm/manifest.json").read_text())["teacher"]
    write(rows()[1:])
    run_all(teacher, logits, name="llm")
    assert json.loads((paths.LOGITS / "llm/manifest.json").read_text())["teacher"] != identity
    (paths.LOGITS / "llm/without_target").write_bytes(bytes(16))
    assert len(list(problems(paths.LOGITS / "llm"))) == 1
    with pytest.raises(InputError, match=r"without_target.*dvc repro logits"):
        train.main()
    paths.answers("llm").write_text("{}")
    with pytest.raises(InputError, match=r"answers is damaged.*teacher@llm"):
        logits.main()


def test_the_file_is_hashed_as_a_source(workspace):
    paths.RAW.mkdir(parents=True)
    (paths.RAW / "answers.jsonl").write_text("{}")
    use()
    sources.main()
    assert json.loads(paths.model_sources("llm").read_text()).keys() == {FILE}

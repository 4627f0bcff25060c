"""The report's command on a repository with scored experiments."""

import base64
import gzip
import json
import re
from pathlib import Path

import pytest

from pipeline import paths
from pipeline.commands import report
from pipeline.errors import InputError
from pipeline.questions.records import write_records
from pipeline.scores.question_scores import write_question_scores
from tests.commands import scored
from tests.words import refused

pytestmark = pytest.mark.slow

OUT = Path("report.html")
CURVE = "step\tminutes\texact_match\tf1\n5\t0.5\t40.0\t50.0\n9\t0.9\t50.0\t60.0\n"
SEEDS = ["workspace", "cnn3-seed0", "cnn3-seed1"]


@pytest.fixture
def with_teacher(repository):
    """The repository, with a teacher's answers in the workspace."""
    table = scored.scores(scored.records(), 0.9)
    write_question_scores(table, paths.question_scores(paths.TEACHER_PREDICTIONS / "large"))
    return repository


def data(page):
    packed = re.search(r'<script id="data"[^>]*>(.*?)</script>', page.read_text(encoding="utf-8"))[1]
    return json.loads(gzip.decompress(base64.b64decode(packed)))


def test_the_page_holds_the_students_of_the_runs_named(with_teacher, capsys):
    paths.CURVES.mkdir()
    (paths.CURVES / "validation.tsv").write_text(CURVE)
    report.main(SEEDS, None, OUT)
    assert capsys.readouterr().out.startswith("report.html: 2 students, 24 questions, ")
    shown = data(OUT)
    assert shown["students"] == ["cnn3", "linear"] and shown["baseline"] == "linear"
    assert [len(seeds) for seeds in shown["examples"]["students"]] == [2, 1]
    curve = shown["charts"]["curves"]["data"]["values"]
    assert [(row["run"], row["step"], row["f1"]) for row in curve] == [("workspace", 5, 50.0), ("workspace", 9, 60.0)]


def test_the_baseline_is_the_one_named(with_teacher):
    report.main(["cnn3-seed0"], "workspace", OUT)
    assert data(OUT)["baseline"] == "linear"


def test_one_student_has_a_page_too(with_teacher):
    report.main(["workspace"], None, OUT)
    assert data(OUT)["students"] == ["linear"]


def test_several_teachers_end_with_their_mean(with_teacher):
    for name in ("small", "mean"):
        table = scored.scores(scored.records(), 0.5)
        write_question_scores(table, paths.question_scores(paths.TEACHER_PREDICTIONS / name))
    models = {name: {"model": "new", "revision": None} for name in ("small", "large")}
    scored.write_run(scored.params(teacher={"models": models}), scored.records(), scored.scores(scored.records(), 0.3))
    report.main(["workspace"], None, OUT)
    assert [teacher["name"] for teacher in data(OUT)["examples"]["teachers"]] == ["large", "small", "mean"]


def test_a_run_without_a_teachers_answers_is_refused(repository):
    with refused("workspace", "data/teacher_predictions/large/questions.parquet", "`dvc repro`"):
        report.main(["workspace"], None, OUT)
    assert not OUT.exists()


@pytest.mark.parametrize("name", ["dataset/validation", "teacher_predictions/large/questions"])
def test_a_damaged_table_is_named(with_teacher, name):
    Path(f"data/{name}.parquet").write_bytes(b"PAR1")
    with refused("workspace", "damaged", f"data/{name}.parquet", "checksum"):
        report.main(["workspace"], None, OUT)


@pytest.mark.parametrize("content", ["", "step\tf1\n1\t2\t3\n"])
def test_a_damaged_curve_is_named(with_teacher, content):
    paths.CURVES.mkdir()
    (paths.CURVES / "train.tsv").write_text(content)
    with refused("data/curves/train.tsv", "workspace", "damaged", "`dvc repro train`", one_line=False):
        report.main(["workspace"], None, OUT)


def test_questions_other_than_those_scored_are_refused(with_teacher):
    write_records(scored.records(5), paths.DATASET / "validation.parquet")
    with refused("data/dataset/validation.parquet", "workspace", "other questions"):
        report.main(["workspace"], None, OUT)


def test_a_teacher_of_other_questions_is_refused(with_teacher):
    table = scored.scores(scored.records(5), 0.9)
    write_question_scores(table, paths.question_scores(paths.TEACHER_PREDICTIONS / "large"))
    with refused("teacher large", "workspace", "other questions"):
        report.main(["workspace"], None, OUT)


def test_experiments_on_other_questions_are_refused_by_name(with_teacher):
    with pytest.raises(InputError, match="other-questions"):
        report.main(["workspace", "other-questions"], None, OUT)

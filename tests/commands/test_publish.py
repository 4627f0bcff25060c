import json
import re
import subprocess
import sys

import pytest
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.errors import LocalTokenNotFoundError
from transformers import AutoModelForQuestionAnswering, BertForQuestionAnswering

from pipeline import paths
from pipeline.about import About, Example, read_about, write_about
from pipeline.answering.answerer import Answerer
from pipeline.checksums import SUMS, seal, verified
from pipeline.commands import ask, publish
from pipeline.errors import InputError
from pipeline.experiments import costs
from tests.commands import scored
from tests.commands.students import write_student
from tests.conftest import TEA
from tests.words import refused

COST = {
    "latency_ms_median": 3.21,
    "latency_ms_low": 3.2,
    "latency_ms_high": 3.22,
    "latency_ms_p95": 4.0,
    "cpu_share": 1.0,
    "device": "cpu",
    "threads": 2,
}


@pytest.fixture
def student(repository, tokenizer, monkeypatch):
    """A repository whose workspace has a student with the linear head and its scores."""
    write_student(tokenizer, "linear")
    metrics = json.loads(paths.EVAL_METRICS.read_text())
    paths.EVAL_METRICS.write_text(json.dumps({**metrics, "agreement": 81.25, "questions": 24}))
    paths.TEACHER_METRICS.write_text(json.dumps({"large": {"exact_match": 90.0, "f1": 95.5}}))
    calibration = {"temperature": 1.5, "error_before": 12.5, "error": 2.25, "chance_error": 3.125}
    (paths.PREDICTIONS / "calibration.json").write_text(json.dumps(calibration))
    monkeypatch.setattr(costs, "read", lambda run, model="student": None)
    return repository


def run(out, **options):
    publish.main(
        out, **{"student": "workspace", "license": None, "language": None, "push": None, "private": False, **options}
    )


def test_the_folder_answers_by_itself_and_in_transformers(student, tmp_path):
    run(tmp_path / "mine")
    verified(tmp_path / "mine", "train")
    assert {path.name for path in (tmp_path / "mine").iterdir()} == {
        "README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", SUMS,
    }  # fmt: skip
    (replies,) = Answerer.from_pretrained(tmp_path / "mine").answers([("Who?", TEA)])
    assert replies[0].text in TEA
    assert type(AutoModelForQuestionAnswering.from_pretrained(tmp_path / "mine")) is BertForQuestionAnswering
    assert not list(tmp_path.glob(".mine*"))


@pytest.mark.parametrize("asked", [True, False])
def test_examples_are_published_only_if_asked_for(student, tmp_path, asked):
    about = About("2 questions", [Example("Who?", "Me.", "Me")])
    write_about(about, paths.STUDENT)
    seal(paths.STUDENT)
    run(tmp_path / "mine", examples=asked)
    assert read_about(verified(tmp_path / "mine", "train")) == about.published(asked)


def test_the_card_has_what_the_hub_reads(student, tmp_path):
    run(tmp_path / "mine", license="mit", language="en")
    data = ModelCard.load(tmp_path / "mine/README.md").data
    assert (data.license, data.language, data.pipeline_tag) == ("mit", "en", "question-answering")
    (index,) = data.to_dict()["model-index"]
    assert index["name"] == "mine"
    (result,) = index["results"]
    assert result["task"]["type"] == "question-answering"
    metrics = json.loads(paths.EVAL_METRICS.read_text())
    assert {each["type"]: each["value"] for each in result["metrics"]} == {
        name: round(metrics[name], 2) for name in ("exact_match", "f1")
    }


def test_the_card_says_what_a_reader_asks(student, tmp_path, monkeypatch):
    monkeypatch.setattr(costs, "read", lambda run, model="student": COST)
    run(tmp_path / "mine")
    card = (tmp_path / "mine/README.md").read_text()
    metrics = json.loads(paths.EVAL_METRICS.read_text())
    for words in (
        f"| student | {metrics['exact_match']:.2f} [",
        "| teacher large | 90.00 | 95.50 |",
        "24 validation questions of span-distill synthetic corpus. 95 % confidence intervals for this article only",
        "81.2 %",
        "2.25; 12.50 without temperature scaling. With as many questions, a perfectly calibrated model has 3.12",
        "1,000 parameters, 30 % of them 0",
        "3.2 ms (median; 95th percentile 4.0) on cpu with 2 threads",
        "Windows of 26 tokens",
        "it always answers",
        "head: linear",
        "Not stated",
        scored.git("rev-parse", "HEAD")[:12],
        "AutoModelForQuestionAnswering",
    ):
        assert words in card, words


def test_the_card_begins_with_what_the_student_gains(student, tmp_path, monkeypatch):
    teacher = paths.TEACHER / "large/model.safetensors"
    teacher.parent.mkdir(parents=True)
    metrics = json.loads(paths.EVAL_METRICS.read_text())
    teacher.write_bytes(bytes(3 * metrics["bytes"]))
    run(tmp_path / "mine")
    kept = f"keeps {100 * metrics['f1'] / 95.5:.0f} % of the teacher's F1"
    assert f"# mine\n\n**3.0x smaller, {kept}**\n" in (tmp_path / "mine/README.md").read_text()
    slower = {**COST, "latency_ms_median": 6.42, "latency_ms_low": 6.4, "latency_ms_high": 6.44}
    monkeypatch.setattr(costs, "read", lambda run, model="student": COST if model == "student" else slower)
    run(tmp_path / "mine")
    assert f"**3.0x smaller, 2.0x faster, {kept}**" in (tmp_path / "mine/README.md").read_text()


@pytest.mark.parametrize("shrunk", ["", "large: 6 layers -> 4 layers"])
def test_the_card_says_what_was_removed_from_the_encoder(student, tmp_path, shrunk):
    write_about(About("2 questions", shrunk=shrunk), paths.STUDENT)
    seal(paths.STUDENT)
    run(tmp_path / "mine")
    size = (tmp_path / "mine/README.md").read_text().partition("## Size")[2].partition("##")[0]
    assert (r"large: 6 layers -\> 4 layers)." in size) == ("smaller" in size) == bool(shrunk)


def test_the_card_of_a_student_of_answers_has_no_scores_of_its_teacher(student, tmp_path):
    params = yaml.safe_load(paths.PARAMS.read_text())
    params["teacher"] |= {"models": {"llm": {"answers": "data/raw/answers.jsonl"}}, "config": None}
    params["backbone"]["model"] = "data/raw/large"
    paths.PARAMS.write_text(yaml.safe_dump(params))
    metrics = json.loads(paths.EVAL_METRICS.read_text())
    del metrics["agreement"]
    paths.EVAL_METRICS.write_text(json.dumps(metrics))
    paths.TEACHER_METRICS.write_text(json.dumps({"llm": None}))
    run(tmp_path / "mine")
    card = (tmp_path / "mine/README.md").read_text()
    assert "distilled from a file of answers" in card and "| student |" in card
    assert "teacher llm" not in card and "teacher's answer" not in card


def test_a_head_that_transformers_does_not_have_says_so(student, tokenizer, tmp_path):
    write_student(tokenizer, "mlp")
    run(tmp_path / "mine")
    card = ModelCard.load(tmp_path / "mine/README.md")
    assert "is not part of transformers" in card.text and "AutoModelForQuestionAnswering" not in card.text
    assert card.data.library_name == "span-distill"


@pytest.mark.slow
def test_the_code_of_the_card_gives_the_answer_without_this_package(student, tmp_path, monkeypatch):
    example = Example('Who "sold" ```tea```?', TEA, "Zoë Grün")
    write_about(About("24 questions of tea_and_cakes.json", [example]), paths.STUDENT)
    seal(paths.STUDENT)
    run(tmp_path / "mine", examples=True)
    card = (tmp_path / "mine/README.md").read_text()
    assert r"24 questions of tea\_and\_cakes.json" in card and "*Zoë Grün*" in card
    (code,) = re.findall(r"^````python\n(.*?)^````$", card, re.MULTILINE | re.DOTALL)
    code = f'import sys\nsys.modules["pipeline"] = None\n{code}'  # an import of it fails
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, encoding="utf-8")
    # both read the beginning of the text alone
    answerer = Answerer.from_pretrained(tmp_path / "mine")
    encoded = answerer.tokenizer(
        example.question, TEA, truncation="only_second", max_length=answerer.settings.max_length,
        return_offsets_mapping=True,
    )  # fmt: skip
    ((reply,),) = answerer.answers([(example.question, TEA[: encoded["offset_mapping"][-2][1]])])
    assert done.stdout == f"{reply.text}\n"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://name:secret@example.org/team/qa.git", ", https://example.org/team/qa\n"),
        ("git@example.org:team/qa.git", "in a clone of span-distill\n"),
    ],
)
def test_the_repository_is_named_without_its_users_name(student, tmp_path, url, shown):
    scored.git("remote", "add", "origin", url)
    run(tmp_path / "mine")
    card = (tmp_path / "mine/README.md").read_text()
    assert shown in card and "secret" not in card


def test_an_earlier_folder_is_replaced_and_nothing_else(student, tmp_path):
    run(tmp_path / "mine")
    run(tmp_path / "mine", license="mit")
    assert "license: mit" in (tmp_path / "mine/README.md").read_text()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/thoughts.txt").write_text("dear")
    downloaded = tmp_path / "downloaded"
    downloaded.mkdir()
    for name in ("README.md", "config.json", "model.safetensors"):
        (downloaded / name).write_text("{}")
    (tmp_path / "mine/.git").mkdir()
    for folder in (tmp_path / "notes", downloaded, tmp_path / "mine", paths.STUDENT):
        with refused(folder, "published", "another folder"):
            run(folder)
    assert len(list(downloaded.iterdir())) == 3


def test_a_file_that_was_added_to_the_folder_is_not_deleted(student, tmp_path):
    run(tmp_path / "mine")
    for name in ("LICENSE", "pictures/a.png"):
        path = tmp_path / "mine" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
        with refused(tmp_path / "mine", name, "delete"):
            run(tmp_path / "mine")
        assert path.read_text() == "mine"
        path.unlink()
    run(tmp_path / "mine")


class Hub:
    """The hub's API, as far as `publish` uses it."""

    def __init__(self, error=None):
        self.error, self.calls = error, []

    def create_repo(self, name, **options):
        if self.error:
            raise self.error
        self.calls.append(("create", name, options))
        return f"hub/{name}"

    def upload_folder(self, *, repo_id, folder_path, commit_message):
        self.calls.append(("upload", repo_id, sorted(path.name for path in folder_path.iterdir())))


def test_push_creates_the_model_and_uploads_the_folder(student, tmp_path, monkeypatch, capsys):
    hub = Hub()
    monkeypatch.setattr(publish, "HfApi", lambda: hub)
    run(tmp_path / "mine", push="me/mine", private=True)
    (create, upload) = hub.calls
    assert create == ("create", "me/mine", {"repo_type": "model", "private": True, "exist_ok": True})
    assert upload[:2] == ("upload", "me/mine") and {"README.md", "model.safetensors"} < set(upload[2])
    assert "pushed to hub/me/mine" in capsys.readouterr().out
    assert 'from_pretrained("me/mine")' in (tmp_path / "mine/README.md").read_text()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (LocalTokenNotFoundError("no token"), "hf auth login"),
        (RuntimeError("no network"), "me/mine.* no network.* complete"),
    ],
)
def test_a_hub_that_refuses_is_one_line(student, tmp_path, monkeypatch, error, message):
    monkeypatch.setattr(publish, "HfApi", lambda: Hub(error))
    with pytest.raises(InputError, match=message):
        run(tmp_path / "mine", push="me/mine")
    verified(tmp_path / "mine", "train")


def test_a_student_can_be_asked_by_the_name_of_its_run(student, tmp_path, capsys):
    (tmp_path / "tea.txt").write_text(TEA, encoding="utf-8")
    options = {"context": tmp_path / "tea.txt", "batch": None, "out": None, "n_best": 1, "json": True}
    capsys.readouterr()
    ask.main(["Who?"], student="workspace", **options)
    assert json.loads(capsys.readouterr().out)["answers"][0]["text"] in TEA
    with refused("experiment 'nobody'"):
        ask.main(["Who?"], student="nobody", **options)

"""The stage that reads the questions."""

import json
from itertools import islice

import pytest

from pipeline import paths
from pipeline.errors import InputError
from pipeline.params import Dataset
from pipeline.questions import synthetic
from pipeline.questions.records import read_records
from pipeline.stages import dataset
from pipeline.stages.dataset import Split, warn_of_shared, write_split
from tests.hub import commit
from tests.tiny import content, write_params
from tests.words import mentions, refused


def records(split, count):
    return list(islice(synthetic.corpus(split, 24, seed=0), count))


def written(params, split):
    """The stored records of a split, read with these parameters."""
    path = paths.empty_folder(paths.DATASET) / "questions.parquet"
    write_split(params, split, path)
    return read_records(path)


def warned(train, validation):
    splits = {"train": Split(), "validation": Split()}
    for split, questions in zip(splits.values(), (train, validation), strict=True):
        list(split.counted(questions))
    warn_of_shared(splits["train"], splits["validation"], validation)


def test_validation_questions_that_are_training_questions_are_named(capsys):
    train, validation = records("train", 24), records("validation", 24)
    warned(train, validation)
    assert capsys.readouterr().err == ""
    again = {**train[5], "id": "again", "question": f" {train[5]['question']}"}
    warned(train, [*validation, again])
    mentions(capsys.readouterr().err, "warning", "1 of 25 validation", "training", "again")


def test_a_question_about_another_context_is_another(capsys):
    train = records("train", 24)
    other = {**train[5], "context": f"{train[5]['context']} More."}
    warned(train, [other])
    assert capsys.readouterr().err == ""


@pytest.fixture
def read_train(tmp_path, monkeypatch):
    """A function that reads questions as the training file of the parameters."""
    monkeypatch.chdir(tmp_path)

    def read_train(questions, **params):
        path = tmp_path / "data/raw/train.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(questions))
        files = {"train_file": "data/raw/train.json", "validation_file": "data/raw/validation.json"}
        return written(Dataset(source="files", **files, **params), "train")

    return read_train


@pytest.mark.parametrize(("size", "said"), [(24, False), (7, False), (None, False), (25, True)])
def test_a_file_with_fewer_questions_than_asked_for_is_named(read_train, capsys, size, said):
    assert len(read_train(records("train", 24), train_size=size)) == min(size or 24, 24)
    assert ("train: 24 questions" in (out := capsys.readouterr().out)) == (size != 7)
    assert ("dataset.train_size, 25" in out) == said


def test_an_unlabelled_file_follows_the_labelled_one_without_its_answers(read_train, capsys):
    first, more = records("train", 24)[:4], records("train", 24)[4:]
    (paths.RAW / "more.json").parent.mkdir(parents=True)
    (paths.RAW / "more.json").write_text(json.dumps(more))
    params = {"unlabelled_file": "data/raw/more.json"}
    found = read_train(first, **params)
    assert found[:4] == first
    assert [{**record, "answers": None} for record in found[4:]] == [{**record, "answers": None} for record in more]
    assert all(record["answers"]["text"] == [] and not record["is_impossible"] for record in found[4:])
    mentions(capsys.readouterr().out, "24 questions", "train.json and data/raw/more.json", "20 unlabelled")
    assert read_train(first, **params, train_size=6) == found[:6]
    (paths.RAW / "more.json").write_text(json.dumps([*more, {**more[0], "id": "x", "context": ""}, first[0]]))
    with refused("2 of 26", "data/raw/more.json", "x", "empty", "duplicate", one_line=False):
        read_train(first, **params)


def test_tables_without_ids_name_their_rows_by_file_and_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths.RAW.mkdir(parents=True)
    files = {f"{name}_file": f"data/raw/{name}.csv" for name in ("train", "unlabelled", "validation")}
    for file in files.values():
        (tmp_path / file).write_text("context,question,answer\nAnn keeps bees.,What does Ann do?,keeps\n")
    found = written(Dataset(source="files", **files), "train")
    assert [record["id"] for record in found] == ["line 2", "data/raw/unlabelled.csv: line 2"]
    assert [record["answers"]["text"] for record in found] == [["keeps"], []]


@pytest.mark.parametrize("name", ["train.csv", "TRAIN.CSV"])
def test_a_file_is_read_by_its_suffix(tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    paths.RAW.mkdir(parents=True)
    (paths.RAW / name).write_text("context,question,answer\nAnn keeps and keeps bees.,What does Ann do?,keeps\n")
    files = {"train_file": f"data/raw/{name}", "validation_file": f"data/raw/{name}"}
    (record,) = written(Dataset(source="files", **files), "train")
    assert (record["id"], record["answers"]) == ("line 2", {"text": ["keeps"], "answer_start": [4]})
    mentions(capsys.readouterr().out, "1 answers", "answer_start", "once")


def test_a_hub_data_set_is_read_by_config_and_split(hub, capsys):
    names = [f"{config}/{split}" for config in ("ar", "de") for split in ("dev", "test")]
    questions = {name: [{**record, "id": name}] for name, record in zip(names, records("train", 4), strict=True)}
    configs = [{"config_name": name, "data_dir": name} for name in ("ar", "de")]
    card = f"---\nconfigs: {json.dumps(configs)}\n---\n".encode()
    files = {f"{name}.json": json.dumps(content).encode() for name, content in questions.items()}
    hub.add("dataset", "owner/name", commit(1), {"README.md": card, **files})
    source = {"source": "owner/name", "revision": commit(1), "config": "de"}
    params = Dataset(**source, train_split="validation", validation_split="test")
    for split, name in (("train", "de/dev"), ("validation", "de/test")):
        assert written(params, split) == questions[name]
    mentions(capsys.readouterr().out, "validation: 1 questions", "owner/name", "split test")
    with refused("config 'de'", "split 'train'", "validation, test"):
        written(Dataset(**source), "train")


@pytest.fixture
def faulty_files(workspace):
    """A function that runs the stage on files of which three training questions and a validation question are wrong."""

    def run(faulty):
        paths.RAW.mkdir(parents=True, exist_ok=True)
        for split, wrong in (("train", [1, 4, 7]), ("validation", [2])):
            questions = records(split, 12)
            for i in wrong:
                (start,) = questions[i]["answers"]["answer_start"]
                questions[i]["answers"]["answer_start"] = [start + 1]
            if split == "train":
                questions[7]["answers"]["text"] = ["nowhere"]
            (paths.RAW / f"{split}.json").write_text(json.dumps(questions))
        files = {f"{split}_file": f"data/raw/{split}.json" for split in ("train", "validation")}
        sizes = {"train_size": None, "validation_size": None}
        write_params(dataset={"source": "files", **files, **sizes, "faulty": faulty})
        dataset.main()
        lines = (paths.DATASET / "faulty.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    return run


def stored(split):
    return {record["id"]: record for record in read_records(paths.DATASET / f"{split}.parquet")}


def test_dropped_questions_are_listed_beside_the_others(faulty_files, capsys):
    train, validation = records("train", 12), records("validation", 12)
    rows = faulty_files("drop")
    wrong = [("train", train[1]), ("train", train[4]), ("train", train[7]), ("validation", validation[2])]
    assert [(row["split"], row["id"]) for row in rows] == [(split, record["id"]) for split, record in wrong]
    assert {row["action"] for row in rows} == {"left out"} and "nowhere" in rows[2]["reason"]
    assert len(stored("train")) == 9 and train[1]["id"] not in stored("train")
    assert "train: 9 questions" in (out := capsys.readouterr().out) and "3 invalid, left out" in out
    before = content(paths.DATASET)
    faulty_files("drop")
    assert content(paths.DATASET) == before  # the same bytes


def test_repaired_questions_are_counted_and_the_rest_dropped(faulty_files, capsys):
    rows = faulty_files("repair")
    assert [row["action"] for row in rows] == ["repaired", "repaired", "left out", "repaired"]
    expected = {record["id"]: record for i, record in enumerate(records("train", 12)) if i != 7}
    assert stored("train") == expected
    assert "2 invalid, repaired" in (out := capsys.readouterr().out) and "1 invalid, left out" in out


def test_invalid_questions_stop_the_stage_by_default(faulty_files):
    with pytest.raises(InputError, match=r"3 of 12 .*dataset\.faulty.* 2 of "):
        faulty_files("error")
    assert not paths.DATASET.exists()

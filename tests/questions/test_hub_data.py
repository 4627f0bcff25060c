"""Hub data sets on the small hub of tests/hub.py: which files are a split, and the records in them."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import InputError
from pipeline.questions.checks import checked
from pipeline.questions.hub_data import configs_of, read_hub
from tests.hub import commit, offline, switch
from tests.questions.farm import BEES, CONTEXT, all_of, flat
from tests.words import refused

OLD, NEW = commit(1), commit(2)
NAME = "owner/farm"


def row(identifier, text, start, **more):
    answers = {"text": text, "answer_start": start}
    return {"id": identifier, "title": "Farm", "context": CONTEXT, "question": "What?", "answers": answers, **more}


def parquet(*rows):
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(list(rows)), sink)
    return sink.getvalue().to_pybytes()


def card(*configs):
    return f"---\nlanguage: en\nconfigs: {json.dumps(configs)}\n---\n# Farm".encode()


def config(name, data_files, **more):
    return {"config_name": name, "data_files": data_files, **more}


def ids(split="train", commit_id=OLD, chosen=None):
    return [record["id"] for record in read_hub(NAME, commit_id, chosen, split)]


SQUAD = [{"split": "train", "path": "plain_text/train-*"}, {"split": "validation", "path": "plain_text/validation-*"}]


@pytest.fixture
def farm(hub):
    """A hub with two commits of a data set that is laid out like SQuAD."""
    for commit_id, name in ((OLD, "old"), (NEW, "new")):
        splits = {
            f"plain_text/{split}-00000-of-00001.parquet": parquet(row(f"{name} {split}", ["bees"], [10]))
            for split in ("train", "validation")
        }
        hub.add("dataset", NAME, commit_id, {"README.md": card(config("plain_text", SQUAD)), **splits})
    return hub


@pytest.mark.parametrize("asked", [(OLD, NEW), (NEW, OLD)])
def test_the_questions_are_those_of_the_commit(farm, monkeypatch, asked):
    expected = {OLD: "old", NEW: "new"}
    for _ in range(2):  # from the hub, then from the cache, where both are
        for commit_id in asked:
            for split in ("train", "validation"):
                assert ids(split, commit_id) == [f"{expected[commit_id]} {split}"]
        offline(monkeypatch)


@pytest.mark.parametrize("state", ["unauthorized", "gated", "limited", "error", "page", "offline", "down"])
def test_the_questions_of_another_commit_are_never_used(farm, monkeypatch, state):
    ids("train", OLD), ids("validation", OLD)
    ids("train", NEW)
    switch(farm, state, monkeypatch)
    assert ids("train", NEW) == ["new train"]
    with pytest.raises(InputError, match=f"{NAME}, commit {NEW}") as raised:
        ids("validation", NEW)
    assert "\n" not in str(raised.value)


def test_both_splits_are_of_one_commit_though_a_connection_breaks(farm):
    ids("train", OLD), ids("validation", OLD)
    farm.resets = 1
    assert ids("train", NEW) + ids("validation", NEW) == ["new train", "new validation"]


def test_rows_become_records(hub):
    rows = [row("a", ["bees"], [10], extra=1), row("b", [], []), row("c", ["Ann"], [0])]
    hub.add("dataset", NAME, OLD, {"train.parquet": parquet(*rows)})
    records = list(checked(read_hub(NAME, OLD, None, "train"), NAME).records)
    assert [(record["id"], record["is_impossible"]) for record in records] == [("a", False), ("b", True), ("c", False)]
    assert records[0] == {
        "id": "a",
        "title": "Farm",
        "context": CONTEXT,
        "question": "What?",
        "answers": {"text": ["bees"], "answer_start": [10]},
        "is_impossible": False,
    }


def test_rows_are_read_like_json(hub):
    rows = [
        row(1, ["bees"], [10], is_impossible="False"),
        row(2, [], [], is_impossible="True"),
        row(3, ["Ann"], [0], is_impossible="false"),
    ]
    rows = [{**each, "title": 5, "answers": {**each["answers"], "answer_end": []}} for each in rows]
    hub.add("dataset", NAME, OLD, {"train.parquet": parquet(*rows)})
    records = list(checked(read_hub(NAME, OLD, None, "train"), NAME).records)
    assert [(record["id"], record["is_impossible"]) for record in records] == [("1", False), ("2", True), ("3", False)]
    assert (records[2]["answers"], records[2]["title"]) == ({"text": ["Ann"], "answer_start": [0]}, "5")


@pytest.mark.parametrize("faulty", ["drop", "repair"])
def test_invalid_rows_can_be_dropped_or_repaired(hub, faulty):
    rows = [row("a", ["bees"], [9]), row("b", ["Ann"], [0]), row("c", ["cows"], [0])]
    hub.add("dataset", NAME, OLD, {"train.parquet": parquet(*rows)})
    found = all_of(checked(read_hub(NAME, OLD, None, "train"), NAME, None, faulty))
    assert [record["id"] for record in found.records] == (["b"] if faulty == "drop" else ["a", "b"])
    assert [fault.id for fault in found.faults] == ["a", "c"]


def test_a_data_set_with_other_columns_is_an_error(hub):
    hub.add("dataset", NAME, OLD, {"train.parquet": parquet({"id": "a", "text": "x", "label": 1})})
    with refused("train.parquet", "column 'context'"):
        ids()


@pytest.mark.parametrize("name", ["train.json", "train.jsonl", "data/train-00000-of-00001.json"])
def test_json_is_read(hub, name):
    questions = [flat(BEES), flat(BEES, id="q2")]
    text = json.dumps(questions) if name.endswith(".json") else "\n".join(map(json.dumps, questions))
    hub.add("dataset", NAME, OLD, {name: text.encode()})
    assert ids() == ["q1", "q2"]


def test_a_split_in_several_files_has_their_rows_in_order(hub):
    files = {f"data/train-0000{i}-of-00003.parquet": parquet(row(f"q{i}", ["bees"], [10])) for i in (2, 0, 1)}
    hub.add("dataset", NAME, OLD, files)
    assert ids() == ["q0", "q1", "q2"]


def test_rows_without_an_id_are_named_by_their_file_and_number(hub):
    rows = [{"context": CONTEXT, "question": "What?", "answer": "bees"}] * 2
    hub.add("dataset", NAME, OLD, {f"train/{name}.parquet": parquet(*rows) for name in "ab"})
    assert ids() == [f"train/{name}.parquet: row {number}" for name in "ab" for number in (1, 2)]
    hub.add("dataset", NAME, NEW, {"train.parquet": parquet(*rows)})
    assert ids(commit_id=NEW) == ["row 1", "row 2"]


@pytest.fixture
def languages(hub):
    """A hub data set with two configs, neither of which is the default."""
    files = {f"{name}/dev.json": json.dumps([flat(BEES, id=name)]).encode() for name in ("xquad.ar", "xquad.de")}
    configs = [config(f"xquad.{name}", [{"split": "dev", "path": f"xquad.{name}/*"}]) for name in ("ar", "de")]
    hub.add("dataset", NAME, OLD, {"README.md": card(*configs), **files})
    return hub


def test_a_config_and_a_split_can_be_chosen(languages):
    assert ids("dev", chosen="xquad.de") == ["xquad.de"]
    assert languages.downloads() == ["README.md", "xquad.de/dev.json"]


@pytest.mark.parametrize(
    ("chosen", "split", "words"),
    [
        (None, "dev", "several dataset.config xquad.ar, xquad.de"),
        ("en", "dev", "'en' dataset.config xquad.ar, xquad.de"),
        ("xquad.de", "train", "'xquad.de' 'train' dataset.train_split dev"),
    ],
)
def test_a_config_or_split_that_is_not_there_is_an_error_that_lists_them(languages, chosen, split, words):
    with refused(NAME, OLD, *words.split()):
        ids(split, chosen=chosen)


@pytest.mark.parametrize("marked", [{"default": True}, {}])
def test_the_default_config_is_used(hub, marked):
    name = "main" if marked else "default"
    configs = [config("other", "b.json"), config(name, "a.json", **marked)]
    files = {f"{name}.json": json.dumps([flat(BEES, id=name)]).encode() for name in "ab"}
    hub.add("dataset", NAME, OLD, {"README.md": card(*configs), **files})
    assert ids() == ["a"]


def test_a_loading_script_is_refused_with_the_commit_to_use_instead(hub):
    files = {"farm.py": b"raise SystemExit", "dataset_infos.json": b"{}", "README.md": b"# Farm", "dummy/a.zip": b"z"}
    hub.add("dataset", NAME, OLD, files)
    with refused(OLD, "loading script", f"dataset_info('{NAME}'", "convert/parquet"):
        ids()
    # that branch
    names = [(name, split) for name in "ab" for split in ("train", "test")]
    files = {f"{name}/{split}/0000.parquet": parquet(row(f"{name} {split}", ["bees"], [10])) for name, split in names}
    hub.add("dataset", NAME, NEW, files)
    assert ids("test", NEW, "b") == ["b test"]
    with refused("several", "dataset.config", "a, b"):
        ids("test", NEW)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"README.md": b"# Farm", "train.txt": b"x"}, "formats README.md, train.txt"),
        ({"README.md": card(config("a", "https://a.b/train.json"))}, "https://a.b/train.json outside"),
        ({"README.md": card(config("a", "*")), "a.json": b"[]", "b.csv": b""}, "'train' a.json, b.csv formats"),
        ({"README.md": card(config("a", "a.json.gz")), "a.json.gz": b""}, "'train' a.json.gz formats"),
        ({"README.md": b"---\nconfigs: [\n---\n"}, "README.md YAML"),
        ({"README.md": card({"data_files": "a.json"}), "a.json": b"[]"}, "README.md configs malformed config_name"),
        ({"README.md": card("a"), "a.json": b"[]"}, "README.md configs malformed"),
        ({"README.md": card(config("a", [{"split": "train"}])), "a.json": b"[]"}, "configs malformed path"),
        ({"README.md": card(config("a", "**.json")), "a.json": b"[]"}, "configs malformed pattern"),
        ({"README.md": card(config("a", 5)), "a.json": b"[]"}, "configs malformed"),
        ({"README.md": card(config("a", [{"split": "train", "path": 5}])), "a.json": b"[]"}, "configs malformed"),
    ],
)
def test_files_that_cannot_be_read_are_an_error_in_one_line(hub, files, words):
    hub.add("dataset", NAME, OLD, files)
    with refused(*words.split()):
        ids()


@pytest.mark.parametrize(
    ("files", "splits"),
    [
        ("train.json dev.json eval.json", {"train": "train.json", "validation": "dev.json", "test": "eval.json"}),
        ("my_train.csv data/x-val.csv retrain.csv", {"train": "my_train.csv", "validation": "data/x-val.csv"}),
        ("data/train/a.json data/train/b.json", {"train": "data/train/a.json data/train/b.json"}),
        # folders come before names
        ("train/dev.json valid/x.json train.json", {"train": "train/dev.json", "validation": "valid/x.json"}),
        ("data/hard-00000-of-00001-ab.parquet train.json", {"hard": "data/hard-00000-of-00001-ab.parquet"}),
        ("a.json b/c.json", {"train": "a.json b/c.json"}),
        (".github/train.json __x__/train.json train.json config.json LICENSE", {"train": "train.json"}),
    ],
)
def test_splits_are_known_by_the_names_of_folders_and_files(files, splits):
    """As `datasets` 5.2 finds them: no difference in 1,500 generated repositories."""
    assert configs_of(files.split(), {}, "") == {"default": {split: paths.split() for split, paths in splits.items()}}


@pytest.mark.parametrize(
    ("declared", "splits"),
    [
        ({"data_files": "en/*"}, {"train": "en/dev.json en/train.json"}),
        ({"data_files": ["en/train.json", "en/*"]}, {"train": "en/train.json en/dev.json"}),
        ({"data_files": [{"split": "x", "path": ["**/dev.json", "a.json"]}]}, {"x": "de/dev.json en/dev.json a.json"}),
        ({"data_files": [{"split": "x", "path": "none-*"}, {"split": "y", "path": "./a.json"}]}, {"y": "a.json"}),
        ({"data_dir": "de"}, {"train": "de/train.json", "validation": "de/dev.json"}),
        ({"data_dir": "de/", "data_files": "t*"}, {"train": "de/train.json"}),
    ],
)
def test_the_card_says_which_files_are_a_split(declared, splits):
    files = ["README.md", "a.json", "en/train.json", "en/dev.json", "de/train.json", "de/dev.json"]
    found = configs_of(files, {"configs": [{"config_name": "c", **declared}]}, "")
    assert found == {"c": {split: paths.split() for split, paths in splits.items()}}

"""The hashes of the files in data/raw that params name."""

import hashlib
import json

from pipeline import paths
from pipeline.stages import sources
from tests.tiny import content, write_params

LOCAL = {"source": "files", "train_file": "data/raw/a.json", "validation_file": "data/raw/b.json"}
LOCAL |= {"train_size": None, "validation_size": None, "unlabelled_file": "data/raw/u.json"}
MODELS = {"models": {"large": {"model": "data/raw/bert", "revision": None}}, "config": None}


def hashes(path):
    return json.loads(path.read_text())


def test_only_the_files_that_params_name_are_hashed(workspace):
    questions = [f"{name}.json" for name in "abcu"]
    models = ["bert/config.json", "bert/model.safetensors", "other/config.json"]
    for name in (*questions, *models):
        path = paths.RAW / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    write_params(dataset=LOCAL, teacher=MODELS, backbone={"model": "data/raw/other"})
    sources.main()
    assert hashes(paths.QUESTION_SOURCES).keys() == {f"data/raw/{name}.json" for name in "abu"}
    assert hashes(paths.QUESTION_SOURCES)["data/raw/a.json"] == hashlib.sha256(b"a.json").hexdigest()
    assert hashes(paths.model_sources("large")).keys() == {
        "data/raw/bert/config.json",
        "data/raw/bert/model.safetensors",
    }
    assert hashes(paths.model_sources("student")).keys() == {"data/raw/other/config.json"}

    before = content(paths.SOURCES)
    (paths.RAW / "d.json").write_text("d")
    sources.main()
    assert content(paths.SOURCES) == before
    (paths.RAW / "bert/config.json").write_text("changed")
    sources.main()
    changed = {name for name, bytes in content(paths.SOURCES).items() if bytes != before[name]}
    assert changed == {str(paths.model_sources("large"))}


def test_what_is_not_in_raw_has_no_hashes(workspace):
    write_params()
    sources.main()
    for path in (paths.QUESTION_SOURCES, paths.model_sources("large"), paths.model_sources("student")):
        assert hashes(path) == {}

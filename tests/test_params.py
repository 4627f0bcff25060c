import copy
import re
from pathlib import Path
from typing import get_args

import pytest
import yaml
from dvc.utils.serialize import parse_yaml

from pipeline import params
from pipeline.errors import InputError
from pipeline.names import HEADS, METRICS
from pipeline.params import load
from tests.words import mentions, refused

ROOT = Path(__file__).parents[1]
FILES = [ROOT / "params.yaml", *sorted((ROOT / "presets").glob("*.yaml"))]
COMMIT = "0123456789abcdef" * 2 + "01234567"
MINIMAL = {
    "head": "linear",
    "seed": 0,
    "dataset": {"source": "synthetic", "train_size": 8, "validation_size": 4},
    "tokenize": {"max_length": 64, "stride": 16},
    "teacher": {
        "models": {"large": {"model": "new", "revision": None}},
        "config": {"hidden_size": 16},
        "train": {"epochs": 1, "learning_rate": 1e-3, "keep": "last"},
    },
    "logits": {"dtype": "float16"},
    "backbone": {"model": "large", "revision": None},
    "shrink": {},
    "distill": {"alpha": 1.0, "temperature": 2.0},
    "prune": {"amount": 0.0},
    "train": {"epochs": 1, "learning_rate": 1e-3},
    "evaluate": {"max_answer_length": 30, "metric": "squad"},
}
FROM_FILES = {"source": "files", "train_file": "data/raw/train.json", "validation_file": "data/raw/validation.json"}


def parent(values, key):
    """The section of a dotted key, and the key's last part."""
    *sections, last = key.split(".")
    for section in sections:
        values = values[section]
    return values, last


def changed(changes):
    values = copy.deepcopy(MINIMAL)
    for key, value in changes.items():
        section, last = parent(values, key)
        section[last] = value
    return yaml.safe_dump(values)


@pytest.fixture
def read(tmp_path):
    def read(text):
        path = tmp_path / "params.yaml"
        path.write_text(text, encoding="utf-8")
        return load(path)

    return read


@pytest.fixture
def refusal(read):
    """The error that dotted keys with these values give."""

    def refusal(**changes):
        with pytest.raises(InputError) as raised:
            read(changed(changes))
        return str(raised.value)

    return refusal


def test_the_minimal_file_loads(read):
    params = read(changed({}))
    assert (params.head, params.tokenize.stride, params.distill.temperature) == ("linear", 16, 2.0)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_committed_files_load(path):
    assert load(path).train.epochs == yaml.safe_load(path.read_text(encoding="utf-8"))["train"]["epochs"]


def test_the_committed_parameters_are_the_default_preset():
    default = (ROOT / "presets/default.yaml").read_text(encoding="utf-8")
    assert (ROOT / "params.yaml").read_text(encoding="utf-8") == default
    assert load(ROOT / "params.yaml").dataset.source == "synthetic"


def test_every_preset_has_all_sections():
    for path in (ROOT / "presets").glob("*.yaml"):
        assert yaml.safe_load(path.read_text(encoding="utf-8")).keys() == params.Params.model_fields.keys(), path


@pytest.mark.parametrize("section", [name for name, value in MINIMAL.items() if isinstance(value, dict)])
def test_an_unknown_key_of_a_section_is_refused(refusal, section):
    mentions(refusal(**{f"{section}.sise": 3}), "params.yaml", f"{section}.sise", *MINIMAL[section])


@pytest.mark.parametrize(
    ("key", "takes"),
    [
        ("hed", "head seed dataset"),
        ("teacher.train.epocs", "teacher.train epochs max_steps"),
        ("teacher.models.large.modl", "teacher.models.large model revision seed"),
    ],
)
def test_an_unknown_key_at_any_level_is_refused(refusal, key, takes):
    mentions(refusal(**{key: 3}), "params.yaml", key, *takes.split())


@pytest.mark.parametrize(
    "key", ["head", "seed", "tokenize", "train.epochs", "teacher.models.large.revision", "teacher.train"]
)
def test_a_missing_key_is_named(read, key):
    values = copy.deepcopy(MINIMAL)
    section, last = parent(values, key)
    del section[last]
    with refused("params.yaml", key, "missing"):
        read(yaml.safe_dump(values))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", True),
        ("seed", -1),
        ("train.epochs", True),
        ("train.epochs", "3"),
        ("train.epochs", 3.0),
        ("train.epochs", None),
        ("train.batch_size", 0),
        ("train.shuffle", 1),
        ("train.shuffle", "nope"),
        ("train.optimizer", "sgd"),
        ("train.schedule", "cosine"),
        ("train.keep", "first"),
        ("train.learning_rate", "fast"),
        ("train.learning_rate", "0.001"),
        ("train.learning_rate", True),
        ("train.learning_rate", 0),
        ("train.learning_rate", float("inf")),
        ("train.time_limit_minutes", 0),
        ("train.warmup_ratio", 1),
        ("train.gamma", 1.5),
        ("dataset.train_size", 0),
        ("tokenize.max_length", 8),
        ("tokenize.stride", -1),
        ("logits.dtype", "int8"),
        ("distill.alpha", -0.1),
        ("distill.alpha", 1.1),
        ("distill.alpha", float("nan")),
        ("distill.alpha", True),
        ("distill.temperature", 0),
        ("distill.temperature", float("inf")),
        ("prune.amount", -0.1),
        ("prune.amount", 1),
        ("prune.amount", 30),
        ("backbone.layers", []),
        ("backbone.layers", "all"),
        ("evaluate.n_best", 0),
        ("evaluate.max_answer_length", 30.5),
        ("evaluate.max_answer_length", None),
        ("dataset.unanswerable", "skip"),
        ("distill.no_answer_weight", -1),
        ("train", None),
        ("train", [1]),
    ],
)
def test_a_wrong_type_or_range_is_refused_with_key_and_value(refusal, key, value):
    message = refusal(**{key: value})
    mentions(message, "params.yaml", key, f"{value!r})")


def test_an_unknown_head_lists_the_heads(refusal):
    message = refusal(head="cnn9")
    assert "params.yaml: head: " in message
    assert ", ".join(HEADS) in message
    assert "'cnn9'" in message


@pytest.mark.parametrize("value", ["bleu", ["squad"]])
def test_an_unknown_metric_lists_the_metrics(refusal, value):
    message = refusal(**{"evaluate.metric": value})
    assert "params.yaml: evaluate.metric: " in message
    assert ", ".join(METRICS) in message
    assert repr(value) in message


def test_one_error_lists_all_faults(refusal):
    message = refusal(**{"head": "cnn9", "train.epochs": "3", "distill.alhpa": 1})
    assert all(key in message for key in ("head: ", "train.epochs: ", "distill.alhpa"))


@pytest.mark.parametrize(("text", "value"), [("2e-5", 2e-5), ("1E3", 1000.0), ("+2.e-5", 2e-5), ("3", 3.0)])
def test_a_number_without_a_dot_is_read_as_a_float(read, text, value):
    params = read(changed({"train.learning_rate": "RATE"}).replace("RATE", text))
    assert (params.train.learning_rate, type(params.train.learning_rate)) == (value, float)


@pytest.mark.parametrize("alpha", [0, 1, 0.5])
def test_a_range_includes_its_ends(read, alpha):
    assert read(changed({"distill.alpha": alpha})).distill.alpha == alpha


def test_a_cubic_schedule_needs_the_last_student_of_a_whole_training(refusal, read):
    cubic = {"prune": {"amount": 0.5, "schedule": "cubic"}}
    assert read(changed({**cubic, "train.keep": "last"})).prune.schedule == "cubic"
    mentions(refusal(**cubic), "prune.schedule", "train.keep", "last")
    mentions(refusal(**cubic, **{"train.keep": "last", "train.time_limit_minutes": 1}), "train.time_limit_minutes")


def test_a_stride_that_is_too_large_is_refused_with_the_maximum(refusal, read):
    assert read(changed({"tokenize.stride": 56})).tokenize.stride == 56
    message = refusal(**{"tokenize.stride": 57})
    mentions(message, "tokenize", "stride 57", "max_length 64", "56")


@pytest.mark.parametrize("revision", [None, "main", COMMIT[:7], COMMIT.upper(), COMMIT + "0", f" {COMMIT}"])
@pytest.mark.parametrize("section", ["dataset", "teacher", "backbone"])
def test_a_hub_id_without_a_commit_is_refused(refusal, section, revision):
    changes = {
        "dataset": {"dataset": {"source": "some/questions", "revision": revision}},
        "teacher": {
            "teacher.models": {"large": {"model": "some/model", "revision": revision}},
            "teacher.config": None,
        },
        "backbone": {"backbone.model": "some/model", "backbone.revision": revision},
    }
    message = refusal(**changes[section])
    source = "some/questions" if section == "dataset" else "some/model"
    mentions(message, "params.yaml", section, f"'{source}'", "revision", "40")
    assert ("dataset_info" if section == "dataset" else "model_info") in message


def test_a_hub_id_with_its_commit_loads(read):
    changes = {"backbone.model": "some/model", "backbone.revision": COMMIT}
    assert read(changed(changes)).backbone.revision == COMMIT


@pytest.mark.parametrize("model", ["/models/bert", "../bert", "./bert", "data/bert/x", "data/rawest/bert", "a b", ""])
def test_a_model_outside_data_raw_that_is_not_a_hub_id_is_refused(refusal, model):
    message = refusal(**{"backbone.model": model})
    mentions(message, f"'{model}'", "'large'", "data/raw/", "hub id")


def test_a_folder_outside_data_raw_is_not_read_as_a_hub_id(refusal, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("models/bert").mkdir(parents=True)
    message = refusal(**{"backbone.model": "models/bert", "backbone.revision": COMMIT})
    mentions(message, "'models/bert'", "'large'", "data/raw/")


@pytest.mark.parametrize("path", ["data/raw/../secret", "data/raw/a/../../../b"])
@pytest.mark.parametrize("key", ["teacher.models.large.model", "backbone.model"])
def test_a_model_path_outside_data_raw_is_refused(refusal, key, path):
    changes = {"teacher.config": None} if key.startswith("teacher") else {}
    mentions(refusal(**{**changes, key: path}), f"'{path}'", "not a path")


@pytest.mark.parametrize("key", ["train_file", "unlabelled_file", "validation_file"])
@pytest.mark.parametrize("path", [None, "", "train.json", "/data/raw/train.json", "data/raw/../train.json"])
def test_a_question_file_outside_data_raw_is_refused(refusal, key, path):
    if (key, path) == ("unlabelled_file", None):
        pytest.skip("it is optional")
    message = refusal(dataset={**FROM_FILES, key: path})
    assert "params.yaml: dataset: " in message
    assert "data/raw" in message
    assert (path or key) in message


def test_a_file_of_answers_needs_no_other_key(read):
    answers = {
        "llm": {"answers": "data/raw/a.jsonl"},
        "other": {"answers": "data/raw/b.json", "model": None, "seed": 1},
    }
    changes = {"teacher.models": answers, "teacher.config": None, "backbone.model": "data/raw/bert"}
    models = read(changed({**changes, "teacher.train.epochs": 0})).teacher.models
    assert (models["llm"].model, models["llm"].revision, models["llm"].answers) == (None, None, "data/raw/a.jsonl")


@pytest.mark.parametrize(
    ("teacher", "words"),
    [
        ({"model": "data/raw/bert", "revision": None, "answers": "data/raw/a.jsonl"}, "one of model and answers"),
        ({"model": None, "revision": None}, "one of model and answers"),
        ({"model": None, "revision": None, "answers": None}, "one of model and answers"),
        ({}, "teacher.models.llm"),
        ({"answers": "answers.jsonl"}, "'answers.jsonl' is not a path in data/raw"),
        ({"answers": "data/raw/../a.jsonl"}, "is not a path in data/raw"),
        ({"answers": "data/raw/a.jsonl", "revision": COMMIT}, "revision must be null"),
        ({"answers": 3}, "teacher.models.llm.answers"),
    ],
)
def test_a_teacher_is_a_model_or_a_file_of_answers(refusal, teacher, words):
    message = refusal(**{"teacher.models": {"llm": teacher}, "teacher.config": None, "backbone.model": "data/raw/bert"})
    assert "params.yaml: teacher.models.llm" in message and words in message


def test_a_file_of_answers_has_no_encoder(refusal):
    models = {"large": MINIMAL["teacher"]["models"]["large"], "llm": {"answers": "data/raw/a.jsonl"}}
    message = refusal(**{"teacher.models": models, "backbone.model": "llm"})
    assert "backbone.model" in message and "'llm'" in message


@pytest.mark.parametrize("share", [-0.1, 1.1, "5 %"])
def test_the_limit_of_unfound_answers_is_a_share(refusal, share):
    assert "logits.max_unfound" in refusal(**{"logits.max_unfound": share})


def test_a_path_as_dataset_source_is_refused_and_the_error_names_source_files(refusal):
    message = refusal(dataset={"source": "data/raw/train.json"})
    assert "data/raw/train.json" in message
    assert "files" in message


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"dataset": {"source": "synthetic"}}, "source 'synthetic' train_size validation_size"),
        ({"dataset.train_file": "data/raw/x.json"}, "train_file source 'files' 'synthetic'"),
        ({"dataset.unlabelled_file": "data/raw/x.json"}, "unlabelled_file source 'files' 'synthetic'"),
        ({"teacher.config": None}, "teacher: config 'new' null"),
        (
            {"teacher.models.large.model": "data/raw/teacher"},
            "teacher: config 'new' null",
        ),
        ({"teacher.train.epochs": 0}, "'new' random train.epochs 1"),
        ({"teacher.train.keep": "best"}, "train.keep last"),
        ({"teacher.train.evaluate_minutes": 4}, "evaluate_minutes null"),
        ({"teacher.models": {}}, "teacher.models: mapping"),
        ({"teacher.models": None}, "teacher.models: mapping None"),
        (
            {"teacher.models": {"large": None}},
            "teacher.models.large: mapping None",
        ),
        ({"teacher.models": {"-q": {"model": "new", "revision": None}}}, "teacher's name lower-case '-q'"),
        ({"backbone.model": "larg"}, "backbone.model 'larg' 'large' revision"),
        ({"teacher.models": {"a b": {}}}, "teacher.models.a b: teacher's name lower-case"),
        ({"teacher.models": {"student": {}}}, "teacher's name mean 'student'"),
        ({"train.epochs": 0}, "train.epochs 1"),
        ({"backbone.revision": COMMIT}, "backbone.model 'large' hub revision null"),
        ({"dataset.revision": COMMIT}, "dataset 'synthetic' hub revision null"),
        ({"dataset.config": "en"}, "config hub source 'synthetic'"),
        ({"dataset.validation_split": "test"}, "validation_split hub source 'synthetic'"),
        ({"tokenize.max_length": 600}, "tokenize.max_length 600 teacher.config max_position_embeddings"),
        ({"backbone.layers": [2, 0]}, "layers [2, 0] increasing"),
        ({"backbone.layers": [1, 1]}, "layers [1, 1] duplicates"),
        ({"backbone.layers": [-1, 1]}, "layers [-1, 1] counted 0"),
        ({"backbone.layers": [1, 12]}, "backbone.layers [1, 12] teacher large 0 11"),
    ],
)
def test_inconsistent_keys_are_refused(refusal, changes, expected):
    mentions(refusal(**changes), *expected.split())


@pytest.mark.parametrize("text", ["a: [1", "a: b: c", "a: !!python/object:os.system {}", "a: \x07"])
def test_broken_yaml_is_refused(read, text):
    with refused("params.yaml", "YAML") as raised:
        read(text)
    assert re.search("line|position", str(raised.value))


@pytest.mark.parametrize("text", ["", "- head", "linear"])
def test_yaml_that_is_not_a_mapping_is_refused(read, text):
    with refused("params.yaml", "mapping", "key"):
        read(text)


def test_a_file_in_another_encoding_is_refused(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_bytes("# Grün\n".encode("latin-1") + changed({}).encode())
    with refused("params.yaml", "UTF-8"):
        load(path)


def test_the_error_for_a_missing_file_names_the_command(tmp_path):
    with refused("params.yaml", "missing", "`cp presets/"):
        load(tmp_path / "params.yaml")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\nseed: 5\n", r'duplicate .*"seed" .*"5".* line 3\d'),
        ("\nx: " + "[\n " * 1000 + "]" * 1000, "nested"),
        ("\nx: " + "{a: " * 2000 + "}" * 2000, "nested"),
        ("\nx: " + "9" * 5000, "4300"),
        ("\nx: 2020-99-99", "month"),
        ("\nx: !!bool perhaps", "'perhaps'"),
        ("\n---\nseed: 5", "another document, line"),
    ],
    ids=["duplicate", "lists", "mappings", "digits", "date", "bool", "documents"],
)  # fmt: skip
def test_what_yaml_cannot_hold_is_one_line(read, text, expected):
    with pytest.raises(InputError, match=rf"params\.yaml .*YAML.*{expected}") as raised:
        read(changed({}) + text)
    assert len(str(raised.value)) < 350 and "\n" not in str(raised.value)


@pytest.mark.parametrize("key", ["head", "seed", "train.epochs", "backbone.layers", "teacher.config", "dataset", "x"])
def test_aliases_of_aliases_are_one_short_line(read, key):
    levels = "".join(f"\na{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 10)}]" for i in range(12))
    values = yaml.safe_load(changed({}))
    section, last = parent(values, key)
    section[last] = "BOMB"
    with pytest.raises(InputError, match=rf"params\.yaml: {key}") as raised:
        read(f"a0: &a0 [x, x]{levels}\n" + yaml.safe_dump(values).replace("BOMB", "*a12"))
    assert max(map(len, str(raised.value).split("; "))) < 400


@pytest.mark.parametrize("number", ["0300", "-0300", "+010", "00", "0_3"])
def test_a_number_that_starts_with_0_is_refused(read, number):
    with refused("params.yaml", "seed", "integer", f"'{number}'"):
        read(changed({"seed": "N"}).replace("N", number))


@pytest.mark.parametrize("digits", [10, 19, 20, 4000])
@pytest.mark.parametrize("key", ["train.epochs", "train.batch_size", "tokenize.max_length", "evaluate.n_best", "seed"])
def test_a_number_that_is_too_large_is_refused(refusal, read, key, digits):
    value = int("9" * digits)
    if key == "seed" and value < 2**63:
        assert read(changed({key: value})).seed == value
        return
    message = refusal(**{key: value})
    mentions(message, "params.yaml", key, "less than")
    assert len(message) < 300


@pytest.mark.parametrize(
    "text",
    ["0o300", "0x1F", "0b11", "1:30", "1_000", "yes", "on", "True", "tRue", "2e-5", "1e3", ".5", "5.", "~", "Null"]
    + ["2020-01-01", ".inf", "09.5", "1:30.5", "'0300'", "0", "-0", "1.5e3", "!!str 3", "[1, 2]", "{a: 1, b: [x]}"],
)  # fmt: skip
def test_values_are_those_that_dvc_reads(text):
    assert params.parse(f"a: {text}") == parse_yaml(f"a: {text}", "params.yaml")


@pytest.mark.parametrize("path", ["data/raw/a\0b", "data/raw/\x07", "data/raw/a\nb"])
@pytest.mark.parametrize("key", ["teacher.models.large.model", "backbone.model", "dataset.train_file"])
def test_a_path_with_a_control_character_is_refused(refusal, key, path):
    changes = {"teacher.config": None} if key.startswith("teacher") else {"dataset": dict(FROM_FILES)}
    message = refusal(**{**changes, key: path})
    mentions(message, "params.yaml", "control character")
    assert "\n" not in message


def test_the_notebook_trains_without_dropout():
    train = load(ROOT / "presets/notebook.yaml").train
    assert (train.dropout, train.attention_dropout) == (0.0, 0.0)


def test_no_parameter_has_a_name_that_dvc_leaves_out_of_the_key_of_its_run_cache():
    def names(section):
        for name, field in section.model_fields.items():
            yield name
            for part in (field.annotation, *get_args(field.annotation)):
                if isinstance(part, type) and issubclass(part, params.Section):
                    yield from names(part)

    found = list(names(params.Params))
    assert "intermediate_size" in found and "revision" in found
    assert not {"size", "nfiles"} & set(found)

import copy
import re
from pathlib import Path

import pytest
import yaml
from dvc.utils.serialize import parse_yaml

from pipeline import params
from pipeline.errors import InputError
from pipeline.names import HEADS, METRICS
from pipeline.params import load

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
        with pytest.raises(InputError) as refused:
            read(changed(changes))
        return str(refused.value)

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
    message = refusal(**{f"{section}.sise": 3})
    assert f"params.yaml: {section}.sise is not a parameter; {section} takes " in message


@pytest.mark.parametrize(
    ("key", "takes"),
    [
        ("hed", "the file takes head, seed, dataset"),
        ("teacher.train.epocs", "teacher.train takes epochs, max_steps"),
        ("teacher.models.large.modl", "teacher.models.large takes model, revision, seed"),
    ],
)
def test_an_unknown_key_at_any_level_is_refused(refusal, key, takes):
    assert f"params.yaml: {key} is not a parameter; {takes}" in refusal(**{key: 3})


@pytest.mark.parametrize(
    "key", ["head", "seed", "tokenize", "train.epochs", "teacher.models.large.revision", "teacher.train"]
)
def test_a_missing_key_is_named(read, key):
    values = copy.deepcopy(MINIMAL)
    section, last = parent(values, key)
    del section[last]
    with pytest.raises(InputError, match=rf"params\.yaml: {re.escape(key)} is missing"):
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
    assert re.search(rf"params\.yaml: {re.escape(key)}: .* \(it is {re.escape(repr(value))}\)$", message)


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
    assert all(key in message for key in ("head: ", "train.epochs: ", "distill.alhpa is not"))


@pytest.mark.parametrize(("text", "value"), [("2e-5", 2e-5), ("1E3", 1000.0), ("+2.e-5", 2e-5), ("3", 3.0)])
def test_a_number_without_a_dot_is_read_as_a_float(read, text, value):
    params = read(changed({"train.learning_rate": "RATE"}).replace("RATE", text))
    assert (params.train.learning_rate, type(params.train.learning_rate)) == (value, float)


@pytest.mark.parametrize("alpha", [0, 1, 0.5])
def test_a_range_includes_its_ends(read, alpha):
    assert read(changed({"distill.alpha": alpha})).distill.alpha == alpha


def test_a_stride_that_is_too_large_is_refused_with_the_maximum(refusal, read):
    assert read(changed({"tokenize.stride": 56})).tokenize.stride == 56
    message = refusal(**{"tokenize.stride": 57})
    assert "tokenize: stride 57" in message
    assert "max_length 64" in message
    assert "at most 56" in message


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
    assert re.search(rf"params\.yaml: {section}\b.*'some/\w+' needs revision: the 40 hexadecimal digits", message)
    assert ("dataset_info" if section == "dataset" else "model_info") in message


def test_a_hub_id_with_its_commit_loads(read):
    changes = {"backbone.model": "some/model", "backbone.revision": COMMIT}
    assert read(changed(changes)).backbone.revision == COMMIT


@pytest.mark.parametrize("model", ["/models/bert", "../bert", "./bert", "data/bert/x", "data/rawest/bert", "a b", ""])
def test_a_model_outside_data_raw_that_is_not_a_hub_id_is_refused(refusal, model):
    message = refusal(**{"backbone.model": model})
    assert f"'{model}' is not one of: 'large', a path that starts with data/raw/, a hub id" in message


def test_a_folder_outside_data_raw_is_not_read_as_a_hub_id(refusal, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("models/bert").mkdir(parents=True)
    message = refusal(**{"backbone.model": "models/bert", "backbone.revision": COMMIT})
    assert "'models/bert' is not one of" in message


@pytest.mark.parametrize("path", ["data/raw/../secret", "data/raw/a/../../../b"])
@pytest.mark.parametrize("key", ["teacher.models.large.model", "backbone.model"])
def test_a_model_path_outside_data_raw_is_refused(refusal, key, path):
    changes = {"teacher.config": None} if key.startswith("teacher") else {}
    assert "is not a path in data/raw" in refusal(**{**changes, key: path})


@pytest.mark.parametrize("key", ["train_file", "validation_file"])
@pytest.mark.parametrize("path", [None, "", "train.json", "/data/raw/train.json", "data/raw/../train.json"])
def test_a_question_file_outside_data_raw_is_refused(refusal, key, path):
    message = refusal(dataset={**FROM_FILES, key: path})
    assert "params.yaml: dataset: " in message
    assert "data/raw" in message
    assert (path or key) in message


def test_a_path_as_dataset_source_is_refused_and_the_error_names_source_files(refusal):
    message = refusal(dataset={"source": "data/raw/train.json"})
    assert "data/raw/train.json" in message
    assert "files" in message


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"dataset": {"source": "synthetic"}}, "source 'synthetic' needs train_size and validation_size"),
        ({"dataset.train_file": "data/raw/x.json"}, "need source 'files', not 'synthetic'"),
        ({"teacher.config": None}, "config must be set if a model is 'new'"),
        (
            {"teacher.models.large.model": "data/raw/teacher"},
            "config must be set if a model is 'new', and null otherwise",
        ),
        ({"teacher.train.epochs": 0}, "model 'new' has random weights: train.epochs must be at least 1"),
        ({"teacher.train.keep": "best"}, "train.keep must be last"),
        ({"teacher.train.evaluate_minutes": 4}, "evaluate_minutes null"),
        ({"teacher.models": {}}, "teacher.models: must be a mapping with at least one key"),
        ({"teacher.models": None}, "teacher.models: must be a mapping with at least one key (it is None)"),
        (
            {"teacher.models": {"large": None}},
            "teacher.models.large: must be a mapping with at least one key (it is None)",
        ),
        ({"teacher.models": {"-q": {"model": "new", "revision": None}}}, "a teacher's name has lower-case letters"),
        ({"backbone.model": "larg"}, "backbone.model: 'larg' is not 'large'; hub id 'larg' needs revision"),
        ({"teacher.models": {"a b": {}}}, "teacher.models.a b: a teacher's name has lower-case letters"),
        ({"teacher.models": {"student": {}}}, "and is not student or mean (it is 'student')"),
        ({"train.epochs": 0}, "train.epochs must be at least 1"),
        ({"backbone.revision": COMMIT}, "backbone.model: 'large' is not a hub id, so its revision must be null"),
        ({"dataset.revision": COMMIT}, "dataset: 'synthetic' is not a hub id, so its revision must be null"),
        ({"dataset.config": "en"}, "config needs a hub data set as source, not 'synthetic'"),
        ({"dataset.validation_split": "test"}, "validation_split needs a hub data set as source, not 'synthetic'"),
        ({"tokenize.max_length": 600}, "tokenize.max_length 600 is more than teacher.config's max_position_embeddings"),
        ({"backbone.layers": [2, 0]}, "layers [2, 0] must be in increasing order, without duplicates"),
        ({"backbone.layers": [1, 1]}, "layers [1, 1] must be in increasing order, without duplicates"),
        ({"backbone.layers": [-1, 1]}, "layers [-1, 1] are counted from 0"),
        ({"backbone.layers": [1, 12]}, "backbone.layers [1, 12]: teacher large has layers 0 to 11"),
    ],
)
def test_inconsistent_keys_are_refused(refusal, changes, expected):
    assert expected in refusal(**changes)


@pytest.mark.parametrize("text", ["a: [1", "a: b: c", "a: !!python/object:os.system {}", "a: \x07"])
def test_broken_yaml_is_refused(read, text):
    with pytest.raises(InputError, match=r"params\.yaml is not YAML in UTF-8: .*line|position"):
        read(text)


@pytest.mark.parametrize("text", ["", "- head", "linear"])
def test_yaml_that_is_not_a_mapping_is_refused(read, text):
    with pytest.raises(InputError, match=r"params\.yaml: the file: must be a mapping with at least one key"):
        read(text)


def test_a_file_in_another_encoding_is_refused(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_bytes("# Grün\n".encode("latin-1") + changed({}).encode())
    with pytest.raises(InputError, match=r"params\.yaml is not"):
        load(path)


def test_the_error_for_a_missing_file_names_the_command(tmp_path):
    with pytest.raises(InputError, match=r"params\.yaml is missing; `cp presets/"):
        load(tmp_path / "params.yaml")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\nseed: 5\n", r'is not YAML in UTF-8: found duplicate key "seed" with value "5" \(.*\), line 3\d'),
        ("\nx: " + "[\n " * 1000 + "]" * 1000, "is not YAML in UTF-8: it is nested too deeply"),
        ("\nx: " + "{a: " * 2000 + "}" * 2000, "is not YAML in UTF-8: it is nested too deeply"),
        ("\nx: " + "9" * 5000, r"is not YAML in UTF-8: Exceeds the limit \(4300 digits\)"),
        ("\nx: 2020-99-99", "is not YAML in UTF-8: month must be in"),
        ("\nx: !!bool perhaps", "is not YAML in UTF-8: 'perhaps'"),
        ("\n---\nseed: 5", "is not YAML in UTF-8: but found another document, line"),
    ],
    ids=["duplicate", "lists", "mappings", "digits", "date", "bool", "documents"],
)  # fmt: skip
def test_what_yaml_cannot_hold_is_one_line(read, text, expected):
    with pytest.raises(InputError, match=rf"params\.yaml {expected}") as refused:
        read(changed({}) + text)
    assert len(str(refused.value)) < 350 and "\n" not in str(refused.value)


@pytest.mark.parametrize("key", ["head", "seed", "train.epochs", "backbone.layers", "teacher.config", "dataset", "x"])
def test_aliases_of_aliases_are_one_short_line(read, key):
    levels = "".join(f"\na{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 10)}]" for i in range(12))
    values = yaml.safe_load(changed({}))
    section, last = parent(values, key)
    section[last] = "BOMB"
    with pytest.raises(InputError, match=rf"params\.yaml: {key}") as refused:
        read(f"a0: &a0 [x, x]{levels}\n" + yaml.safe_dump(values).replace("BOMB", "*a12"))
    assert max(map(len, str(refused.value).split("; "))) < 400


@pytest.mark.parametrize("number", ["0300", "-0300", "+010", "00", "0_3"])
def test_a_number_that_starts_with_0_is_refused(read, number):
    with pytest.raises(
        InputError, match=rf"params\.yaml: seed: Input should be a valid integer \(it is '{re.escape(number)}'\)"
    ):
        read(changed({"seed": "N"}).replace("N", number))


@pytest.mark.parametrize("digits", [10, 19, 20, 4000])
@pytest.mark.parametrize("key", ["train.epochs", "train.batch_size", "tokenize.max_length", "evaluate.n_best", "seed"])
def test_a_number_that_is_too_large_is_refused(refusal, read, key, digits):
    value = int("9" * digits)
    if key == "seed" and value < 2**63:
        assert read(changed({key: value})).seed == value
        return
    message = refusal(**{key: value})
    assert f"params.yaml: {key}: Input should be less than " in message and len(message) < 300


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
    assert re.search(r"params\.yaml: .*has a control character", message) and "\n" not in message


def test_the_notebook_trains_without_dropout():
    train = load(ROOT / "presets/notebook.yaml").train
    assert (train.dropout, train.attention_dropout) == (0.0, 0.0)

"""The stage `shrink` on a very small corpus: sizes, what is removed, the cache, and a trained student as the source."""

import copy
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, BertConfig, BertForQuestionAnswering

from pipeline import paths
from pipeline.about import read_about
from pipeline.imports import ROOT
from pipeline.logits.targets import LAYOUT
from pipeline.models import encoders
from pipeline.models.student import Student
from pipeline.questions import tokenization
from pipeline.questions.features import read_features
from pipeline.questions.records import read_records
from pipeline.shrinking import importance
from pipeline.stages import backbone, evaluate, logits, shrink, tokenize, train
from tests import tiny
from tests.tiny import content, run_all, write_params
from tests.words import mentions, refused

pytestmark = pytest.mark.slow
SPLITS = ("train", "validation")
MANY, USED = {"model": "data/raw/many", "layers": None}, {"student_vocabulary": "used"}
CONFIG = {**tiny.TINY["teacher"]["config"], "intermediate_size": 128}


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A workspace in which the data stages ran, with 2 layers of 128 units. Tests must not change it."""
    folder = tmp_path_factory.mktemp("wide")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        monkeypatch.setenv(paths.CACHE_VARIABLE, str(folder / "cache"))
        change()
        run_all(*tiny.DATA_STAGES)
    return folder


@pytest.fixture
def with_backbone(workspace, wide):
    shutil.copytree(wide, workspace, dirs_exist_ok=True)
    return workspace


def change(layers=None, units=None, **changes):
    """Write params.yaml with these sizes, and all layers of the teacher as the backbone."""
    sizes = {"layers": layers, "intermediate_size": units}
    write_params(**{"teacher": {"config": CONFIG}, "backbone": {"layers": None}, "shrink": sizes, **changes})


def encoder_config():
    return json.loads((paths.ENCODER / "config.json").read_text())


def test_without_sizes_the_encoder_is_the_backbone(with_backbone):
    copied = content(paths.ENCODER)
    assert {name.removeprefix(str(paths.ENCODER)): value for name, value in copied.items()} == {
        name.removeprefix(str(paths.BACKBONE)): value for name, value in content(paths.BACKBONE).items()
    }


def test_without_sizes_neither_torch_nor_transformers_is_imported():
    code = "import sys, pipeline.stages.shrink; sys.exit(bool({'torch', 'transformers'} & sys.modules.keys()))"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_the_encoder_gets_the_sizes_and_what_was_removed_is_printed_and_recorded(with_backbone, capsys):
    change(layers=1, units=32)
    run_all(shrink, train, evaluate)
    printed = capsys.readouterr().out
    config = encoder_config()
    assert (config["num_hidden_layers"], config["intermediate_size"], config["hidden_size"]) == (1, 32, 16)
    loaded = AutoModel.from_pretrained(paths.ENCODER)
    whole = AutoModel.from_pretrained(paths.BACKBONE)
    assert loaded.encoder.layer[0].output.dense.weight.shape == (16, 32)
    unit = 16 + 1 + 16  # weights of a unit: its inputs, its bias, its outputs
    layer = sum(weight.numel() for weight in whole.encoder.layer[0].parameters())
    removed = layer + 96 * unit
    counts = [sum(weight.numel() for weight in model.parameters()) for model in (loaded, whole)]
    assert counts[1] - counts[0] == removed
    about = read_about(paths.STUDENT).shrunk
    assert about in printed
    mentions(about, "large", "2 layers", "128 units", "1 layers", "32 units", "Fisher")
    assert json.loads(paths.EVAL_METRICS.read_text())["parameters"] < counts[1]


def test_the_same_seed_gives_the_same_bytes_with_and_without_the_cache(with_backbone, monkeypatch):
    change(units=32)
    shrink.main()
    first = content(paths.ENCODER)
    monkeypatch.setenv(paths.CACHE_VARIABLE, str(with_backbone / "another cache"))
    shrink.main()
    assert content(paths.ENCODER) == first
    monkeypatch.setattr(importance, "measure", None)
    shrink.main()
    assert content(paths.ENCODER) == first


def test_another_size_in_one_step_needs_no_measurement(with_backbone, monkeypatch):
    change(units=64)
    shrink.main()
    monkeypatch.setattr(importance, "measure", None)
    change(units=96)
    shrink.main()
    assert encoder_config()["intermediate_size"] == 96


def test_a_damaged_measurement_is_repeated(with_backbone, capsys):
    change(units=64)
    shrink.main()
    first = content(paths.ENCODER)
    (file,) = paths.importance_cache().glob("*/*.safetensors")
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    shrink.main()
    assert content(paths.ENCODER) == first
    assert str(file) in capsys.readouterr().err


def test_layers_alone_are_the_first_ones(with_backbone):
    change(layers=1)
    shrink.main()
    kept, whole = (load_file(folder / "model.safetensors") for folder in (paths.ENCODER, paths.BACKBONE))
    assert kept.keys() == {name for name in whole if "layer.1." not in name}
    assert all(torch.equal(weight, whole[name]) for name, weight in kept.items())


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"layers": 2}, ["shrink.layers 2", "2 layers", "1 to 1"]),
        ({"units": 128}, ["shrink.intermediate_size 128", "128 units", "up to 96"]),
        ({"units": 33}, ["shrink.intermediate_size", "multiple of 32"]),
        ({"layers": 1, "backbone": {"layers": [1]}}, ["shrink.layers 1", "backbone.layers"]),
    ],
)
def test_sizes_that_cannot_be_are_refused(with_backbone, sizes, words):
    change(**sizes)
    with refused(*words):
        shrink.main()


def test_an_encoder_without_a_head_is_measured_by_its_weights(with_backbone, capsys):
    change(units=64, backbone={"layers": [0]})
    run_all(backbone, shrink)
    assert encoders.read_head(paths.ENCODER) is None
    assert "units by weights" in capsys.readouterr().out


def test_pruning_after_it_sets_a_share_of_the_smaller_matrices_to_zero(with_backbone):
    change(units=64, prune={"amount": 0.5})
    run_all(shrink, train)
    weight = load_file(paths.STUDENT / "model.safetensors")["bert.encoder.layer.1.output.dense.weight"]
    assert weight.shape == (16, 64)
    assert (weight == 0).float().mean() == 0.5


@pytest.mark.parametrize("head", ["linear", "cnn3"])
def test_a_trained_student_is_a_source_with_its_head(with_backbone, head, monkeypatch):
    change(head=head)
    run_all(train)
    dense = Student.load(paths.STUDENT)
    shutil.copytree(paths.STUDENT, "data/raw/my-student")
    windows = content(paths.features("student", "train").parent)
    change(head=head, units=64, backbone={"layers": None, "model": "data/raw/my-student"})
    run_all(tokenize, backbone, shrink)
    assert content(paths.features("student", "train").parent) == windows
    assert "answering" not in encoder_config()
    saved = encoders.read_head(paths.ENCODER)
    assert saved.name == head
    assert all(torch.equal(weight, dense.head.state_dict()[name]) for name, weight in saved.weights.items())
    assert "Fisher" in read_about(paths.ENCODER).shrunk
    started = []
    monkeypatch.setattr(train, "on_device", lambda made: started.append(copy.deepcopy(made.head.state_dict())) or made)
    train.main()
    assert all(torch.equal(weight, dense.head.state_dict()[name]) for name, weight in started[0].items())
    student = Student.load(paths.STUDENT)
    assert student.config.encoder_config.intermediate_size == 64
    assert json.loads((paths.STUDENT / "config.json").read_text())["head"] == head


def test_a_student_starts_with_the_head_of_the_same_name_only(with_backbone):
    change()
    run_all(train)
    dense = Student.load(paths.STUDENT)
    saved = encoders.SavedHead("linear", dense.head.state_dict())
    same = Student.from_encoder(dense.encoder, "linear", 1, saved)
    assert torch.equal(same.head.output.weight, dense.head.output.weight)
    other, new = (Student.from_encoder(dense.encoder, "mlp", 1, each) for each in (saved, None))
    assert torch.equal(other.head.output.weight, new.head.output.weight)


@pytest.fixture
def with_many_words(with_backbone):
    """As backbone a folder with the words of the validation too; the windows that the student has with all of them."""
    records = [record for split in SPLITS for record in read_records(paths.DATASET / f"{split}.parquet")]
    tokenizer = tokenization.train(
        [text for record in records for text in (record["context"], record["question"])], 900
    )
    tokenizer.save_pretrained("data/raw/many")
    BertForQuestionAnswering(BertConfig(vocab_size=len(tokenizer), **CONFIG)).save_pretrained("data/raw/many")
    change(backbone=MANY)
    run_all(tokenize)
    return {split: read_features(paths.features("student", split)) for split in SPLITS}


def test_a_student_with_fewer_word_pieces_is_trained_on_the_same_rows(with_many_words):
    change(backbone=MANY, tokenize=USED)
    run_all(tokenize, logits, backbone, shrink)
    kept = json.loads(paths.KEPT_TOKENS.read_text())
    part = {split: read_features(paths.features("student", split)) for split in SPLITS}
    np.testing.assert_array_equal(np.array(kept)[part["train"].input_ids], with_many_words["train"].input_ids)
    for name in LAYOUT:
        np.testing.assert_array_equal(getattr(part["train"], name), getattr(with_many_words["train"], name))
    # words that the training questions do not have
    assert len(part["validation"].input_ids) > len(with_many_words["validation"].input_ids)
    config, weights = encoder_config(), load_file(paths.ENCODER / "model.safetensors")
    before, name = load_file(paths.BACKBONE / "model.safetensors"), "embeddings.word_embeddings.weight"
    assert config["vocab_size"] == len(kept) < len(before[name])
    assert torch.equal(weights[name], before[name][kept])
    assert all(torch.equal(weight, before[key]) for key, weight in weights.items() if key != name)
    assert f"{len(kept):,} word pieces" in read_about(paths.ENCODER).shrunk
    run_all(train, evaluate)
    student = Student.load(paths.STUDENT)
    assert student.config.encoder_config.vocab_size == len(kept) == len(tokenization.load(paths.STUDENT))
    scores = json.loads(paths.EVAL_METRICS.read_text())
    assert scores["questions"] == 8 and scores["teacher_kl"] > 0


def test_units_are_measured_with_the_word_pieces_of_the_student(with_many_words):
    change(backbone=MANY, tokenize=USED, units=64)
    run_all(tokenize, logits, backbone, shrink)
    config = encoder_config()
    assert config["intermediate_size"] == 64
    assert config["vocab_size"] == len(json.loads(paths.KEPT_TOKENS.read_text()))

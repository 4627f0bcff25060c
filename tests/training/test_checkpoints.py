import shutil

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForQuestionAnswering

from pipeline import imports
from pipeline.models.heads import HEADS
from pipeline.models.student import Student
from pipeline.training.checkpoints import Checkpoint, run_key
from pipeline.training.optimizer import load_optimizer_tensors, optimizer_tensors
from tests.damage import flip_bit
from tests.training.small import SETTINGS, model, run, weights
from tests.words import mentions


@pytest.mark.slow
def test_a_run_key_depends_on_everything_that_defines_the_run():
    def student(head="linear", seed=0, **changes):
        sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
        torch.manual_seed(0)
        encoder = BertForQuestionAnswering(BertConfig(vocab_size=9, **{**sizes, **changes})).base_model
        return Student.from_encoder(encoder, head, seed)

    data = ("a0", "b1")
    key = run_key("train", {"x": 1}, student(), *data)
    assert key == run_key("train", {"x": 1}, student(), *data)
    others = [
        run_key("train", {"x": 2}, student(), *data),
        run_key("train", {"x": 1}, student(seed=1), *data),
        run_key("train", {"x": 1}, student(), "a0", "b2"),
        *(run_key("train", {"x": 1}, student(head), *data) for head in HEADS if head != "linear"),
        *(
            run_key("train", {"x": 1}, student(**{name: value}), *data)
            for name, value in (("num_attention_heads", 4), ("hidden_dropout_prob", 0.0), ("hidden_act", "relu"))
        ),
    ]
    assert len({key, *others}) == 1 + 3 + len(HEADS) - 1 + 3


@pytest.mark.slow
def test_a_change_of_code_outside_the_stage_resumes_and_one_inside_does_not(tmp_path, monkeypatch):
    shutil.copytree(imports.ROOT / "pipeline", tmp_path / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(imports, "ROOT", tmp_path)

    def checkpoint():
        return Checkpoint(tmp_path / "cache", run_key("train", {}, model()))

    checkpoint().write({}, {"steps": 7})
    for unchanged in ("web/service/limits.py", "comparison/statistics.py", "log.py", "stages/evaluate.py"):
        with open(tmp_path / "pipeline" / unchanged, "a") as file:
            file.write("# a comment")
        assert checkpoint().read() == ({}, {"steps": 7})
    for changed in ("training/losses.py", "stages/train.py", "models/heads.py"):
        before = checkpoint()
        before.write({}, {})
        with open(tmp_path / "pipeline" / changed, "a") as file:
            file.write("# a comment")
        assert before.read() and checkpoint().read() is None


def test_tied_weights_are_saved(tmp_path):
    tied = torch.nn.Linear(3, 3)
    checkpoint = Checkpoint(tmp_path, "key")
    checkpoint.write({"a": tied.weight, "b": tied.weight, "c": tied.bias}, {})
    tensors, _ = checkpoint.read()
    assert torch.equal(tensors["a"], tied.weight) and torch.equal(tensors["b"], tied.weight)


def test_a_checkpoint_is_restored_exactly(tmp_path):
    layer = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.randn(4, 3)).sum().backward()
    optimizer.step()
    checkpoint = Checkpoint(tmp_path, "key")
    assert checkpoint.read() is None
    checkpoint.write(optimizer_tensors(optimizer), {"seconds": 0.1 + 0.2})
    tensors, values = checkpoint.read()
    again = torch.optim.AdamW(layer.parameters())
    load_optimizer_tensors(again, tensors)
    assert values == {"seconds": 0.1 + 0.2}
    for i, entry in optimizer.state_dict()["state"].items():
        for name, value in entry.items():
            assert torch.equal(again.state_dict()["state"][i][name], value)


@pytest.fixture
def checkpoint(tmp_path):
    checkpoint = Checkpoint(tmp_path, "key")
    checkpoint.write({"a": torch.arange(6.0).view(2, 3), "b": torch.tensor(3.0)}, {"seconds": 0.1, "steps": 12})
    return checkpoint


@pytest.mark.parametrize("position", [i / 60 for i in range(60)])
def test_a_flipped_bit_makes_a_checkpoint_unreadable(checkpoint, position, capsys):
    flip_bit(checkpoint.path, position)
    assert checkpoint.read() is None
    mentions(capsys.readouterr().err, "warning", checkpoint.path, "step 0")


@pytest.mark.parametrize(
    "change",
    [lambda tensors: tensors.pop("model.qa_outputs.bias"), lambda tensors: tensors["model.qa_outputs.bias"].resize_(1)],
    ids=["missing", "misshaped"],
)
def test_a_run_starts_again_if_tensors_of_its_checkpoint_are_missing_or_misshaped(features, tmp_path, change, capsys):
    checkpoint = Checkpoint(tmp_path, "run")
    expected, _ = run(features, SETTINGS.model_copy(update={"max_steps": 3}), checkpoint=checkpoint)
    with safe_open(checkpoint.path, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(checkpoint.path)
    change(tensors)
    save_file(tensors, checkpoint.path, metadata)
    again, result = run(features, SETTINGS.model_copy(update={"max_steps": 3}), checkpoint=checkpoint)
    printed = capsys.readouterr()
    assert "step 0" in printed.err and "resuming" not in printed.out
    assert torch.equal(weights(again), weights(expected)) and result.steps == 3
    assert checkpoint.read()[1]["steps"] == 3

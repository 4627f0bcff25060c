import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file
from transformers import (
    AutoModelForQuestionAnswering,
    BertConfig,
    BertForQuestionAnswering,
    DistilBertConfig,
    DistilBertForQuestionAnswering,
)

from pipeline.errors import InputError
from pipeline.models import encoders
from pipeline.models.architectures import uses_segments
from pipeline.models.heads import HEADS
from pipeline.models.student import Student
from tests.words import refused

IDS = torch.tensor([[2, 7, 3, 9, 8, 3], [2, 11, 3, 5, 3, 0]])
MASK = torch.tensor([[1] * 6, [1] * 5 + [0]])


def bert(layers=3, **config):
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 20}
    return BertForQuestionAnswering(BertConfig(num_hidden_layers=layers, **sizes, **config)).eval()


def distilbert():
    return DistilBertForQuestionAnswering(DistilBertConfig(n_layers=2, dim=16, hidden_dim=32, n_heads=2, vocab_size=20))


@pytest.mark.parametrize("head", HEADS)
def test_saved_and_loaded_students_agree(head, tmp_path):
    student = Student.from_encoder(bert().base_model, head, seed=1).eval()
    student.save_pretrained(tmp_path)
    loaded = Student.load(tmp_path).eval()
    assert loaded.config.head == head
    assert student.state_dict().keys() == loaded.state_dict().keys()
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in student.state_dict().items())
    torch.testing.assert_close(loaded(IDS, MASK).start_logits, student(IDS, MASK).start_logits)
    torch.testing.assert_close(loaded(IDS, MASK).end_logits, student(IDS, MASK).end_logits)


@pytest.mark.parametrize("head", ["linear", "mlp"])
def test_how_a_student_answers_is_stored_with_it(head, tmp_path):
    student = Student.from_encoder(bert().base_model, head, seed=1)
    assert student.config.answering == {}
    student.config.answering = {"null_threshold": -1.25, "max_length": 64}
    student.save_pretrained(tmp_path)
    loaded = Student.from_pretrained(tmp_path)
    assert isinstance(loaded, Student)
    assert loaded.config.answering == {"null_threshold": -1.25, "max_length": 64}
    assert not hasattr(loaded.config.encoder_config, "answering")


@pytest.mark.parametrize("head", HEADS)
def test_transformers_loads_a_student_to_the_bit(head, tmp_path):
    student = Student.from_encoder(bert().base_model, head, seed=1).eval()
    student.save_pretrained(tmp_path)
    loaded = AutoModelForQuestionAnswering.from_pretrained(tmp_path).eval()
    assert type(loaded) is (BertForQuestionAnswering if head == "linear" else Student)
    segments = torch.tensor([[0, 0, 0, 1, 1, 1]] * 2)
    inputs = {"input_ids": IDS, "attention_mask": MASK, "token_type_ids": segments}
    with torch.no_grad():
        expected, found = student(**inputs), loaded(**inputs)
    if head != "linear":
        assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in student.state_dict().items())
    # MKL's products depend on how weights are aligned in memory
    torch.testing.assert_close(found.start_logits, expected.start_logits, atol=1e-6, rtol=0)
    torch.testing.assert_close(found.end_logits, expected.end_logits, atol=1e-6, rtol=0)


@pytest.mark.slow
def test_a_linear_student_works_where_this_package_cannot_be_imported(tmp_path):
    student = Student.from_encoder(bert(hidden_dropout_prob=0.5).base_model, "linear", seed=1).eval()
    student.config.answering = {"null_threshold": None}
    student.save_pretrained(tmp_path / "student")
    segments = torch.tensor([[0, 0, 0, 1, 1, 1]] * 2)
    with torch.no_grad():
        expected = student(IDS, MASK, segments)
    save_file({name: logits.clone() for name, logits in expected.items()}, tmp_path / "expected.safetensors")
    code = f"""
import sys
sys.modules["pipeline"] = None  # an import of it fails
import torch
from safetensors.torch import load_file
from transformers import AutoModelForQuestionAnswering
model, loading = AutoModelForQuestionAnswering.from_pretrained("student", output_loading_info=True)
assert not loading["missing_keys"] and not loading["unexpected_keys"], loading
assert not model.training
inputs = dict(input_ids={IDS.tolist()}, attention_mask={MASK.tolist()}, token_type_ids={segments.tolist()})
with torch.no_grad():
    output = model(**{{name: torch.tensor(value) for name, value in inputs.items()}})
expected = load_file("expected.safetensors")
torch.testing.assert_close(output.start_logits, expected["start_logits"], atol=1e-6, rtol=0)
torch.testing.assert_close(output.end_logits, expected["end_logits"], atol=1e-6, rtol=0)
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=environment)


def test_a_model_that_is_no_student_is_refused(tmp_path):
    bert().save_pretrained(tmp_path)
    with refused("no student", "model_type", "'bert'", "`answering`"):
        Student.load(tmp_path)


@pytest.mark.parametrize("make", [bert, distilbert])
def test_a_linear_student_with_the_teachers_output_is_the_teacher(make):
    teacher = make().eval()
    student = Student.from_encoder(teacher.base_model, "linear", seed=1).eval()
    student.head.output.load_state_dict(teacher.qa_outputs.state_dict())
    torch.testing.assert_close(student(IDS, MASK).end_logits, teacher(IDS, MASK).end_logits)


def test_the_seed_decides_the_heads_weights():
    first, again, other = (Student.from_encoder(bert().base_model, "mlp", seed).head.state_dict() for seed in (1, 1, 2))
    assert torch.equal(first["inner.weight"], again["inner.weight"])
    assert not torch.equal(first["inner.weight"], other["inner.weight"])


@pytest.mark.parametrize("head", HEADS)
def test_padding_does_not_change_a_students_logits(head):
    student = Student.from_encoder(bert().base_model, head, seed=1).eval()
    alone = student(IDS[1:, :5], MASK[1:, :5]).start_logits[0]
    torch.testing.assert_close(student(IDS, MASK).start_logits[1, :5], alone, atol=1e-5, rtol=0)


def test_keep_layers_selects_layers_in_order():
    whole = bert(layers=4).base_model
    picked = encoders.keep_layers(bert(layers=4).base_model, [0, 2])
    assert len(picked.encoder.layer) == 2
    for layer, original in zip(picked.encoder.layer, (whole.encoder.layer[0], whole.encoder.layer[2]), strict=True):
        assert all(torch.equal(weight, original.state_dict()[name]) for name, weight in layer.state_dict().items())
    assert torch.equal(picked.embeddings.word_embeddings.weight, whole.embeddings.word_embeddings.weight)
    assert picked.config.num_hidden_layers == 2
    assert encoders.keep_layers(distilbert().base_model, [1]).config.n_layers == 1


def test_a_layer_out_of_range_raises():
    with refused("backbone.layers [0, 3]", "0 to 2"):
        encoders.keep_layers(bert().base_model, [0, 3])


def test_only_models_with_segment_embeddings_use_segments():
    assert uses_segments(bert())
    assert uses_segments(Student.from_encoder(bert().base_model, "linear", 0))
    assert not uses_segments(distilbert())
    assert not uses_segments(bert(type_vocab_size=1))


def test_the_fingerprint_depends_on_weights_and_config_but_not_on_files(tmp_path):
    model = bert()
    model.save_pretrained(tmp_path / "one")
    model.save_pretrained(tmp_path / "split", max_shard_size="5KB")
    assert len(list((tmp_path / "split").glob("*.safetensors"))) > 1
    original = encoders.fingerprint(tmp_path / "one")
    assert encoders.fingerprint(tmp_path / "split") == original
    model.qa_outputs.bias.data[0] += 1e-3
    model.save_pretrained(tmp_path / "weights")
    model.qa_outputs.bias.data[0] -= 1e-3
    model.config.hidden_act = "relu"
    model.save_pretrained(tmp_path / "config")
    assert len({original, *(encoders.fingerprint(tmp_path / name) for name in ("weights", "config"))}) == 3


def test_a_teacher_without_a_trained_output_layer_raises(tmp_path):
    bert().base_model.save_pretrained(tmp_path)
    with refused(tmp_path, "no trained", "qa_outputs.weight", "teacher.train.epochs"):
        encoders.load_qa_model(tmp_path)
    assert encoders.load_qa_model(tmp_path, trained_output=False).qa_outputs.out_features == 2


def test_pickled_weights_raise(tmp_path):
    model = bert()
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match="safetensors"):
        encoders.load_qa_model(tmp_path)


def test_an_empty_folder_raises(tmp_path):
    with refused(tmp_path / "config.json", "missing"):
        encoders.load_qa_model(tmp_path)


@pytest.mark.parametrize("config", [{"hidden": 16}, {"hidden_size": 10, "num_attention_heads": 3}])
def test_an_invalid_config_raises(config):
    with pytest.raises(InputError, match=r"teacher\.config"):
        encoders.new_qa_model(config, vocab_size=20, seed=0)


@pytest.mark.parametrize("head", ["linear", "lstm64"])
def test_a_students_folder_is_split_into_encoder_and_head(head, tmp_path):
    student = Student.from_encoder(bert().base_model, head, seed=1)
    student.config.answering = {"max_length": 64}
    student.save_pretrained(tmp_path)
    encoder, saved = encoders.load_with_head(tmp_path)
    assert type(encoder).__name__ == "BertModel" and not hasattr(encoder.config, "answering")
    assert saved.name == head
    for part, weights in ((student.encoder, encoder.state_dict()), (student.head, saved.weights)):
        expected = part.state_dict()
        assert weights.keys() == expected.keys()
        assert all(torch.equal(weight, expected[name]) for name, weight in weights.items())


def test_an_encoder_without_a_trained_output_layer_has_no_head(tmp_path):
    bert().base_model.save_pretrained(tmp_path / "encoder")
    bert().save_pretrained(tmp_path / "whole")
    assert encoders.load_with_head(tmp_path / "encoder")[1] is None
    saved = encoders.load_with_head(tmp_path / "whole")[1]
    assert saved.name == "BertForQuestionAnswering" and saved.weights.keys() == {"qa_outputs.weight", "qa_outputs.bias"}


def test_a_student_with_an_unknown_head_is_refused(tmp_path):
    Student.from_encoder(bert().base_model, "mlp", seed=1).save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    file.write_text(file.read_text().replace('"mlp"', '"gone"'))
    with refused("config.json", "gone", "mlp"):
        encoders.load_with_head(tmp_path)

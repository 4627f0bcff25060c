"""Every architecture that transformers has for question answering either works or is refused by name."""

import copy
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.logits.extraction import as_rows, check_finite, teacher_rows
from pipeline.models import encoders, hardware, inference
from pipeline.models.architectures import FLOAT32_ONLY, PADDING, REFUSED, max_length
from pipeline.models.batching import pad
from pipeline.models.hardware import BATCH_TOKENS_VARIABLE
from pipeline.models.inference import model_inputs
from pipeline.models.student import Student
from pipeline.params import Train
from pipeline.training.loop import Trainer
from pipeline.training.losses import span_cross_entropy
from tests.models import architectures
from tests.models.architectures import MODEL_TYPES, PAD
from tests.words import refused

LENGTHS = [28, 7, 19, 27]
WORKING = [name for name in MODEL_TYPES if name not in REFUSED]
# their output layers are more than one linear layer
OTHER_OUTPUTS = ["big_bird", "modernbert", "splinter"]
TABLE = (Path(__file__).parents[2] / "docs/models.md").read_text()


@torch.inference_mode()
def in_the_library(model, features, names):
    """(2, T) start and end logits of each window alone, from the inputs that the model type's tokenizer returns."""
    logits = []
    for i in range(len(features)):
        ids, segments = (
            torch.from_numpy(values[features.tokens(i)][None].astype(np.int64))
            for values in (features.input_ids, features.token_type_ids)
        )
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": segments}
        output = model(**{name: inputs[name] for name in names})
        logits.append(torch.cat([output.start_logits, output.end_logits]))
    return torch.cat(logits, dim=1).numpy()


@pytest.fixture
def predict(monkeypatch):
    """(2, T) logits from the pipeline, in batches of at most so many tokens."""

    def predict(model, features, budget):
        monkeypatch.setenv(BATCH_TOKENS_VARIABLE, str(budget))
        return np.stack(inference.predict(model, features, PAD))

    return predict


@pytest.mark.parametrize("model_type", WORKING)
def test_logits_alone_padded_and_in_batches_are_those_of_the_library(model_type, predict):
    features = architectures.windows(model_type, LENGTHS)
    expected = in_the_library(architectures.model(model_type), features, architectures.inputs_of(model_type))
    answers = np.abs(expected[:, features.answer_mask]).max()
    assert 0.1 < answers < 100
    model = architectures.model(model_type)
    inference.check_windows(model, features, ["a question"] * len(features), PAD)
    for budget in (1, 60, 1000):
        np.testing.assert_allclose(predict(model, features, budget), expected, atol=1e-5 * answers, rtol=0)
    rough = predict(encoders.bfloat16_encoder(model), features, 1000)
    assert np.isfinite(rough).all()
    for name, buffer in model.named_buffers():
        assert not name.endswith("inv_freq") or buffer.dtype == torch.float32
    rows = teacher_rows(model, features, np.arange(len(features)), PAD, "float32")
    assert rows.precision == ("bfloat16",)


@pytest.mark.parametrize("model_type", WORKING)
def test_a_student_of_any_encoder_equals_its_teacher_with_the_same_output_layer(model_type, predict):
    features = architectures.windows(model_type, LENGTHS)
    teacher = architectures.model(model_type)
    student = Student.from_encoder(teacher.base_model, "linear", 0)
    if model_type not in OTHER_OUTPUTS:
        student.head.output.load_state_dict(teacher.qa_outputs.state_dict())
        expected = predict(teacher, features, 1)
    else:
        expected = predict(student, features, 1)
    for budget in (1, 1000):
        np.testing.assert_allclose(predict(student, features, budget), expected, atol=1e-4, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("model_type", WORKING)
def test_a_linear_student_is_saved_as_the_librarys_model_and_loads_again(model_type, predict, tmp_path):
    features = architectures.windows(model_type, LENGTHS)
    student = Student.from_encoder(architectures.model(model_type).base_model, "linear", 0)
    student.config.answering = {"null_threshold": 1.5}
    expected = predict(student, features, 1000)
    own = student.as_own_class()
    assert (own is None) == (model_type in OTHER_OUTPUTS)
    if own is not None:
        np.testing.assert_allclose(predict(own, features, 1000), expected, atol=1e-5, rtol=0)
    student.save_pretrained(tmp_path)
    loaded = Student.load(tmp_path)
    assert loaded.config.answering == {"null_threshold": 1.5}
    np.testing.assert_allclose(predict(loaded, features, 1000), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("model_type", WORKING)
def test_a_model_is_trained_in_the_precision_that_auto_takes(model_type, monkeypatch):
    monkeypatch.setattr(hardware, "WIDE", 1)
    monkeypatch.setattr(hardware, "cpu_bfloat16_speed", lambda: 4.0)
    model, features = architectures.model(model_type), architectures.windows(model_type, LENGTHS)
    features.labels[:] = 0
    expected = "float32" if model_type in FLOAT32_ONLY else "bfloat16"
    assert hardware.training_precision(model, "auto")[0] == expected
    settings = Train(epochs=1, learning_rate=1e-3, keep="last")
    losses = []
    for precision in ("auto", "float32"):
        twin = copy.deepcopy(model)
        done = Trainer(
            twin, features, PAD, settings.model_copy(update={"precision": precision}), 0, loss=label_loss
        ).train()
        losses.append(done.first_loss)
    assert losses[0] == pytest.approx(losses[1], rel=0.2)


@pytest.mark.skipif(hardware.device().type != "cpu", reason="a GPU computes parts one by one")
@pytest.mark.parametrize("model_type", WORKING)
def test_threads_train_a_model_as_one_does(model_type, monkeypatch):
    """Some keep something of their batch, draw random numbers, or have gradients that share memory."""
    features = architectures.windows(model_type, LENGTHS)
    features.labels[:] = 0
    settings = Train(epochs=2, batch_size=4, learning_rate=1e-3, keep="last", precision="float32")
    trained = []
    for workers in (1, 2):
        model = architectures.model(model_type)
        monkeypatch.setattr(hardware, "training_workers", lambda model, count=workers: (count, 1))
        Trainer(model, features, PAD, settings, 0, loss=label_loss).train()
        trained.append(torch.cat([parameter.detach().flatten() for parameter in model.parameters()]))
    assert torch.equal(*trained)


def label_loss(logits, batch):
    return {"loss": span_cross_entropy(logits, batch.labels, batch.answer_mask).mean()}


@pytest.mark.parametrize("model_type", FLOAT32_ONLY)
def test_bfloat16_is_refused_where_a_training_in_it_fails(model_type):
    model, features = architectures.model(model_type), architectures.windows(model_type, LENGTHS)
    with refused("train.precision", model_type, "bfloat16"):
        hardware.training_precision(model, "bfloat16")
    with pytest.raises(RuntimeError), torch.autocast("cpu", torch.bfloat16):
        model(**model_inputs(model, pad(features, np.arange(len(features)), PAD)))


@pytest.mark.parametrize("model_type", ["big_bird", "longformer"])
def test_a_students_encoder_gets_what_the_librarys_model_gives_it(model_type, predict):
    teacher, features = architectures.model(model_type), architectures.windows(model_type, [28, 7])
    student = Student.from_encoder(teacher.base_model, "linear", 0)
    given = []
    for model in (teacher, student):
        model.base_model.register_forward_pre_hook(lambda _, args, inputs: given.append(inputs), with_kwargs=True)
        predict(model, features, 1000)
    name = {"big_bird": "token_type_ids", "longformer": "global_attention_mask"}[model_type]
    is_token = given[0]["attention_mask"].bool()
    assert given[0][name][is_token].tolist() == given[1][name][is_token].tolist()
    assert 0 < given[0][name][is_token].sum() < is_token.sum()


@pytest.mark.parametrize("model_type", WORKING)
def test_the_longest_window_of_a_model_is_known(model_type, predict):
    model = architectures.model(model_type)
    limit = max_length(model)
    if limit == np.inf:
        if model_type != "gptj":  # its positions are in no module; check_windows runs it instead
            predict(model, architectures.windows(model_type, [2 * architectures.POSITIONS]), 1)
        return
    predict(model, architectures.windows(model_type, [limit]), 1)
    longer = architectures.windows(model_type, [limit + 1])
    with refused("question long", f"{limit + 1} tokens", limit, "tokenize.max_length"):
        inference.check_windows(model, longer, ["long"], PAD)
    if "bigbird" not in model_type.replace("_", ""):
        with pytest.raises((IndexError, RuntimeError)):
            predict(model, longer, 1)


@pytest.mark.parametrize("model_type", REFUSED)
def test_a_model_that_cannot_work_is_refused_by_name(model_type, tmp_path):
    architectures.config(model_type).save_pretrained(tmp_path)
    with refused(f"model_type {model_type}", REFUSED[model_type]):
        encoders.load_qa_model(tmp_path)


@pytest.mark.parametrize("model_type", [name for name, reason in REFUSED.items() if reason == PADDING])
def test_padding_changes_the_logits_of_a_model_that_is_refused_for_it(model_type, predict):
    model, features = architectures.model(model_type), architectures.windows(model_type, LENGTHS)
    alone, together = (predict(model, features, budget) for budget in (1, 1000))
    assert np.abs(alone - together).max() > 0.05 * np.abs(alone).max()


def test_the_other_reasons_are_true_too(predict):
    model, features = architectures.model("reformer"), architectures.windows("reformer", [64])
    assert not np.allclose(predict(model, features, 1), predict(model, features, 1), atol=1e-3)
    model, features = architectures.model("mra"), architectures.windows("mra", [32])
    before = predict(model, features, 1)
    features.input_ids[5] += 1
    assert np.flatnonzero((predict(model, features, 1) != before).any(0)).tolist() == [5]
    for model_type in ("t5", "mt5", "umt5"):
        model = architectures.model(model_type)
        assert model.base_model is model


def test_the_documented_models_are_those_of_the_code():
    assert dict(re.findall(r"^\| `(\S+)` \| (.+) \|$", TABLE, re.MULTILINE)) == {"model_type": "reason"} | REFUSED
    listed = TABLE.split("<!-- working -->")[1]
    assert re.findall(r"`(\S+)`", listed) == WORKING


def test_a_separator_in_the_text_of_a_longformer_is_an_error_that_names_the_question():
    features = architectures.windows("longformer", LENGTHS)
    model, names = architectures.model("longformer"), ["one", "two", "three", "four"]
    inference.check_windows(model, features, names, PAD)
    features.input_ids[features.starts[2] + 3] = architectures.SEP
    with refused("question three", "LongformerForQuestionAnswering", "3 separators"):
        inference.check_windows(model, features, names, PAD)


def test_only_logits_that_are_read_must_be_finite():
    """BigBird subtracts 1e6 from the logits of the question's tokens, more than a float16 can hold."""
    model, features = architectures.model("big_bird"), architectures.windows("big_bird", LENGTHS)
    indices, names = np.array([2, 0]), ["one", "two"]
    rows = teacher_rows(model, features, indices, PAD, "float16")
    check_finite(rows, names)
    read = features.answer_mask[features.token_indices(indices)]
    for stored, exact in zip(
        (rows.start_logits, rows.end_logits), inference.predict(model, features, PAD, indices), strict=True
    ):
        assert stored.dtype == np.float16 and np.isfinite(stored).all() and stored.min() < -60000
        np.testing.assert_array_equal(stored[read], exact[read].astype(np.float16))
    logits = inference.predict(model, features, PAD, indices)
    logits[1][-2] = 1e6
    with refused("question two", "finite", "float16"):
        check_finite(as_rows(features, indices, logits, "float16", "float32"), names)


def test_what_a_model_cannot_process_is_an_error_that_names_the_question():
    model = architectures.model("xmod", default_language=None)
    with refused("question one", "28 tokens", type(model).__name__, "Input language"):
        inference.check_windows(model, architectures.windows("xmod", LENGTHS), ["one", "two", "three", "four"], PAD)


@pytest.mark.parametrize(
    ("model_type", "changes", "layers", "cut"),
    [
        ("bert", {}, [1, 2], {}),
        ("distilbert", {}, [2], {}),
        ("mpnet", {}, [0, 2], {}),
        (
            "modernbert",
            {"layer_types": ["full_attention"] * 2 + ["sliding_attention"]},
            [0, 2],
            {"layer_types": ["full_attention", "sliding_attention"]},
        ),
        ("longformer", {"attention_window": [16, 8, 4]}, [1, 2], {"attention_window": [8, 4]}),
    ],
)
def test_an_encoder_with_fewer_layers_is_the_same_after_a_save(model_type, changes, layers, cut, predict, tmp_path):
    whole, copy = (architectures.model(model_type, num_hidden_layers=3, **changes).base_model for _ in range(2))
    encoder = encoders.keep_layers(copy, layers)
    encoder.save_pretrained(tmp_path)
    loaded = encoders.load_qa_model(tmp_path, trained_output=False).base_model
    assert {key: loaded.config.to_dict()[key] for key in cut} == cut
    features = architectures.windows(model_type, LENGTHS)
    logits = [predict(Student.from_encoder(model, "linear", 0), features, 1000) for model in (encoder, loaded, whole)]
    np.testing.assert_array_equal(logits[0], logits[1])
    assert not np.allclose(logits[0], logits[2], atol=0.01)


@pytest.mark.parametrize(
    ("model_type", "changes", "layer"),
    [
        ("bert", {}, 1),
        ("deberta-v2", {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "share_att_key": True}, 1),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, 0),
        ("diffllama", {}, 0),
    ],
)
def test_a_layer_that_was_kept_computes_what_it_did(model_type, changes, layer, predict):
    whole, copy = (architectures.model(model_type, num_hidden_layers=2, **changes).base_model for _ in range(2))
    (name,) = (name for name, part in whole.named_modules() if isinstance(part, torch.nn.ModuleList) and len(part) == 2)
    whole.set_submodule(name, torch.nn.ModuleList([whole.get_submodule(name)[layer]]))
    whole.config.num_hidden_layers = 1
    inputs = {"input_ids": torch.arange(5, 17)[None], "attention_mask": torch.ones(1, 12, dtype=torch.long)}
    with torch.inference_mode():
        expected, found = (model.eval()(**inputs)[0] for model in (whole, encoders.keep_layers(copy, [layer])))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("model_type", ["gpt2", "diffllama"])
def test_a_layer_that_computes_by_its_position_is_not_moved(model_type):
    changes = {"scale_attn_by_inverse_layer_idx": True} if model_type == "gpt2" else {}
    encoder = architectures.model(model_type, num_hidden_layers=2, **changes).base_model
    with refused("backbone.layers [1]", type(encoder).__name__, "position"):
        encoders.keep_layers(encoder, [1])


def test_layers_that_are_not_alike_cannot_replace_each_other():
    whole = architectures.model("modernbert", num_hidden_layers=3).base_model
    with refused("ModernBertModel", "layer 0", "attn_norm"):
        encoders.keep_layers(whole, [1, 2])

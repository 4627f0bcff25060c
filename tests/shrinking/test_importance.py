"""The scores of units, against masks that are changed by hand."""

import numpy as np
import pytest
import torch

from pipeline.models.batching import pad
from pipeline.models.encoders import SavedHead
from pipeline.models.inference import model_inputs
from pipeline.models.student import Student
from pipeline.questions.features import SpanLogits
from pipeline.shrinking import importance
from pipeline.shrinking.importance import Sample, chosen_windows, drawn_spans, measure, with_head
from pipeline.shrinking.units import output_layers
from tests.models import architectures
from tests.models.architectures import PAD

LENGTHS = [12, 9, 15]
SPANS = np.array([[5, 7], [0, 0], [6, 6]])


def head_of(model):
    weights = {name: weight for name, weight in model.state_dict().items() if name.startswith("qa_outputs")}
    return SavedHead(type(model).__name__, weights)


@pytest.fixture
def model():
    return architectures.model("bert")


@pytest.fixture
def sample():
    return Sample(architectures.windows("bert", LENGTHS), SPANS, PAD)


def surprise(model, features, window, layer, unit, factor):
    """-log q of a window's span, in nats and float64, with a unit multiplied by a factor."""
    chosen = features.select(np.array([window]))
    batch = pad(chosen, np.array([0]), PAD)

    def multiply(_, inputs):
        changed = inputs[0].clone()
        changed[..., unit] *= factor
        return changed

    handle = output_layers(model.base_model)[layer].register_forward_pre_hook(multiply)
    with torch.no_grad():
        output = model.double()(**model_inputs(model, batch))
    handle.remove()
    places = torch.from_numpy(chosen.answer_mask)
    return sum(
        -logits[0].masked_fill(~places, -torch.inf).log_softmax(0)[place].item()
        for logits, place in zip((output.start_logits, output.end_logits), SPANS[window], strict=True)
    )


@pytest.mark.parametrize("layer", [0, 1])
def test_fisher_information_is_the_mean_square_of_each_windows_derivative(model, sample, layer):
    scores = measure(model.base_model, head_of(model), sample, "fisher", 0).scores
    assert scores.shape == (2, 32)
    step = 1e-4
    for unit in (0, 17, 31):
        derivatives = [
            (
                surprise(model, sample.features, window, layer, unit, 1 + step)
                - surprise(model, sample.features, window, layer, unit, 1 - step)
            )
            / (2 * step)
            for window in range(len(LENGTHS))
        ]
        assert scores[layer, unit].item() == pytest.approx(np.mean(np.square(derivatives)), rel=1e-3)


def test_the_measurement_does_not_depend_on_the_batches(model, sample, monkeypatch):
    together = measure(model.base_model, head_of(model), sample, "fisher", 0)
    monkeypatch.setattr(importance, "batch_tokens", lambda model: 1)
    alone = measure(model.base_model, head_of(model), sample, "fisher", 0)
    for found, expected in zip(alone, together, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)


def test_statistics_are_of_the_tokens_and_not_of_the_padding(model, sample):
    units = measure(model.base_model, None, sample, "activation", 0)
    seen = []
    handle = output_layers(model.base_model)[1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][0]))
    with torch.no_grad():
        for i in range(len(LENGTHS)):
            model.base_model(**model_inputs(model, pad(sample.features, np.array([i]), PAD)))
    handle.remove()
    active = torch.cat(seen)
    assert len(active) == sum(LENGTHS)
    torch.testing.assert_close(units.mean[1], active.mean(0), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(units.products[1], active.T @ active / len(active), rtol=1e-4, atol=1e-6)
    ratio = units.scores[1] / active.abs().mean(0)
    torch.testing.assert_close(ratio, ratio[:1].expand(32), rtol=1e-4, atol=0)


def test_magnitude_is_the_product_of_the_norms_of_a_units_weights(model, sample):
    scores = measure(model.base_model, None, sample, "magnitude", 0).scores
    layer = model.bert.encoder.layer[1]
    inputs, outputs = layer.intermediate.dense.weight, layer.output.dense.weight
    expected = inputs.norm(dim=1) * outputs.norm(dim=0)
    torch.testing.assert_close(scores[1] / expected, (scores[1] / expected)[:1].expand(32))


def test_spans_are_drawn_from_the_distribution_over_the_answer_positions():
    features = architectures.windows("bert", [12] * 4000)
    first, past = features.context[0].tolist()
    start = np.full((4000, 12), 50.0)  # outside the context too, where no answer can be
    start[:, first:past], start[:, 0] = -9.0, -9.0
    start[:, first], start[:, first + 1] = np.log(3), np.log(1)
    end = np.full((4000, 12), -1e30)
    end[:, 0] = 0
    spans = drawn_spans(features, SpanLogits(start.ravel(), end.ravel()), 0)
    assert np.mean(spans[:, 0] == first) == pytest.approx(0.75, abs=0.02)
    assert np.mean(spans[:, 0] == first + 1) == pytest.approx(0.25, abs=0.02)
    assert (spans[:, 1] == 0).all()
    assert (drawn_spans(features, SpanLogits(start.ravel(), end.ravel()), 0) == spans).all()


def test_windows_are_chosen_by_the_seed():
    assert sorted(chosen_windows(10, 3)) == list(range(10))
    assert len(set(chosen_windows(5000, 3))) == importance.WINDOWS
    assert (chosen_windows(5000, 3) == chosen_windows(5000, 3)).all()
    assert (chosen_windows(5000, 3) != chosen_windows(5000, 4)).any()


@pytest.mark.parametrize("head", ["linear", "cnn3"])
def test_a_students_head_is_put_back(head):
    student = Student.from_encoder(architectures.model("bert").base_model, head, 3).eval()
    again = with_head(student.encoder, SavedHead(head, student.head.state_dict())).eval()
    ids = torch.arange(5, 17)[None]
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    torch.testing.assert_close(again(**inputs).start_logits, student(**inputs).start_logits, rtol=0, atol=0)


def test_the_output_layers_of_a_class_of_transformers_are_put_back():
    model = architectures.model("modernbert")
    prefix = f"{model.base_model_prefix}."
    weights = {name: weight for name, weight in model.state_dict().items() if not name.startswith(prefix)}
    assert len(weights) > 2
    again = with_head(model.base_model, SavedHead(type(model).__name__, weights)).eval()
    ids = torch.arange(5, 17)[None]
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    torch.testing.assert_close(again(**inputs).end_logits, model(**inputs).end_logits, rtol=0, atol=0)

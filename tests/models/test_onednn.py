import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pipeline.models import inference, onednn

pytestmark = pytest.mark.skipif(not onednn.is_available(), reason="this torch has no oneDNN")


def rows_of(shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def products(monkeypatch):
    """The shapes of the inputs that oneDNN gets."""
    shapes, linear = [], onednn.linear
    monkeypatch.setattr(onednn, "linear", lambda *tensors: shapes.append(tensors[0].shape) or linear(*tensors))
    return shapes


@pytest.mark.parametrize(
    "rows",
    [
        rows_of((7, 24)),
        rows_of((3, 5, 24)),
        rows_of((2, 3, 4, 24)),
        rows_of((3, 24, 5)).transpose(1, 2),
        rows_of((3, 5, 48))[..., ::2],
        rows_of((3, 1, 24)).expand(3, 4, 24),
    ],
    ids=["2d", "3d", "4d", "transposed", "strided", "expanded"],
)
@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_gives_the_same_numbers(products, rows, bias):
    torch.manual_seed(0)
    layer = nn.Linear(24, 40, bias=bias)
    with torch.inference_mode():
        expected = layer(rows)
        with onednn.LinearMode():
            found = layer(rows)
    assert products == [rows.shape]
    torch.testing.assert_close(found, expected)
    assert found.shape == expected.shape


@pytest.mark.parametrize(
    ("rows", "weight"),
    [
        (torch.randn(3, 24).bfloat16(), torch.randn(40, 24).bfloat16()),
        (torch.randn(3, 24).double(), torch.randn(40, 24).double()),
        (torch.randn(24), torch.randn(40, 24)),
        (torch.randn(0, 24), torch.randn(40, 24)),
        (torch.randn(3, 24), torch.randn(24)),
        (torch.randn(3, 24), torch.randn(2, 24)),
    ],
    ids=["bfloat16", "float64", "one row", "no row", "one output", "few outputs"],
)
def test_other_products_are_those_of_torch(products, rows, weight):
    with torch.inference_mode(), onednn.LinearMode():
        found = F.linear(rows, weight)
        named = F.linear(input=rows, weight=weight)
    assert products == [] and torch.equal(found, F.linear(rows, weight)) and torch.equal(named, found)


def test_autocast_computes_in_its_own_precision(products):
    layer = nn.Linear(24, 40)
    with torch.inference_mode(), onednn.LinearMode(), torch.autocast("cpu", torch.bfloat16):
        assert layer(torch.randn(3, 24)).dtype == torch.bfloat16
    assert products == []


def test_predictions_are_the_same_with_it(products, model, features, monkeypatch):
    monkeypatch.setattr(inference, "linear_mode", lambda model: onednn.LinearMode)
    found = inference.predict(model, features, 0)
    layers = 2 * 6  # query, key, value, attention output, both of the feed-forward part
    assert products and len(products) % layers == 0
    monkeypatch.setattr(inference, "linear_mode", lambda model: torch.no_grad)
    expected = inference.predict(model, features, 0)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)

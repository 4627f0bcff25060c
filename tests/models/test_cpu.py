from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pipeline.models import cpu, inference

needs_onednn = pytest.mark.skipif(not cpu.has_onednn(), reason="this torch has no oneDNN")


def rows_of(shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def products(monkeypatch):
    """The shapes of the inputs that oneDNN gets."""
    shapes, linear = [], cpu.onednn_linear
    monkeypatch.setattr(cpu, "onednn_linear", lambda *tensors: shapes.append(tensors[0].shape) or linear(*tensors))
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
@needs_onednn
@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_gives_the_same_numbers(products, rows, bias):
    torch.manual_seed(0)
    layer = nn.Linear(24, 40, bias=bias)
    with torch.inference_mode():
        expected = layer(rows)
        with cpu.LinearMode():
            found = layer(rows)
    assert products == [rows.shape]
    torch.testing.assert_close(found, expected)
    assert found.shape == expected.shape


@needs_onednn
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
    with torch.inference_mode(), cpu.LinearMode():
        found = F.linear(rows, weight)
        named = F.linear(input=rows, weight=weight)
    assert products == [] and torch.equal(found, F.linear(rows, weight)) and torch.equal(named, found)


@needs_onednn
def test_autocast_computes_in_its_own_precision(products):
    layer = nn.Linear(24, 40)
    with torch.inference_mode(), cpu.LinearMode(), torch.autocast("cpu", torch.bfloat16):
        assert layer(torch.randn(3, 24)).dtype == torch.bfloat16
    assert products == []


@needs_onednn
def test_predictions_are_the_same_with_it(products, model, features, monkeypatch):
    monkeypatch.setattr(inference, "linear_mode", lambda model: cpu.LinearMode)
    found = inference.predict(model, features, 0)
    layers = 2 * 6  # query, key, value, attention output, both of the feed-forward part
    assert products and len(products) % layers == 0
    monkeypatch.setattr(inference, "linear_mode", lambda model: torch.no_grad)
    expected = inference.predict(model, features, 0)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.fixture
def fresh_speeds():
    speeds = cpu.cpu_bfloat16_speed, cpu.cpu_onednn_speed
    for speed in speeds:
        speed.cache_clear()
    yield
    for speed in speeds:
        speed.cache_clear()


def seconds_of(times):
    """A stand-in for a measurement: the time of a product by who computes it and in which dtype."""
    return lambda product, rows, weight: times["onednn" if product is cpu.onednn_linear else "torch", rows.dtype]


@pytest.mark.parametrize(
    ("instructions", "onednn_seconds", "speed"), [(False, 1.0, 0), (True, 3.0, 2), (True, 1.8, 1.2)]
)
def test_bfloat16_is_measured_against_the_faster_float32(
    monkeypatch, fresh_speeds, instructions, onednn_seconds, speed
):
    times = {
        ("torch", torch.float32): 3.0,
        ("onednn", torch.float32): onednn_seconds,
        ("torch", torch.bfloat16): 1.5,
    }
    monkeypatch.setattr(cpu, "_seconds", seconds_of(times))
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: instructions)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert cpu.cpu_bfloat16_speed() == pytest.approx(speed)


@pytest.mark.parametrize(
    ("available", "seconds", "mode"),
    [(True, 1.0, cpu.LinearMode), (True, 2.8, nullcontext), (False, 1.0, nullcontext)],
)
def test_inference_takes_onednn_where_it_is_faster(monkeypatch, fresh_speeds, available, seconds, mode):
    monkeypatch.setattr(cpu, "has_onednn", lambda: available)
    monkeypatch.setattr(
        cpu, "_seconds", seconds_of({("torch", torch.float32): 3.0, ("onednn", torch.float32): seconds})
    )
    assert cpu.linear_mode(nn.Linear(2, 2)) is mode
    assert cpu.linear_mode(nn.Linear(2, 2, device="meta")) is nullcontext


def test_a_measurement_leaves_the_number_of_threads(fresh_speeds):
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert 0.01 < cpu.cpu_onednn_speed() < 100
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_a_measurement_takes_no_random_numbers(fresh_speeds):
    before = torch.get_rng_state()
    cpu.cpu_onednn_speed(), cpu.cpu_bfloat16_speed()
    assert torch.equal(torch.get_rng_state(), before)

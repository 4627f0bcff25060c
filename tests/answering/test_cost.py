import psutil
import pytest
import torch
from transformers import BertConfig, BertForQuestionAnswering

from pipeline.answering import cost
from pipeline.answering.cost import flops, latency, measure, peak_memory_mb, timings, with_cpu_share
from pipeline.models.student import Student

HIDDEN, LAYERS, INTERMEDIATE = 16, 2, 32


def student(head, vocabulary=300):
    config = BertConfig(
        vocab_size=vocabulary,
        hidden_size=HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=2,
        intermediate_size=INTERMEDIATE,
        max_position_embeddings=64,
    )
    return Student.from_encoder(BertForQuestionAnswering(config).base_model, head, seed=0).eval()


@pytest.mark.parametrize(
    ("head", "products"),  # multiplications of the head for each token
    [
        ("linear", HIDDEN * 2),
        ("mlp", HIDDEN * 64 + 64 * 2),
        ("lstm64", 2 * 4 * 64 * (HIDDEN + 64) + 128 * 2),
        ("cnn357", (3 + 5 + 7) * HIDDEN * 8 + 24 * 2),
        ("cnn357_stacked", (3 + 5 + 7) * HIDDEN * 8 + 24 * 2),
    ],
)
def test_flops_are_those_computed_by_hand(head, products):
    tokens = 20
    layer = 4 * HIDDEN**2 + 2 * HIDDEN * INTERMEDIATE + 2 * tokens * HIDDEN  # the last term is attention
    inputs = torch.ones(1, tokens, dtype=torch.int64)
    counted = flops(student(head), {"input_ids": inputs, "attention_mask": inputs})
    assert counted == 2 * tokens * (LAYERS * layer + products)


def test_measures_a_student(features):
    model = student("linear", vocabulary=1 + int(features.input_ids.max()))
    with torch.no_grad():
        model.head.output.weight[0] = 0
        model.head.output.bias[:] = 1  # 0 at the start
    values = measure(model, features, pad_token_id=0)
    assert values["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    zeros = sum(int((parameter == 0).sum()) for parameter in model.parameters())
    assert values["parameters"] - values["nonzero_parameters"] == zeros >= HIDDEN
    mean = min(features.lengths, key=lambda length: abs(length - features.lengths.mean()))
    inputs = torch.ones(1, int(mean), dtype=torch.int64)
    assert values["gflops_per_window"] == flops(model, {"input_ids": inputs, "attention_mask": inputs}) / 1e9
    assert 0 < values["latency_ms_low"] <= values["latency_ms_median"] <= values["latency_ms_high"]
    assert values["latency_ms_p95"] >= values["latency_ms_low"] and values["cpu_share"] > 0
    assert values["windows_per_second"] > 0
    assert (values["threads"], values["device"]) == (torch.get_num_threads(), "cpu")


def test_timings_end_by_number_or_by_time_and_leave_the_warm_up_out():
    calls = []
    assert len(timings(lambda: calls.append(0), 3, seconds=60, least=2, most=5)) == 5
    assert len(calls) == 8
    assert len(timings(lambda: None, 0, seconds=0, least=2, most=5)) == 2


def test_a_latency_has_the_interval_of_its_blocks_medians():
    """Medians of 2, 8, 3, 4, 5 and 6 ms: by the sign test, 2 to 8 holds the median with 1 - 2 / 2^6."""
    blocks = [[0.001, 0.002, 0.009], [0.008], [0.003, 0.003], [0.004], [0.005], [0.006]]
    found = latency(blocks)
    assert (found["latency_ms_low"], found["latency_ms_high"]) == pytest.approx((2, 8))
    assert found["latency_ms_median"] == pytest.approx(4.5)
    # of the nine calls in order, 1 2 3 3 4 5 6 8 9 ms, the place 0.95 * 8 = 7.6 is between the last two
    assert found["latency_ms_p95"] == pytest.approx(8.6)


def test_the_cpu_share_is_cpu_time_over_time(monkeypatch):
    monkeypatch.setattr(cost.time, "perf_counter", iter([10.0, 12.0]).__next__)
    monkeypatch.setattr(cost.time, "thread_time", iter([1.0, 2.5]).__next__)
    assert with_cpu_share(lambda: "result") == ("result", 0.75)


def test_peak_memory_is_what_the_process_holds_or_more():
    held = psutil.Process().memory_info().rss / 1e6
    assert 0.99 * held <= peak_memory_mb() < 100 * held

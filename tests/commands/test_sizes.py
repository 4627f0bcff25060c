"""The command `sizes`, with latencies that take no time."""

import re

import pytest
import torch
from transformers import BertConfig, BertForQuestionAnswering

from pipeline import paths
from pipeline.checksums import seal
from pipeline.commands import sizes
from pipeline.models.encoders import SavedHead, save_head
from pipeline.shrinking import cache
from tests import tiny
from tests.commands.command_line import options
from tests.words import refused

pytestmark = pytest.mark.slow
CONFIG = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 128}


@pytest.fixture
def command(with_logits, monkeypatch, capsys):
    """The output of the command, whose `measured` has the milliseconds of each call: 1 a layer, and 1 for 32 units."""
    measured = []

    def timings(call, *_, **__):
        call()
        size = sizes.sizes(BertConfig(**CONFIG), command.all_layers)[len(measured) % command.count]
        measured.append(size.layers * (1 + size.units / 32))
        return [measured[-1] / 1000]

    monkeypatch.setattr(sizes, "timings", timings)
    encoder = BertForQuestionAnswering(BertConfig(vocab_size=500, max_position_embeddings=64, **CONFIG)).base_model
    encoder.save_pretrained(paths.BACKBONE)
    save_head(SavedHead("linear", {"output.weight": torch.ones(2, 16)}), paths.BACKBONE)
    seal(paths.BACKBONE)

    def command(*arguments, layers=None):
        tiny.write_params(backbone={"layers": layers})
        command.all_layers = layers is not None
        command.count = len(sizes.sizes(BertConfig(**CONFIG), command.all_layers))
        sizes.main(**options("sizes", *arguments))
        return capsys.readouterr().out

    command.measured = measured
    return command


def test_the_line_to_run_has_the_sizes_and_the_factor(command):
    out = command("--speedup", "2")
    # 2 layers of 128 units take 10 ms; 2 of 64 take 6, 1 of 128 takes 5
    assert out.splitlines()[-1] == "-S shrink.layers=1 -S shrink.intermediate_size=null  (2.0x expected)"
    assert "| 2 | 64 | 6.0 | 1.67 |" in out
    out = command("--speedup", "1.5")
    assert out.splitlines()[-1] == "-S shrink.layers=null -S shrink.intermediate_size=64  (1.7x expected)"


def test_a_measurement_is_stored_until_it_is_repeated(command):
    command()
    first = len(command.measured)
    command("--speedup", "1.1")
    assert len(command.measured) == first > 4
    command("--again")
    assert len(command.measured) == 2 * first


def test_scores_of_the_units_choose_if_there_are_some(command, monkeypatch):
    scores = torch.full((2, 128), 0.001)
    scores[:, :32] = 1
    monkeypatch.setattr(cache, "scores_of", lambda folder, encoder: scores)
    out = command("--speedup", "2")
    assert out.splitlines()[-1] == "-S shrink.layers=null -S shrink.intermediate_size=32  (2.5x expected)"
    assert re.search(r"\| 1 \| 128 \| 5.0 \| 2.00 \| 50% \|", out)


def test_a_factor_that_no_size_reaches_is_refused_with_the_largest_one(command):
    with refused("--speedup 9", "1 layers", "32 units", "5.0"):
        command("--speedup", "9")


def test_where_the_backbone_has_chosen_layers_all_sizes_have_all_of_them(command):
    out = command("--speedup", "2", layers=[0, 1])
    assert out.splitlines()[-1] == "-S shrink.layers=null -S shrink.intermediate_size=32  (2.5x expected)"

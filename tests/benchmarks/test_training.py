import pytest

from benchmarks import training
from pipeline.training.attention import training_attention


@pytest.mark.parametrize(
    ("options", "precision", "steps"),
    [([], "auto", None), (["--precision", "float32", "--dropout", "0", "--steps", "3"], "float32", 3)],
)
def test_the_options_are_the_settings_of_the_training(options, precision, steps):
    settings = training.settings_of(training.arguments().parse_args(options))
    assert (settings.precision, settings.max_steps) == (precision, steps)


def test_attention_is_that_of_the_training():
    with training.attention("sdpa"):
        assert training.loop.training_attention(None, "bfloat16") == ("sdpa", "")
    assert training.loop.training_attention is training_attention
    with training.attention(None):
        assert training.loop.training_attention is training_attention


def test_dropout_is_that_of_the_student():
    args = training.arguments().parse_args(["--shape", "tiny", "--dropout", "0"])
    assert training.student_of(args).config.encoder_config.hidden_dropout_prob == 0


@pytest.mark.parametrize("peer", ["ours", "cached-logits", "live-teacher"])
def test_our_peers_train(peer, tmp_path):
    sizes = ["--shape", "tiny", "--train-size", "8", "--validation-size", "2", "--steps", "1", "--max-length", "128"]
    args = training.arguments().parse_args(sizes)
    training.prepare(args, tmp_path)
    assert training.PEERS[peer](args, tmp_path)["windows"] > 0

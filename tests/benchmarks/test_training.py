import pytest

from benchmarks import training


@pytest.mark.parametrize(
    ("options", "precision", "steps"),
    [([], "auto", None), (["--precision", "float32", "--dropout", "0", "--steps", "3"], "float32", 3)],
)
def test_the_options_are_the_settings_of_the_training(options, precision, steps):
    settings = training.settings_of(training.arguments().parse_args(options))
    assert (settings.precision, settings.max_steps) == (precision, steps)


def test_dropout_is_that_of_the_student():
    args = training.arguments().parse_args(["--shape", "tiny", "--dropout", "0"])
    assert training.student_of(args).config.encoder_config.hidden_dropout_prob == 0

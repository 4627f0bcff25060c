import pytest

from pipeline import cli


@pytest.mark.parametrize(
    ("interrupt", "message"),
    [
        (KeyboardInterrupt("saved a checkpoint of step 3"), "saved a checkpoint of step 3"),
        (KeyboardInterrupt(), "what was finished is cached"),
    ],
)
def test_an_interrupt_says_what_was_saved_and_exits_with_130(capsys, interrupt, message):
    def main():
        raise interrupt

    with pytest.raises(SystemExit) as exited:
        cli.report_errors(main)
    assert exited.value.code == 130
    assert capsys.readouterr().err == f"interrupted: {message}; the same command resumes\n"
